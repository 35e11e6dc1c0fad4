"""Joining: waiting events that a running delivery takes with the commit of its outcomes, and those that it leaves.

Rows are delivered by hand: without joining, each would wait for a delivery of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, LiteralString
from uuid import uuid4

import pytest
from psycopg.errors import LockNotAvailable

from app.context import Connection
from app.engine.delivery.engine import Engine
from app.engine.domain import Prepared, wiring
from app.engine.effects import batch, joining, record
from app.engine.effects.execute import perform
from app.engine.queue import pauses
from app.engine.queue.envelope import Since
from app.engine.queue.fair_share import RunningDelivery, Share
from app.engine.queue.lease import LeaseLost
from app.engine.queue.publish import publish, put_aside, put_back
from events import Event
from tests.conftest import Database
from tests.helpers.blocking_calls import Blocking, claimed, due, fetch, heard, play, until
from tests.helpers.support import deliver, scalar
from tests.helpers.toy import NOW, Made, Outside, want

_EVENTS: LiteralString = "SELECT args -> 'events' FROM public.procrastinate_jobs WHERE status = 'doing'"
_WAITING: LiteralString = "SELECT args FROM public.procrastinate_jobs WHERE task_name = 'perform' AND status = 'todo'"
_APPLIED: LiteralString = "SELECT count(*) FROM engine.event_log WHERE type = 'toy/call.wanted'"
_ENTER: LiteralString = (
    "INSERT INTO engine.event_log (event_id, type, version, data, occurred_at) VALUES (%s, %s, 1, %s, now())"
)
Crowd = Callable[[Engine, Blocking, "asyncio.Task[int]"], Awaitable[None]]


def mine(word: str, **given: Any) -> Event[Any]:
    """Return a request under the limit of the running delivery."""
    return want(word, limit="account", **given)


def plain(event: Event[Any]) -> Any:
    """Return an event as decoded JSON."""
    return event.model_dump(mode="json", exclude_none=True)


def holding(
    database: Database,
    outside: Outside,
    connection: Connection,
    scenario: Crowd,
    running: RunningDelivery | None = None,
) -> None:
    """Run a scenario while a delivery of a1 and a2 holds both slots of its limit; then let all calls end."""

    async def whole(engine: Engine, blocking: Blocking) -> None:
        publish(connection, mine("a1"), mine("a2"))
        holder = asyncio.create_task(perform(engine, fetch(connection), running))
        await until(lambda: blocking.under_way == 2)
        await scenario(engine, blocking, holder)
        blocking.go.set()
        await holder

    play(database, outside, whole)


def test_waiting_rows_of_the_share_join_the_delivery_that_has_the_slots(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """Those that were parked come first. None needs a delivery of its own, and no more calls run than slots exist."""

    async def scenario(engine: Engine, blocking: Blocking, holder: asyncio.Task[int]) -> None:
        publish(connection, mine("parked"))
        await perform(engine, fetch(connection))
        publish(connection, mine("b1"), mine("b2"))
        publish(connection, mine("c"))
        blocking.take_one()
        await until(lambda: due(connection) == [])
        words = [event["data"]["word"] for event in scalar(connection, _EVENTS)]
        assert words[1:] == ["parked", "b1", "b2", "c"]
        blocking.go.set()
        assert await holder == 6
        assert blocking.most == 2

    holding(database, outside, connection, scenario)
    deliver(connection)
    assert len(heard(connection)) == 6
    assert scalar(connection, "SELECT count(*) FROM engine.calls") == 0


def test_no_more_events_join_than_a_delivery_may_have(connection: Connection, outside: Outside, engine: Engine) -> None:
    """A row joins whole, or not at all."""
    held = claimed(engine, connection, mine("a"))
    publish(connection, *[mine(f"b{n:02}") for n in range(24)])
    publish(connection, mine("c"))
    publish(connection, mine("d"))
    held.tasks[0].outcome = Made(word="a", outcome="made")
    record.record_outcomes(held)
    assert len(held.tasks) == 25
    assert due(connection) == ["d"]


def test_a_delivery_with_enough_waiting_calls_takes_no_more(
    connection: Connection, outside: Outside, engine: Engine
) -> None:
    """As many as can run at once."""
    held = claimed(engine, connection, *[mine(f"a{n}") for n in range(9)])
    publish(connection, mine("b"))
    held.tasks[0].outcome = Made(word="a", outcome="made")
    record.record_outcomes(held)
    assert (len(held.tasks), due(connection)) == (8, ["b"])


def other_tenant(connection: Connection) -> None:
    """Publish for another tenant."""
    publish(connection, mine("other", tenant=uuid4()))


def other_limit(connection: Connection) -> None:
    """Publish under another limit of the same share."""
    publish(connection, want("other", limit="elsewhere"))


def without_limit(connection: Connection) -> None:
    """Publish without a limit."""
    publish(connection, want("other"))


def tried(connection: Connection) -> None:
    """Put an event back after an attempt."""
    event = mine("other")
    put_back(connection, [(event, plain(event))], delay=0, attempt=1)


def set_aside(connection: Connection) -> None:
    """Set an event aside, until now."""
    event = mine("other")
    put_aside(connection, wiring().route(event), [plain(event)], Since("locked", NOW), delay=0, attempt=0)


def applied(connection: Connection) -> None:
    """Publish an event that was applied before."""
    event = mine("other")
    publish(connection, event)
    connection.execute(_ENTER, [event.id, event.type, event.data.model_dump_json(exclude_none=True)])


def begun(connection: Connection) -> None:
    """Publish an event whose call was begun before."""
    event = mine("other")
    publish(connection, event)
    connection.execute("INSERT INTO engine.calls (event_id, row_id, attempts) VALUES (%s, 0, 0)", [event.id])


def cooling_down(connection: Connection) -> None:
    """Publish during a cooldown of the limit."""
    publish(connection, mine("other"))
    connection.execute(
        "INSERT INTO engine.rests (key, until, reason) VALUES ('account', now() + interval '1 hour', '')"
    )


def paused(connection: Connection) -> None:
    """Publish to a paused queue."""
    publish(connection, mine("other"))
    pauses.pause(connection, "toys", actor="ana", reason="maintenance")


def rescued(connection: Connection) -> None:
    """Publish after a worker crashed."""
    publish(connection, mine("other"))
    connection.execute(
        "INSERT INTO engine.rescues (row_id, queue_name, attempts, reason) VALUES (1, 'toys', 0, 'worker_gone')"
    )


@pytest.mark.parametrize(
    "arrange",
    [
        other_tenant,
        other_limit,
        without_limit,
        tried,
        set_aside,
        applied,
        begun,
        cooling_down,
        paused,
        rescued,
    ],
)
def test_other_events_wait_for_a_delivery_of_their_own(
    connection: Connection, outside: Outside, engine: Engine, arrange: Callable[[Connection], None]
) -> None:
    """The outcomes are recorded all the same, once, and the waiting row is unchanged."""
    held = claimed(engine, connection, mine("a1"), mine("a2"))
    arrange(connection)
    before = scalar(connection, _WAITING)
    held.tasks[0].outcome = Made(word="a1", outcome="made")
    record.record_outcomes(held)
    assert [task.event.data.word for task in held.tasks] == ["a2"]
    assert scalar(connection, _WAITING) == before
    assert scalar(connection, _APPLIED) == 1 + (arrange is applied)
    held.tasks[0].outcome = Made(word="a2", outcome="made")
    record.record_outcomes(held)
    assert (held.tasks, scalar(connection, _WAITING)) == ([], before)


def test_a_locked_row_of_an_event_that_joins_does_not_delay_the_outcomes(
    connection: Connection, outside: Outside, engine: Engine
) -> None:
    """An error of its preparation concerns the waiting event alone."""
    held = claimed(engine, connection, mine("a1"), mine("a2"))
    publish(connection, mine("other"))

    def locked(*_arguments: object) -> list[Prepared]:
        raise LockNotAvailable

    held.effect = replace(held.effect, prepare=locked)
    held.tasks[0].outcome = Made(word="a1", outcome="made")
    record.record_outcomes(held)
    assert ([task.event.data.word for task in held.tasks], due(connection)) == (["a2"], ["other"])
    assert scalar(connection, _APPLIED) == 1


def test_an_event_that_its_effect_does_not_want_any_more_is_applied_without_a_call(
    connection: Connection, outside: Outside, engine: Engine
) -> None:
    """As in a delivery of its own."""
    held = claimed(engine, connection, mine("a1"), mine("a2"))
    publish(connection, mine("obsolete"))
    outside.stale.add("obsolete")
    held.tasks[0].outcome = Made(word="a1", outcome="made")
    record.record_outcomes(held)
    assert ([task.event.data.word for task in held.tasks], due(connection)) == (["a2"], [])
    assert (scalar(connection, _APPLIED), scalar(connection, "SELECT count(*) FROM engine.calls")) == (2, 1)


@pytest.mark.parametrize("case", ["must yield", "too long", "stops", "tried before"])
def test_a_delivery_that_must_end_takes_no_more(
    connection: Connection, outside: Outside, engine: Engine, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """To another share, to let its own compete anew, or because the worker stops or the row was rescued."""
    held = claimed(engine, connection, mine("a1"), mine("a2"))
    publish(connection, mine("other"))
    match case:
        case "must yield":
            held.running, held.has_begun = RunningDelivery(Share("toys", ""), 0.0, asked_at=0.0), True
        case "too long":
            monkeypatch.setattr(batch, "LONGEST_S", 0.0)
        case "stops":
            held.takes_more = False
        case _:
            connection.execute("UPDATE public.procrastinate_jobs SET attempts = 1 WHERE status = 'doing'")
            held.delivery = replace(held.delivery, attempts=1)
    held.tasks[0].outcome = Made(word="a1", outcome="made")
    record.record_outcomes(held)
    assert ([task.event.data.word for task in held.tasks], due(connection)) == (["a2"], ["other"])


def test_handing_back_takes_no_more(connection: Connection, outside: Outside, engine: Engine) -> None:
    """Its own events are requeued."""
    held = claimed(engine, connection, mine("a1"), mine("a2"))
    publish(connection, mine("other"))
    held.tasks[0].outcome = Made(word="a1", outcome="made")
    record.hand_back(held)
    assert due(connection) == ["other", "a2"]


def test_rows_of_the_share_are_not_fetched_while_a_delivery_holds_all_slots(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """They are again as soon as it takes no more, and the worker is woken for them."""
    woken: list[bool] = []
    running = RunningDelivery(Share("toys", ""), 0.0, wake=lambda: woken.append(True))

    async def scenario(_engine: Engine, blocking: Blocking, _holder: asyncio.Task[int]) -> None:
        assert (running.is_saturated, woken) == (True, [])
        publish(connection, mine("other", tenant=uuid4()))
        put_back(connection, [(one := mine("tried"), plain(one))], delay=0, attempt=1)
        blocking.take_one()
        await until(lambda: not running.is_saturated)
        assert woken == [True]

    holding(database, outside, connection, scenario, running)


async def test_a_delivery_without_its_lease_takes_nothing(
    connection: Connection, outside: Outside, engine: Engine
) -> None:
    """The transaction ends before anything is changed."""
    held = claimed(engine, connection, mine("a1"), mine("a2"))
    publish(connection, mine("other"))
    connection.execute("UPDATE public.procrastinate_jobs SET attempts = 9 WHERE status = 'doing'")
    held.tasks[0].outcome = Made(word="a1", outcome="made")
    with pytest.raises(LeaseLost):
        joining.hold(connection, held, 9)
    with pytest.raises(LeaseLost):
        record.record_outcomes(held)
    assert (due(connection), scalar(connection, _APPLIED)) == (["other"], 0)
