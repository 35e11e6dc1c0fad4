"""Fetches for a lone tenant: as cheap as first come, first served, until another tenant has a due row."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from procrastinate import PsycopgConnector
from psycopg import sql

from app.context import Connection
from app.engine.queue import fetch
from app.engine.queue.fair_share import FairShare, Share
from app.engine.queue.publish import publish
from app.engine.worker.app import fresh_connector
from tests.helpers.fair_shares import NAMES, A, B, queue, wants
from tests.helpers.support import scalar
from tests.helpers.toy import Outside, say

EVERYTHING = ["events", "toys"]
FIRST = "SELECT min(id) FROM public.procrastinate_jobs"
INSERT = """
INSERT INTO public.procrastinate_jobs (queue_name, task_name, args, scheduled_at, lock)
VALUES (%s, 'perform', jsonb_build_object('share', %s::text), now() + %s * interval '1 hour', %s)
"""
LOOKS = "SELECT pg_stat_get_xact_numscans('public.tallyman_jobs_share_idx'::regclass)"
FETCH = sql.SQL("SELECT id FROM engine.fetch_effect(NULL, NULL, NULL, '{{q}}', {}, {}, '', 16, 8, '{{}}')")


def statements(connection: Connection, queues: Sequence[str], fair_share: FairShare | None) -> list[int]:
    """Return the number of statements of each fetch, until no row is found."""
    worker_id = scalar(connection, "SELECT worker_id FROM procrastinate_register_worker_v1()")
    counts: list[int] = []

    def counted(name: str) -> None:
        own = getattr(PsycopgConnector, name)

        async def run(self: PsycopgConnector, query: str, **arguments: Any) -> Any:
            counts[-1] += 1
            return await own(self, query, **arguments)

        patch.setattr(PsycopgConnector, name, run)

    async def run() -> None:
        connector = fresh_connector()
        await connector.open_async()
        try:
            found: object = worker_id
            while found:
                counts.append(0)
                found = await fetch.fetch(connector, queues, worker_id, fair_share)
        finally:
            await connector.close_async()

    with pytest.MonkeyPatch.context() as patch:
        counted("execute_query_one_async")
        counted("execute_query_all_async")
        asyncio.run(run())
    return counts


@pytest.mark.parametrize("queues", [["toys"], EVERYTHING])
def test_a_lone_tenant_costs_as_many_statements_as_first_come(
    connection: Connection, outside: Outside, queues: list[str]
) -> None:
    """One a fetch, also of a worker of all queues and where no row is due."""
    for _ in range(3):
        publish(connection, *wants(A, 1))
    publish(connection, say("an event"))
    by_share = statements(connection, queues, FairShare(4))
    connection.execute("UPDATE procrastinate_jobs SET status = 'todo' WHERE status = 'doing'")
    assert by_share == statements(connection, queues, None)
    assert set(by_share) == {1}


def test_a_lone_tenants_fetch_looks_three_times(connection: Connection) -> None:
    """Before its share, behind it, and at its next row, however many of its rows wait."""
    for _ in range(50):
        connection.execute(INSERT, ["q", "b", None, None])
    with connection.transaction():
        before = scalar(connection, LOOKS)
        assert connection.execute(FETCH.format("q", "b")).fetchall() == [(scalar(connection, FIRST),)]
        assert scalar(connection, LOOKS) - before == 3


@pytest.mark.parametrize(
    ("other", "alone"),
    [
        (("q", "b", None), True),
        (("q", "a", None), False),
        (("q", "a/x", None), False),
        (("q", "b/x", None), False),
        (("q", "c", None), False),
        (("r", "b", None), False),
        (("r", "a", 1), True),
        (("q", "a", 1), True),
        (("q", "c", 1), True),
        (("s", "a", None), True),
    ],
)
def test_a_share_is_alone_while_no_other_has_a_due_row(
    connection: Connection, other: tuple[str, str, int | None], *, alone: bool
) -> None:
    """Another account, tenant or queue of the worker counts; rows that are not due or of other workers do not."""
    connection.execute(INSERT, ["q", "b", None, None])
    connection.execute(INSERT, [*other, None])
    assert scalar(connection, "SELECT engine.is_alone('{q,r}', 'q', 'b')") is alone


def fetched(connection: Connection, state: FairShare, count: int) -> str:
    """Return the tenants of the rows that a worker fetches and keeps."""
    worker_id = scalar(connection, "SELECT worker_id FROM procrastinate_register_worker_v1()")

    async def run() -> None:
        async with queue() as connector:
            for _ in range(count):
                assert await fetch.fetch(connector, ["toys"], worker_id, state) is not None

    known = len(state.in_hand)
    asyncio.run(run())
    return "".join(NAMES[delivery.share.tenant] for delivery in state.in_hand[known:])


def test_a_lone_tenant_gets_every_delivery_until_another_comes(connection: Connection, outside: Outside) -> None:
    """No delivery is kept free for nobody; the first fetch after another tenant's row is due takes that row."""
    for _ in range(9):
        publish(connection, *wants(A, 1))
    state = FairShare(8)
    assert fetched(connection, state, 6) == "AAAAAA"
    publish(connection, *wants(B, 1))
    assert fetched(connection, state, 2) == "BA"
    assert fetched(connection, state, 2) == "AA"


def test_a_weight_is_obeyed_at_the_next_fetch_of_a_lone_tenant(connection: Connection, outside: Outside) -> None:
    """Its deliveries count by the weight that it has when they begin."""
    for _ in range(3):
        publish(connection, *wants(A, 1))
    state = FairShare(4)
    fetched(connection, state, 2)
    connection.execute(
        "INSERT INTO engine.tenant_weights (tenant_id, weight, set_by, reason) VALUES (%s, 3, 'test', 'pays more')", [A]
    )
    fetched(connection, state, 1)
    assert [delivery.share.weight for delivery in state.in_hand] == [1.0, 1.0, 3.0]


@pytest.mark.parametrize(
    ("running", "ended", "waits", "yields"),
    [("AAB", 2, B, "A"), ("ABBB", None, A, "B"), ("AB", None, A, ""), ("AA", None, A, "")],
    ids=["all of another tenant", "most of another tenant", "in balance", "all its own"],
)
def test_who_waits_alone_is_given_room_by_another_tenants_deliveries(
    connection: Connection, outside: Outside, running: str, ended: int | None, waits: UUID, yields: str
) -> None:
    """Also if it was served last, or has some of the deliveries itself; never by its own."""
    publish(connection, *wants(waits, 1))
    state = FairShare(len(running) - (ended is not None))
    for row_id, name in enumerate(running):
        state.begin(row_id, Share("toys", str({"A": A, "B": B}[name])))
    if ended is not None:
        state.end(ended)

    async def run() -> bool:
        async with queue() as connector:
            return await fetch.make_room(connector, ["toys"], state)

    assert asyncio.run(run()) is bool(yields)
    assert "".join(NAMES[delivery.share.tenant] for delivery in state.in_hand if delivery.must_yield) == yields


def test_a_row_that_is_fetched_as_the_oldest_counts_for_its_share(connection: Connection, outside: Outside) -> None:
    """Like a row that becomes due after the search for shares, a row with a lock of Procrastinate's is fetched so.

    Its delivery is its tenant's, with the tenant's weight, and yields to another tenant.
    """
    connection.execute(
        "INSERT INTO engine.tenant_weights (tenant_id, weight, set_by, reason) VALUES (%s, 2, 'test', 'pays more')", [A]
    )
    connection.execute(INSERT, ["toys", str(A), None, "a lock"])
    publish(connection, *wants(A, 1))
    state = FairShare(2)
    assert fetched(connection, state, 2) == "AA"
    assert [delivery.share for delivery in state.in_hand] == [Share("toys", str(A), 2.0)] * 2
    assert state.make_room([Share("toys", str(B), 2.0)]) is not None
