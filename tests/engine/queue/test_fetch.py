"""Fetch: the row that a worker delivers next, and the rows for which a delivery must yield."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from procrastinate import PsycopgConnector

from app.context import Connection
from app.engine.queue import fetch
from app.engine.queue.fair_share import FairShare, Share
from app.engine.queue.publish import publish
from app.engine.queue.weights import set_weight
from app.engine.worker.app import fresh_connector
from app.testing import worker
from tests.helpers.support import scalar
from tests.helpers.toy import Outside, say, want

A, B = UUID(int=1), UUID(int=2)
_MAIL = "INSERT INTO public.procrastinate_jobs (queue_name, task_name, args) VALUES ('other', 'mail', '{\"to\": 1}')"


@pytest.fixture
async def connector(outside: Outside) -> AsyncIterator[PsycopgConnector]:
    """Connections of a worker."""
    opened = fresh_connector()
    await opened.open_async()
    yield opened
    await opened.close_async()


async def words(
    connector: PsycopgConnector, connection: Connection, count: int, fair_share: FairShare | None = None
) -> list[str]:
    """Fetch so many rows. Returns the words of their first events."""
    worker_id = worker.register(connection)
    found = []
    for _ in range(count):
        job = await fetch.fetch(connector, ["events", "toys"], worker_id, fair_share)
        assert job is not None
        args = scalar(connection, "SELECT args FROM public.procrastinate_jobs WHERE id = %s", job.id)
        found.append((args["events"][0] if "events" in args else args)["data"]["word"])
    assert await fetch.fetch(connector, ["nowhere"], worker_id, fair_share) is None
    return found


async def test_without_shares_the_oldest_row_of_the_highest_priority_comes_first(
    connector: PsycopgConnector, connection: Connection, outside: Outside
) -> None:
    """Events before effects, each by age."""
    for event in (want("effect 1", tenant=A), want("effect 2", tenant=B), say("event")):
        publish(connection, event)
    assert await words(connector, connection, 3) == ["event", "effect 1", "effect 2"]


async def test_effects_are_fetched_by_share(
    connector: PsycopgConnector, connection: Connection, outside: Outside
) -> None:
    """Events come first all the same; the delivery of a row is known to the fair share."""
    for event in (want("a1", tenant=A), want("a2", tenant=A), want("b1", tenant=B), say("event")):
        publish(connection, event)
    fair_share = FairShare(4)
    assert await words(connector, connection, 4, fair_share) == ["event", "a1", "b1", "a2"]
    assert sorted(delivery.share.tenant for delivery in fair_share.in_hand) == sorted(map(str, (A, A, B)))


async def test_the_arguments_of_our_own_tasks_are_not_read(
    connector: PsycopgConnector, connection: Connection, outside: Outside
) -> None:
    """They may be long, and are read where the row is claimed. Other tasks get theirs."""
    publish(connection, say("event"))
    connection.execute(_MAIL)
    worker_id = worker.register(connection)
    for queue, args in (("events", {}), ("other", {"to": 1})):
        job = await fetch.fetch(connector, [queue], worker_id, None)
        assert job is not None
        assert job.task_kwargs == args


async def test_waiting_shares_are_found_with_their_weights(
    connector: PsycopgConnector, connection: Connection, outside: Outside
) -> None:
    """Each once, after the tenant that was served last. Rows that are not due do not wait."""
    set_weight(connection, B, 3, actor="ana", reason="pays more")
    for event in (want("a1", tenant=A), want("a2", tenant=A), want("b", tenant=B)):
        publish(connection, event)
    publish(connection, want("later", tenant=UUID(int=3)), delay=60)
    fair_share = FairShare(4)
    shares = [Share("toys", str(A), 1.0), Share("toys", str(B), 3.0)]
    assert await fetch.find_waiting(connector, ["toys"], fair_share) == shares
    fair_share.begin(0, shares[0])
    assert await fetch.find_waiting(connector, ["toys"], fair_share) == shares[::-1]
    assert await fetch.find_waiting(connector, ["events"], fair_share) == []


async def test_a_delivery_yields_to_another_tenant_and_to_events(
    connector: PsycopgConnector, connection: Connection, outside: Outside
) -> None:
    """Not to rows of its own tenant. `comes_first` counts rows above the priority of effects only."""
    full = FairShare(1, lambda: 100.0)
    full.begin(0, Share("toys", str(A)))
    publish(connection, want("a", tenant=A))
    assert not await fetch.make_room(connector, ["toys"], full)
    assert not await fetch.comes_first(connector, None)
    publish(connection, say("event"))
    assert await fetch.comes_first(connector, None)
    assert not await fetch.comes_first(connector, ["toys"])
    busy = FairShare(2, iter([0.0, 0.0, *[100.0] * 20]).__next__)
    for row_id in (1, 2):
        busy.begin(row_id, Share("toys", str(A)))
    assert await fetch.make_room(connector, None, busy)
    two = FairShare(2, lambda: 100.0)
    for row_id in (1, 2):
        two.begin(row_id, Share("toys", str(A)))
    publish(connection, want("b", tenant=B))
    assert await fetch.make_room(connector, ["toys"], two)
    assert [delivery.must_yield for delivery in two.in_hand].count(True) == 1


async def test_rows_that_a_running_delivery_takes_are_not_fetched(
    connector: PsycopgConnector, connection: Connection, outside: Outside
) -> None:
    """Neither alone nor beside other shares, and no delivery yields to them. Events and other shares are fetched."""
    publish(connection, want("a1", tenant=A))
    fair_share, worker_id = FairShare(1), worker.register(connection)
    assert await words(connector, connection, 1, fair_share) == ["a1"]
    (running,) = fair_share.in_hand
    running.saturate(is_saturated=True)
    publish(connection, want("a2", tenant=A))
    assert await fetch.fetch(connector, ["events", "toys"], worker_id, fair_share) is None
    assert not await fetch.make_room(connector, ["events", "toys"], fair_share)
    publish(connection, say("event"))
    publish(connection, want("b1", tenant=B))
    assert await words(connector, connection, 2, fair_share) == ["event", "b1"]
    assert await fetch.fetch(connector, ["events", "toys"], worker_id, fair_share) is None
    running.saturate(is_saturated=False)
    assert await words(connector, connection, 1, fair_share) == ["a2"]


async def test_no_delivery_yields_to_a_share_whose_rows_another_delivery_takes(
    connector: PsycopgConnector, connection: Connection, outside: Outside
) -> None:
    """It could not use the place. Without such a delivery, the tenant with less than its share gets one."""
    for n, tenant in enumerate((A, B, B, B)):
        publish(connection, want(f"{n}", tenant=tenant))
    fair_share = FairShare(4)
    await words(connector, connection, 4, fair_share)
    publish(connection, want("a2", tenant=A))
    publish(connection, want("b4", tenant=B))
    (mine,) = (delivery for delivery in fair_share.in_hand if delivery.share.tenant == str(A))
    mine.saturate(is_saturated=True)
    assert not await fetch.make_room(connector, ["toys"], fair_share)
    mine.saturate(is_saturated=False)
    assert await fetch.make_room(connector, ["toys"], fair_share)
