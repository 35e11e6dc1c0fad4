"""Idempotency keys: one job for each key, also if several submit at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Barrier
from uuid import UUID

import pytest

from app import database as doors
from app.context import Connection, Context
from app.database import as_service
from app.errors import Conflict, DuplicateRequest, KeyReused
from app.logistics import carriers, jobs
from app.logistics.jobs import list_jobs
from app.logistics.submit import AlreadyTaken, ForeignOrders, create_robot_job
from app.simulators.portal import Portal
from tests.conftest import Database
from tests.helpers.factories import make_workspace
from tests.helpers.shops import Shop, equip
from tests.helpers.support import drain_all, scalar
from tests.helpers.waits import until_somebody_waits

THREADS = 8


def test_a_repeated_request_names_its_job(shop: Shop) -> None:
    """The same orders in any order. Nothing is created."""
    order_ids = shop.order(3)
    job = create_robot_job(shop.context, order_ids, idempotency_key="K")
    for again in (order_ids, list(reversed(order_ids))):
        with pytest.raises(DuplicateRequest, match=f"'K' was used before: job {job.id}") as caught:
            create_robot_job(shop.context, again, idempotency_key="K")
        assert (caught.value.job_id, caught.value.key) == (job.id, "K")
    assert [one.id for one in list_jobs(shop.context)] == [job.id]
    assert scalar(shop.connection, "SELECT count(*) FROM public.procrastinate_jobs") == 1


def test_a_repeated_request_names_its_job_whatever_has_changed(shop: Shop) -> None:
    """For example a carrier that was disabled meanwhile."""
    order_ids = shop.order(1)
    job = create_robot_job(shop.context, order_ids, idempotency_key="K")
    carriers.disable_carrier(shop.context, "coordinadora")
    with pytest.raises(DuplicateRequest) as caught:
        create_robot_job(shop.context, order_ids, idempotency_key="K")
    assert caught.value.job_id == job.id


def test_a_key_is_not_used_for_another_request(shop: Shop) -> None:
    """With other orders or another carrier it is refused, with the id of the key's job."""
    order_ids = shop.order(4)
    job = create_robot_job(shop.context, order_ids[:2], idempotency_key="K")
    requests: list[tuple[Sequence[UUID], str]] = [
        (order_ids[:3], "coordinadora"),
        (order_ids[:1], "coordinadora"),
        (order_ids[2:], "coordinadora"),
        (order_ids[:2], "dhl"),
    ]
    for orders, carrier in requests:
        with pytest.raises(KeyReused, match=f"belongs to job {job.id}, which has other content") as caught:
            create_robot_job(shop.context, orders, carrier=carrier, idempotency_key="K")
        assert caught.value.job_id == job.id
    assert [one.id for one in list_jobs(shop.context)] == [job.id]


def test_a_key_is_a_workspaces_own(shop: Shop, connection: Connection, portal: Portal) -> None:
    """Another workspace has its own job under the same key."""
    other = equip(connection, make_workspace(connection).id, portal)
    ours = create_robot_job(shop.context, shop.order(1), idempotency_key="K")
    theirs = create_robot_job(other.context, other.order(2), idempotency_key="K")
    assert ours.id != theirs.id
    assert (ours.workspace_id, theirs.workspace_id) == (shop.workspace_id, other.workspace_id)


def test_without_a_key_every_request_is_a_new_one(shop: Shop) -> None:
    """Requests without a key are not compared."""
    order_ids = shop.order(2)
    for _ in range(3):
        create_robot_job(shop.context, order_ids)
    assert len(list_jobs(shop.context)) == 3


def test_a_request_that_failed_has_not_used_its_key(shop: Shop) -> None:
    """After wrong orders, a disabled carrier or a rollback the key is free."""
    order_ids = shop.order(2)
    carriers.disable_carrier(shop.context, "coordinadora")
    with pytest.raises(Conflict):
        create_robot_job(shop.context, order_ids, idempotency_key="K")
    carriers.enable_carrier(shop.context, "coordinadora")
    with pytest.raises(ForeignOrders):
        create_robot_job(shop.context, [shop.workspace_id], idempotency_key="K")
    with shop.connection.transaction(force_rollback=True):
        create_robot_job(shop.context, order_ids[:1], idempotency_key="K")
    assert create_robot_job(shop.context, order_ids, idempotency_key="K").idempotency_key == "K"


def test_a_failed_request_leaves_the_callers_transaction_usable(shop: Shop) -> None:
    """The caller can catch the error and commit other work."""
    order_ids = shop.order(2)
    with as_service(shop.connection):
        first = create_robot_job(shop.context, order_ids[:1], idempotency_key="K")
        with pytest.raises(KeyReused):
            create_robot_job(shop.context, order_ids, idempotency_key="K")
        second = create_robot_job(shop.context, order_ids, idempotency_key="L")
    assert {job.id for job in list_jobs(shop.context)} == {first.id, second.id}


@dataclass(frozen=True, slots=True)
class Race:
    """Threads that submit under the same keys at the same time, each with its own connection."""

    database: Database
    workspace_id: UUID

    def run(self, keys: Sequence[str], orders: Sequence[Sequence[UUID]]) -> list[tuple[str, str, UUID]]:
        """Submit `orders[n]` under each key in thread n. Returns what each one made or met: (what, key, job id)."""
        start = Barrier(len(orders))
        with ExitStack() as stack, ThreadPoolExecutor(len(orders)) as threads:
            connections = [
                stack.enter_context(doors.connect(self.database.url, autocommit=True)) for _ in range(len(orders))
            ]

            def submit(n: int) -> list[tuple[str, str, UUID]]:
                context = Context.start(connections[n], self.workspace_id)
                return [self._submit(start, context, key, orders[n]) for key in keys]

            return [outcome for outcomes in threads.map(submit, range(len(orders))) for outcome in outcomes]

    @staticmethod
    def _submit(start: Barrier, context: Context, key: str, orders: Sequence[UUID]) -> tuple[str, str, UUID]:
        start.wait(10)
        try:
            return "made", key, create_robot_job(context, orders, idempotency_key=key).id
        except (DuplicateRequest, KeyReused) as error:
            return type(error).__name__, key, error.job_id


KEYS = [f"key-{n}" for n in range(12)]


def test_of_concurrent_equal_requests_one_makes_the_job(database: Database, shop: Shop) -> None:
    """The others get its id."""
    outcomes = Race(database, shop.workspace_id).run(KEYS, [shop.order(3)] * THREADS)
    assert Counter((what, key) for what, key, _ in outcomes) == {
        **{("made", key): 1 for key in KEYS},
        **{("DuplicateRequest", key): THREADS - 1 for key in KEYS},
    }
    made = {key: job_id for what, key, job_id in outcomes if what == "made"}
    assert all(made[key] == job_id for _, key, job_id in outcomes)
    assert {job.idempotency_key: job.id for job in list_jobs(shop.context)} == made
    assert scalar(shop.connection, "SELECT count(*) FROM logistics.robot_job_items") == 3 * len(KEYS)
    assert scalar(shop.connection, "SELECT count(*) FROM public.procrastinate_jobs") == len(KEYS)


def test_of_concurrent_different_requests_one_has_the_key(database: Database, shop: Shop) -> None:
    """The others get its job's id."""
    outcomes = Race(database, shop.workspace_id).run(KEYS, [shop.order(1) for _ in range(THREADS)])
    assert Counter(what for what, _, _ in outcomes) == {"made": len(KEYS), "KeyReused": (THREADS - 1) * len(KEYS)}
    jobs = {job.idempotency_key: job.id for job in list_jobs(shop.context)}
    assert {(key, job_id) for _, key, job_id in outcomes} == set(jobs.items())


def test_a_rolled_back_key_goes_to_the_waiting_request(database: Database, shop: Shop) -> None:
    """It makes the job."""
    order_ids = shop.order(2)
    with (
        doors.connect(database.url, autocommit=True) as first,
        doors.connect(database.url, autocommit=True) as observer,
        ThreadPoolExecutor(1) as threads,
    ):
        with first.transaction(force_rollback=True):
            create_robot_job(Context.start(first, shop.workspace_id), order_ids[:1], idempotency_key="K")
            waiting = threads.submit(create_robot_job, shop.context, order_ids, idempotency_key="K")
            until_somebody_waits(observer)
        assert waiting.result(10).total_items == 2
    assert len(list_jobs(shop.context)) == 1


def test_orders_that_are_taken_can_be_refused(shop: Shop) -> None:
    """Shipped, or in an open job: they are named, and nothing is created. By default they are shipped again."""
    orders = shop.order(3)
    first = jobs.create_robot_job(shop.context, orders[:2])
    with pytest.raises(AlreadyTaken) as refused:
        jobs.create_robot_job(shop.context, orders, again=False)
    assert sorted(refused.value.order_ids) == sorted(orders[:2])
    drain_all(shop.connection)
    with pytest.raises(AlreadyTaken):
        jobs.create_robot_job(shop.context, orders[:1], again=False)
    jobs.create_robot_job(shop.context, orders[2:], again=False)
    assert [job.id for job in jobs.list_jobs(shop.context)][-1] == first.id
    assert len(jobs.list_jobs(shop.context)) == 2
    jobs.create_robot_job(shop.context, orders)
