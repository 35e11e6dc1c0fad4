"""Fairness between tenants, in the real queue and with real workers."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import psycopg
import pytest

from app.context import Connection
from app.engine import domain
from app.engine.domain import Call, Prepared, Wiring
from app.engine.queue import fair_share, fetch
from app.engine.queue.envelope import Row, open_rows
from app.engine.queue.fair_share import FairShare, RunningDelivery
from app.engine.queue.lease import Delivery, acknowledge, lock_delivery
from app.engine.queue.publish import publish
from app.engine.worker.app import app, fresh_connector
from events import Payload
from tests.conftest import Database
from tests.helpers import toy
from tests.helpers.fair_shares import NAMES, A, B, C, D, E, queue, wants
from tests.helpers.support import drain, scalar
from tests.helpers.toy import Outside, Wanted, say, want


def by_account(wiring: Wiring) -> Wiring:
    """Return the wiring with accounts, named by the limit."""
    effect = replace(wiring.effects[Wanted], account="limit")
    return Wiring(wiring.handlers, {Wanted: effect})


def taken(connection: Connection, capacity: int, count: int, *, queues: list[str] | None = None) -> list[str]:
    """Return the shares of the rows that a worker fetches one after the other.

    It has `capacity` deliveries, and ends the oldest one when all are taken.
    """
    worker_id = scalar(connection, "SELECT worker_id FROM procrastinate_register_worker_v1()")

    async def run() -> list[str]:
        held: list[int] = []
        found: list[int] = []
        state = FairShare(capacity, lambda: float(len(found)))  # each takes a second
        async with queue() as connector:
            for _ in range(count):
                if len(held) == capacity:
                    state.end(held.pop(0))
                job = await fetch.fetch(connector, queues, worker_id, state)
                assert job is not None
                assert job.id is not None
                held.append(job.id)
                found.append(job.id)
        return [scalar(connection, "SELECT engine.share(args) FROM procrastinate_jobs WHERE id = %s", n) for n in found]

    return asyncio.run(run())


def test_a_row_belongs_to_one_share(connection: Connection, outside: Outside) -> None:
    """Events of different tenants or accounts never share a row. The row stores the share."""
    with domain.use(by_account(outside.wiring())):
        publish(connection, *wants(A, 2, "x"), *wants(B, 2), *wants(A, 2, "y"), *wants(A, 1, "x"))
    rows = connection.execute(
        "SELECT args ->> 'share', jsonb_array_length(args -> 'events') FROM procrastinate_jobs ORDER BY id"
    ).fetchall()
    assert rows == [(f"{A}/x", 3), (str(B), 2), (f"{A}/y", 2)]


@pytest.mark.parametrize(
    ("args", "share"),
    [
        ({"attempt": 0, "events": [{"tenantid": str(A)}]}, str(A)),
        ({"tenantid": str(B)}, str(B)),
        ({"attempt": 0, "share": f"{A}/x", "events": []}, f"{A}/x"),
        ({"attempt": 0, "events": [{"tenantid": None}]}, "-"),
        ({"attempt": 0, "events": [{"tenantid": "x" * 5000}]}, "x" * 160),
        ([1, 2], "-"),
        ("gibberish", "-"),
    ],
)
def test_a_row_of_an_older_program_has_a_share_too(connection: Connection, args: Any, share: str) -> None:
    """The tenant of its first event. Any row can be inserted and fetched."""
    connection.execute(
        "INSERT INTO procrastinate_jobs (queue_name, task_name, args) VALUES ('robots', 'perform', %s::jsonb)",
        [json.dumps(args)],
    )
    assert taken(connection, 1, 1) == [share]


def test_tenants_are_served_by_share(connection: Connection, outside: Outside) -> None:
    """Tenants alternate while both have rows waiting, whichever came first."""
    for _ in range(10):
        publish(connection, *wants(A, 2))
    for _ in range(3):
        publish(connection, *wants(B, 2))
    order = "".join(NAMES[share] for share in taken(connection, 2, 8))
    assert Counter(order[:6]) == {"A": 3, "B": 3}
    assert order[6:] == "AA"


def test_a_tenant_behind_many_rows_of_another_is_called_early(connection: Connection, outside: Outside) -> None:
    """A worker with one delivery calls it after at most two rows of the first tenant."""
    come_behind_a_flood(connection, outside)


def come_behind_a_flood(connection: Connection, outside: Outside) -> None:
    """Publish ten rows of a tenant and one of another, and deliver them one at a time."""
    publish(connection, *wants(A, 250))
    publish(connection, *wants(B, 5))
    drain(concurrency=1)
    words = [word for word, _ in outside.calls]
    assert len(words) == 255
    assert "B" in {word[0] for word in words[:51]}


def test_a_weight_is_a_share_of_the_deliveries(connection: Connection, outside: Outside) -> None:
    """A tenant of weight 3 has three deliveries for each one of a tenant of weight 1."""
    connection.execute(
        "INSERT INTO engine.tenant_weights (tenant_id, weight, set_by, reason) VALUES (%s, 3, 'test', 'pays more')", [B]
    )
    for tenant in (A, B):
        for _ in range(8):
            publish(connection, *wants(tenant, 1))
    assert Counter(NAMES[share] for share in taken(connection, 4, 4)) == {"A": 1, "B": 3}


def test_each_of_a_thousand_tenants_is_served_once_first(connection: Connection, outside: Outside) -> None:
    """In a thousand and one deliveries each tenant has one."""
    for _ in range(100):
        publish(connection, *wants(A, 1))
    tenants = [UUID(int=1000 + n) for n in range(1000)]
    publish(connection, *[want("w", tenant=tenant) for tenant in tenants])
    order = taken(connection, 1, 1001)
    assert set(order) == {str(A), *map(str, tenants)}


def test_every_account_of_a_tenant_is_served(connection: Connection, outside: Outside) -> None:
    """Each account is served once before any a second time, and tenants share equally."""
    accounts = [f"account-{n:02}" for n in range(20)]
    with domain.use(by_account(outside.wiring())):
        for _ in range(2):
            publish(connection, *[want("w", tenant=A, limit=account) for account in accounts])
        for _ in range(25):
            publish(connection, *wants(B, 1))
        order = taken(connection, 1, 40)
    assert Counter(share.partition("/")[0] for share in order) == {str(A): 20, str(B): 20}
    assert len({share for share in order if share != str(B)}) == 20


def test_events_come_before_effects_for_a_worker_of_both(connection: Connection, outside: Outside) -> None:
    """The higher priority is fetched first."""
    publish(connection, *wants(A, 1))
    publish(connection, say("first"))
    first, second = taken(connection, 2, 2)
    assert (first, second) == ("-", str(A))


def test_waiting_shares_are_found_by_the_index(database: Database, connection: Connection, outside: Outside) -> None:
    """With the statistics of an empty table and thousands of rows, no plan sorts or scans."""
    with psycopg.connect(database.superuser_url, autocommit=True) as admin:
        admin.execute("ANALYZE public.procrastinate_jobs")
        publish(connection, *wants(A, 3000), batch_size=1)
        publish(connection, *wants(B, 1))
        admin.execute("SET ROLE service_role")
        plans: list[str] = []
        admin.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
        admin.execute("RESET ROLE")
        admin.execute("LOAD 'auto_explain'")
        for name, value in {
            "log_min_duration": "0",
            "log_nested_statements": "on",
            "log_level": "notice",
            "log_analyze": "on",
        }.items():
            admin.execute(f"SET auto_explain.{name} = {value}")
        admin.execute("SET ROLE service_role")
        found = admin.execute("SELECT share FROM engine.waiting_shares(ARRAY['toys'], '', 32, 8)").fetchall()
        admin.execute("SELECT FROM engine.fetch_share('toys', %s, NULL)", [str(B)])
    assert [share for (share,) in found] == [str(A), str(B)]
    looks = [plan for plan in plans if "procrastinate_jobs j" in plan or "SKIP LOCKED" in plan]
    assert len(looks) > 3
    for plan in looks:
        assert "tallyman_jobs_share_idx" in plan
        assert "Sort" not in plan
        assert "Seq Scan" not in plan
        assert "Rows Removed" not in plan


def test_a_row_that_shrinks_stays_in_its_share(connection: Connection, outside: Outside) -> None:
    """A row whose outcomes were recorded in part and that is rescued keeps its share."""
    with domain.use(by_account(outside.wiring())):
        publish(connection, *wants(A, 3, "x"))
        with connection.transaction():
            row_id, args = connection.execute(
                "UPDATE procrastinate_jobs SET status = 'doing' RETURNING id, args::text"
            ).fetchone() or (0, "")
            delivery = Delivery(row_id, 0, None)
            lock_delivery(connection, delivery)
            acknowledge(connection, delivery, open_rows([Row(row_id, args)])[1:])
    assert scalar(connection, "SELECT args ->> 'share' FROM procrastinate_jobs") == f"{A}/x"


@dataclass
class Portals:
    """An outside world in which calls wait until the test ends those of their tenant."""

    begun: list[str] = field(default_factory=list)
    under_way: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    _waits: dict[str, list[asyncio.Event]] = field(default_factory=dict)

    async def call(self, prepared: Prepared, _call: Call) -> Payload:
        """Wait for the test."""
        name = NAMES[str(prepared.event.tenantid)]
        self.begun.append(prepared.work.word)
        self.under_way[name] += 1
        go = asyncio.Event()
        self._waits.setdefault(name, []).append(go)
        await go.wait()
        self.under_way[name] -= 1
        self.ended[name] += 1
        return toy.Made(word=prepared.work.word, outcome="made")

    def let_go(self, name: str) -> None:
        """End the calls of a tenant."""
        for go in self._waits.pop(name, []):
            go.set()


Scenario = Callable[[Portals], Awaitable[None]]


def play(outside: Outside, scenario: Scenario, *, concurrency: int) -> None:
    """Run a scenario beside a real worker."""

    async def run() -> None:
        portals = Portals()
        wiring = outside.wiring()
        effect = replace(wiring.effects[Wanted], call=portals.call, at_once=2, batch_size=4)
        with domain.use(Wiring(wiring.handlers, {Wanted: effect})), app.replace_connector(fresh_connector()):
            async with app.open_async(), asyncio.timeout(20):
                worker = asyncio.create_task(
                    app.run_worker_async(queues=["toys"], concurrency=concurrency, install_signal_handlers=False)
                )
                try:
                    await scenario(portals)
                finally:
                    for name in NAMES.values():
                        portals.let_go(name)
                    worker.cancel()
                    with suppress(asyncio.CancelledError):
                        await worker

    asyncio.run(run())


async def until(seen: Callable[[], object]) -> None:
    """Run the event loop until the condition is true. `play()` limits the time."""
    while not seen():  # noqa: ASYNC110 - what is waited for is in another task
        await asyncio.sleep(0)


def asked() -> list[RunningDelivery]:
    """Return the deliveries of this process that must yield."""
    return [
        delivery for state in app.job_manager.fair_shares.values() for delivery in state.in_hand if delivery.must_yield
    ]


@contextmanager
def _impatient() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fair_share, "QUANTUM_S", 0.0)
        yield


def test_a_delivery_yields_to_another_tenant_after_its_calls(connection: Connection, outside: Outside) -> None:
    """The other tenant is called when the calls in progress end."""
    publish(connection, *wants(A, 40))

    async def scenario(portals: Portals) -> None:
        await until(lambda: portals.under_way["A"] == 4)
        publish(connection, *wants(B, 2))
        await until(asked)
        assert portals.under_way["A"] == 4, "a call that is under way is never broken off"
        portals.let_go("A")
        await until(lambda: portals.under_way["B"] == 2)
        assert len([word for word in portals.begun if word[0] == "A"]) <= 6
        portals.let_go("B")
        await until(lambda: portals.ended["B"] == 2)

    play(outside, scenario, concurrency=2)
    drain()
    assert scalar(connection, "SELECT count(DISTINCT word), count(*) FROM toy.heard") == 42
    assert scalar(connection, "SELECT count(*) FROM toy.heard") == 42
    assert scalar(connection, "SELECT count(*) FROM engine.calls") == 0


def test_hanging_tenants_yield_to_another_one(connection: Connection, outside: Outside) -> None:
    """Four tenants have the four deliveries. A fifth gets one as soon as one call has ended."""
    for tenant in (A, B, C, D):
        publish(connection, *wants(tenant, 4))

    async def scenario(portals: Portals) -> None:
        await until(lambda: portals.under_way.total() == 8)
        publish(connection, *wants(E, 4))
        await until(asked)
        (delivery, *_) = asked()
        portals.let_go(NAMES[delivery.share.tenant])
        await until(lambda: portals.under_way["E"] == 2)
        portals.let_go("E")
        await until(lambda: portals.ended["E"] == 2 and portals.under_way["E"] == 2)
        portals.let_go("E")
        await until(lambda: portals.ended["E"] == 4)
        assert portals.ended.total() == 6

    with _impatient():
        play(outside, scenario, concurrency=4)


def test_a_lone_tenant_keeps_all_deliveries(connection: Connection, outside: Outside) -> None:
    """No delivery must yield to rows of its own tenant."""
    publish(connection, *wants(A, 40))

    async def scenario(portals: Portals) -> None:
        await until(lambda: portals.under_way["A"] == 4)
        (state,) = app.job_manager.fair_shares.values()
        connector = app.job_manager.connector
        assert await fetch.make_room(connector, ["toys"], state) is False
        publish(connection, *wants(B, 1))
        assert await fetch.make_room(connector, ["toys"], state) is True or asked()

    with _impatient():
        play(outside, scenario, concurrency=2)


def test_handed_back_events_spend_no_attempt(connection: Connection, outside: Outside) -> None:
    """Marks of their calls are as before."""
    given = wants(A, 4)
    publish(connection, *given)
    connection.execute(
        "INSERT INTO engine.calls (call_key, event_id, row_id, attempts, ask_after)"
        " VALUES (%(id)s, %(id)s, 0, 0, now())",
        {"id": given[-1].id},
    )

    async def scenario(portals: Portals) -> None:
        await until(lambda: portals.under_way["A"] == 2)
        publish(connection, *wants(B, 4))
        await until(asked)
        portals.let_go("A")
        await until(lambda: portals.under_way["B"] == 2)
        waiting = connection.execute(
            "SELECT args ->> 'attempt', jsonb_array_length(args -> 'events'), args ->> 'share', attempts"
            "  FROM procrastinate_jobs WHERE status = 'todo' AND args ->> 'share' = %s",
            [str(A)],
        ).fetchall()
        assert waiting == [("0", 2, str(A), 0)]
        marks = connection.execute(
            "SELECT event_id, tries, ask_after <= clock_timestamp() FROM engine.calls"
            " WHERE NOT engine.is_live(row_id, attempts, worker_id)"
        ).fetchall()
        assert marks == [(given[-1].id, 1, True)], "what was in doubt before is as it was, and can be asked at once"

    with _impatient():
        play(outside, scenario, concurrency=1)
