"""Results as events: of many workspaces in one batch, delivered twice, concurrently, and with wrong items."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from threading import Barrier
from uuid import uuid4

import psycopg
import pytest

from app import database as doors
from app.context import Context
from app.engine.queue.publish import publish
from app.logistics.jobs import get_robot_job
from app.logistics.store import RobotJobItem
from events import Event
from events.robot import ItemCompleted
from tests.conftest import Database
from tests.helpers.robot_results import (
    broken,
    failure,
    items_of,
    ledger,
    said,
    submitted,
    success,
    update_job_item_results,
    without_tenant,
)
from tests.helpers.shops import Shop
from tests.helpers.support import drain, scalar

THREADS = 8


def test_results_of_many_jobs_and_workspaces_are_counted_in_one_batch(shop: Shop, other: Shop) -> None:
    """In one transaction. Each job has its counters, each workspace its events."""
    batches = [(whose, *submitted(whose, size)) for whose in (shop, other) for size in (2, 3)]
    drain(queues=["events"])
    publish(shop.connection, *[said(whose, success(item)) for whose, _, items in batches for item in items])
    drain(queues=["events"])
    for whose, job, items in batches:
        after = get_robot_job(whose.context, job.id)
        assert (after.status, after.success_count, after.error_count) == ("completed", len(items), 0)
    at_once = "SELECT count(DISTINCT applied_at) FROM engine.event_log WHERE type = 'robot/item.completed'"
    assert scalar(shop.connection, at_once) == 1
    tenants = "SELECT tenant_id, count(*) FROM engine.event_log WHERE type = %s GROUP BY 1"
    for kind, count in (("robot/job.completed", 2), ("order/updated", 5)):
        assert dict(shop.connection.execute(tenants, [kind]).fetchall()) == {
            shop.workspace_id: count,
            other.workspace_id: count,
        }
    assert broken(shop.connection) == []


def test_an_event_that_is_delivered_twice_and_two_events_for_one_item_count_once(shop: Shop) -> None:
    """The ledger rejects the same event; the item's state rejects another event, whatever its result."""
    job, (item, _) = submitted(shop, 2)
    event, same, contrary = said(shop, success(item)), said(shop, success(item)), said(shop, failure(item))
    publish(shop.connection, event, same, event, contrary)
    publish(shop.connection, event)
    drain(queues=["events"])
    publish(shop.connection, event)
    drain(queues=["events"])
    after = get_robot_job(shop.context, job.id)
    assert (after.success_count, after.error_count) == (1, 0)
    assert len(ledger(shop.connection, "robot/item.completed")) == 3
    assert len(ledger(shop.connection, "order/updated")) == 1
    assert scalar(shop.connection, "SELECT count(*) FROM engine.failed_jobs") == 0


Foreign = Callable[[Shop, Shop, RobotJobItem, RobotJobItem], Event[ItemCompleted]]
FOREIGN: dict[str, Foreign] = {
    "another workspace's item": lambda shop, _other, _own, foreign: said(shop, success(foreign)),
    "our item, said by another workspace": lambda _shop, other, own, _foreign: said(other, success(own)),
    "an unknown item": lambda shop, _other, own, _foreign: said(
        shop, success(own).model_copy(update={"item_id": uuid4()})
    ),
    "an unknown job": lambda shop, _other, own, _foreign: said(
        shop, success(own).model_copy(update={"job_id": uuid4()})
    ),
    "an unknown workspace": lambda shop, _other, own, _foreign: said(shop, success(own), tenant=uuid4()),
    "no workspace": lambda _shop, _other, own, _foreign: without_tenant(success(own)),
}


@pytest.mark.parametrize("as_one_batch", [True, False], ids=["in a batch", "as rows"])
@pytest.mark.parametrize("what", FOREIGN)
def test_a_result_for_a_foreign_item_is_a_dead_letter_and_the_others_are_applied(
    shop: Shop, other: Shop, what: str, *, as_one_batch: bool
) -> None:
    """In one batch, or in rows that wait together."""
    job, items = submitted(shop, 5)
    foreign_job, (foreign,) = submitted(other, 1)
    drain(queues=["events"])
    bad = FOREIGN[what](shop, other, items[0], foreign)
    events = [said(shop, success(item)) for item in items[1:]]
    events.insert(2, bad)
    for together in [events] if as_one_batch else [[event] for event in events]:
        publish(shop.connection, *together)
    drain(queues=["events"])
    assert [item.status for item in items_of(shop, job.id)] == ["pending"] + ["success"] * 4
    assert get_robot_job(shop.context, job.id).success_count == 4
    assert get_robot_job(other.context, foreign_job.id).success_count == 0
    letter = shop.connection.execute("SELECT event_id, job_type, error_class FROM engine.failed_jobs").fetchall()
    assert letter == [(bad.id, "robot/item.completed", "FailingEvents")]
    assert scalar(shop.connection, "SELECT count(*) FROM engine.event_log WHERE event_id = %s", bad.id) == 0
    assert broken(shop.connection) == []


def deadlocks(database: Database) -> int:
    """Return the number of deadlocks of the database so far."""
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        return int(scalar(connection, "SELECT deadlocks FROM pg_stat_database WHERE datname = %s", database.name))


@contextmanager
def without_deadlocks(database: Database) -> Iterator[None]:
    """Assert that no deadlock occurs in the block."""
    before = deadlocks(database)
    yield
    assert deadlocks(database) == before


def results(shop: Shop) -> tuple[list[ItemCompleted], list[tuple[int, int]]]:
    """Return a result for each item of three jobs, and the counters that follow."""
    found: list[ItemCompleted] = []
    counters = []
    for bad in (0, 5, 40):
        _, items = submitted(shop, 40)
        found += [failure(item) if n < bad else success(item) for n, item in enumerate(items)]
        counters.append((40 - bad, bad))
    return found, counters


def counters(shop: Shop) -> list[tuple[int, int]]:
    """Return the counters of the jobs, oldest first."""
    rows = shop.connection.execute("SELECT success_count, error_count FROM logistics.robot_jobs ORDER BY created_at")
    return [(succeeded, failed) for succeeded, failed in rows]


def shuffled(said_: list[ItemCompleted], n: int) -> list[ItemCompleted]:
    """Return every result twice, in an order of thread `n`."""
    twice = said_ * 2
    random.Random(n).shuffle(twice)
    return twice


def test_results_recorded_concurrently_count_once(database: Database, shop: Shop) -> None:
    """Overlapping batches of the same jobs in any order: exact counters, without a deadlock."""
    answers, expected = results(shop)
    start = Barrier(THREADS)
    with ExitStack() as stack, ThreadPoolExecutor(THREADS) as threads:
        connections = [stack.enter_context(doors.connect(database.url, autocommit=True)) for _ in range(THREADS)]

        def record(n: int) -> int:
            mine = shuffled(answers, n)
            context = Context.start(connections[n], shop.workspace_id)
            start.wait(10)
            parts = [mine[at : at + 30] for at in range(0, len(mine), 30)]
            return sum(update_job_item_results(context, part).counted for part in parts)

        with without_deadlocks(database):
            assert sum(threads.map(record, range(THREADS))) == len(answers)
    assert counters(shop) == expected
    drain(queues=["events"])
    assert len(ledger(shop.connection, "robot/job.completed")) == 3
    assert len(ledger(shop.connection, "order/updated")) == sum(succeeded for succeeded, _ in expected)
    assert broken(shop.connection) == []


def test_many_deliveries_of_the_same_results_count_each_once(database: Database, shop: Shop) -> None:
    """The same events in several rows, and other events with equal results: each item counts once."""
    answers, expected = results(shop)
    drain(queues=["events"])
    events = {answer.item_id: said(shop, answer) for answer in answers}
    for n in range(4):
        mine = shuffled(answers, n)
        publish(shop.connection, *[events[one.item_id] for one in mine], batch_size=60)
        publish(shop.connection, *[said(shop, one) for one in mine[:30]], batch_size=1 if n % 2 else 15)
    with without_deadlocks(database):
        drain(queues=["events"], concurrency=THREADS)
    assert counters(shop) == expected
    assert scalar(shop.connection, "SELECT count(*) FROM engine.failed_jobs") == 0
    assert scalar(shop.connection, "SELECT count(*) FROM public.procrastinate_jobs WHERE queue_name = 'events'") == 0
    assert len(ledger(shop.connection, "robot/job.completed")) == 3
    assert len(ledger(shop.connection, "order/updated")) == sum(succeeded for succeeded, _ in expected)
    assert broken(shop.connection) == []
