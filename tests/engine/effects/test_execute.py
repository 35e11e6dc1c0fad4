"""Execute: calls are made outside transactions, and each outcome is recorded once."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import psycopg
import pytest

from app.context import Connection
from app.engine import domain
from app.engine.delivery.engine import Engine
from app.engine.domain import Call, Prepared
from app.engine.effects.execute import perform
from app.engine.queue.publish import publish
from app.settings import using
from events import Payload
from tests.conftest import Database
from tests.helpers import toy
from tests.helpers.blocking_calls import Blocking, fetch, heard, outside_that, play, until
from tests.helpers.support import deliver, drain, drain_all, scalar, waiting
from tests.helpers.toy import Outside, want
from tests.helpers.waits import SOMEBODY_WAITS


def test_each_call_of_a_batch_is_made_and_recorded_once(connection: Connection, outside: Outside) -> None:
    """Afterwards the queue is empty and no call is marked."""
    publish(connection, *[want(f"w{n:02}") for n in range(40)])
    drain()
    assert heard(connection) == [f"w{n:02}: made" for n in range(40)]
    assert len(outside.calls) == 40
    assert waiting(connection) == 0
    assert scalar(connection, "SELECT count(*) FROM engine.calls") == 0


def test_an_event_in_two_rows_is_called_once(connection: Connection, outside: Outside) -> None:
    """Delivered at the same time or one after the other."""
    event = want("one")
    publish(connection, event)
    publish(connection, event)
    drain_all(connection)
    publish(connection, event)
    drain_all(connection)
    assert heard(connection) == ["one: made"]
    assert len(outside.calls) == 1


def test_an_obsolete_event_is_applied_without_a_call(connection: Connection, outside: Outside) -> None:
    """The effect does not prepare it."""
    outside.stale.add("old")
    publish(connection, want("old"), want("new"))
    drain()
    assert heard(connection) == ["new: made"]
    assert scalar(connection, "SELECT count(*) FROM engine.event_log WHERE type = 'toy/call.wanted'") == 2


def test_after_a_transient_error_the_call_is_in_doubt(connection: Connection, outside: Outside) -> None:
    """It may have been made, so the next delivery asks first."""
    publish(connection, want("shy", "once"), want("bold"))
    drain_all(connection)
    assert heard(connection) == ["bold: made", "shy: asked"]
    assert [(call.in_doubt, call.attempt) for word, call in outside.calls if word == "shy"] == [(False, 0), (True, 1)]


def test_a_permanent_error_buries_its_own_event(connection: Connection, outside: Outside) -> None:
    """The other events of the batch are applied."""
    publish(connection, want("no", "bad"), want("yes"))
    drain_all(connection)
    assert heard(connection) == ["yes: made"]
    assert scalar(connection, "SELECT job_type FROM engine.failed_jobs") == "toy/call.wanted"


def test_an_effect_can_give_up(connection: Connection, outside: Outside) -> None:
    """The last transient error becomes the effect's result; without `give_up`, a dead letter."""
    with domain.use(outside.wiring(give_up=True)):
        publish(connection, want("stubborn", "never"))
        drain_all(connection)
    assert heard(connection) == ["stubborn: gave up"]
    assert [call.is_last for _, call in outside.calls] == [False] * 5 + [True]


def test_a_call_in_doubt_that_cannot_be_asked_about_is_buried(connection: Connection, outside: Outside) -> None:
    """It is never repeated."""
    with domain.use(outside.wiring(can_be_asked=False)):
        publish(connection, want("unsure", "once"))
        drain_all(connection)
    assert len(outside.calls) == 1
    assert scalar(connection, "SELECT error_class FROM engine.failed_jobs") == "InDoubt"


def test_an_event_with_a_handler_is_no_effect(connection: Connection, outside: Outside) -> None:
    """In the wrong task it is buried, not called."""
    connection.execute(
        "INSERT INTO public.procrastinate_jobs (queue_name, task_name, args) VALUES ('toys', 'perform', %s::jsonb)",
        [toy.say("hello").json_bytes().decode()],
    )
    with using(unknown_patience=0):
        drain_all(connection)
    assert scalar(connection, "SELECT error_message FROM engine.failed_jobs").endswith("it is no effect")


def test_concurrent_calls_keep_to_the_limit(database: Database, connection: Connection, outside: Outside) -> None:
    """An event without a slot waits with the same attempt, until the delivery that has the slots takes it."""
    publish(connection, *[want(f"a{n}", limit="account") for n in range(4)])
    publish(connection, *[want(f"b{n}", limit="account") for n in range(4)])

    async def scenario(engine: Engine, blocking: Blocking) -> None:
        first = asyncio.create_task(perform(engine, fetch(connection)))
        await blocking.begun.wait()
        await perform(engine, fetch(connection))
        assert scalar(connection, "SELECT count(*) FROM engine.slots") == 2
        again = connection.execute(
            "SELECT jsonb_array_length(args->'events'), args->>'attempt' FROM engine.delayed WHERE key = 'account'"
        ).fetchall()
        assert again == [(4, "0")]
        blocking.go.set()
        assert await first == 8
        assert blocking.most == 2

    play(database, outside, scenario)


def test_a_cancelled_delivery_requeues_open_events(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """Calls in progress are in doubt next time; the others are not."""
    publish(connection, *[want(f"w{n:02}") for n in range(10)])

    async def scenario(engine: Engine, blocking: Blocking) -> None:
        delivery = asyncio.create_task(perform(engine, fetch(connection)))
        await blocking.begun.wait()
        await until(lambda: blocking.under_way == 6)
        delivery.cancel()
        with suppress(asyncio.CancelledError):
            await delivery
        assert delivery.cancelled()

    play(database, outside, scenario)
    assert scalar(connection, "SELECT count(*) FROM engine.calls") == 6
    drain_all(connection)
    assert len(heard(connection)) == 10
    assert sorted(call.in_doubt for _, call in outside.calls) == [False] * 4 + [True] * 6


def test_an_outcome_during_a_commit_is_recorded_by_the_next(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """The row keeps the events that the commit did not record."""
    publish(connection, want("early"), want("late"))

    async def scenario(engine: Engine, blocking: Blocking) -> None:
        with psycopg.connect(database.superuser_url) as other, psycopg.connect(database.superuser_url) as observer:
            delivery = asyncio.create_task(perform(engine, fetch(connection)))
            await until(lambda: blocking.under_way == 2)
            other.execute("SELECT FROM engine.calls FOR UPDATE")
            blocking.take_one()
            await until(lambda: observer.execute(SOMEBODY_WAITS).fetchone())
            blocking.go.set()
            await until(lambda: not blocking.under_way)
            other.rollback()
            await delivery

    play(database, outside, scenario)
    drain_all(connection)
    assert heard(connection) == ["early: made", "late: made"]


def test_a_zombie_records_nothing(database: Database, connection: Connection, outside: Outside) -> None:
    """A worker that was declared dead continues. Only the new owner's outcome is recorded."""
    publish(connection, want("disputed"))

    async def scenario(engine: Engine, blocking: Blocking) -> None:
        delivery = fetch(connection)
        zombie = asyncio.create_task(perform(engine, delivery))
        await blocking.begun.wait()
        connection.execute(
            "UPDATE public.procrastinate_jobs SET status = 'todo', attempts = attempts + 1, worker_id = NULL"
        )
        blocking.go.set()
        assert await zombie == 0

    play(database, outside, scenario)
    assert heard(connection) == []
    drain_all(connection)
    assert heard(connection) == ["disputed: asked"]


@pytest.mark.parametrize("live", [True, False])
def test_a_call_belongs_to_one_live_delivery_at_a_time(
    database: Database, connection: Connection, outside: Outside, *, live: bool
) -> None:
    """Another delivery of the event waits; if the first one is not live, the call is in doubt."""
    event = want("shared")
    publish(connection, event)
    publish(connection, event)

    async def scenario(engine: Engine, blocking: Blocking) -> None:
        first = asyncio.create_task(perform(engine, fetch(connection)))
        await blocking.begun.wait()
        if not live:
            connection.execute("UPDATE public.procrastinate_jobs SET worker_id = NULL WHERE status = 'doing'")
        second = asyncio.create_task(perform(engine, fetch(connection)))
        if live:
            assert await second == 0
            assert blocking.most == 1
        else:
            await until(lambda: blocking.under_way == 2)
        blocking.go.set()
        await asyncio.gather(first, second)

    play(database, outside, scenario)
    drain_all(connection)
    assert heard(connection) == ["shared: made"]


def test_an_effect_must_return_a_payload(connection: Connection, outside: Outside) -> None:
    """Otherwise its event is put back or buried."""

    async def forgetful(_prepared: Prepared, _call: Call) -> Payload:
        return None  # type: ignore[return-value]

    with domain.use(outside_that(forgetful, outside)):
        publish(connection, want("forgotten"))
        drain_all(connection)
    assert scalar(connection, "SELECT error_class FROM engine.failed_jobs") == "TypeError"


def test_an_outcome_that_cannot_be_stored_fails_its_own_event(connection: Connection, outside: Outside) -> None:
    """The other events are applied, and called once."""
    calls: list[str] = []

    async def odd(prepared: Prepared, _call: Call) -> Payload:
        calls.append(prepared.work.word)
        return toy.Made(word=prepared.work.word, outcome="nul \x00" if prepared.work.word == "odd" else "made")

    with domain.use(outside_that(odd, outside)):
        publish(connection, want("even"), want("odd"), want("fine"))
        drain_all(connection)
    assert heard(connection) == ["even: made", "fine: made"]
    assert sorted(calls) == ["even", "fine", "odd"]
    assert scalar(connection, "SELECT error_class FROM engine.failed_jobs") == "CannotBeRecorded"


def test_the_other_side_is_not_asked_before_the_grace_period_ends(connection: Connection, outside: Outside) -> None:
    """The event of a call that failed in the middle waits until then."""
    with domain.use(outside_that(outside.call, outside, grace_period=60)):
        publish(connection, want("slow", "once"))
        drain()
        assert scalar(connection, "SELECT due_at > now() + interval '50 s' FROM engine.delayed")
        connection.execute("UPDATE engine.delayed SET due_at = now()")
        drain()
        assert len(outside.calls) == 1
        connection.execute("UPDATE engine.calls SET ask_after = now()")
        drain_all(connection)
    assert [call.in_doubt for _, call in outside.calls] == [False, True]


def test_a_call_that_was_left_behind_has_its_grace_period(connection: Connection, outside: Outside) -> None:
    """It begins when a delivery first finds the call."""
    event = want("orphan")
    publish(connection, event)
    connection.execute("INSERT INTO engine.calls (event_id, row_id, attempts) VALUES (%s, 0, 0)", [event.id])
    with domain.use(outside_that(outside.call, outside, grace_period=60)):
        drain()
        assert outside.calls == []
        assert scalar(connection, "SELECT due_at > now() + interval '50 s' FROM engine.delayed")


def test_an_event_that_was_recorded_meanwhile_is_not_called(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """A claim that waited for another record checks the ledger again."""
    event = want("twice")
    publish(connection, event)
    publish(connection, event)

    async def scenario(engine: Engine, blocking: Blocking) -> None:
        with psycopg.connect(database.superuser_url) as other:
            first = asyncio.create_task(perform(engine, fetch(connection)))
            await blocking.begun.wait()
            # Its record is under way and not committed: the ledger and the end of the call are in one transaction.
            other.execute("DELETE FROM engine.calls WHERE event_id = %s", [event.id])
            other.execute(
                "INSERT INTO engine.event_log (event_id, type, version, data, occurred_at)"
                " VALUES (%s, 'x', 1, '{}', now())",
                [event.id],
            )
            second = asyncio.create_task(perform(engine, fetch(connection)))
            with psycopg.connect(database.superuser_url, autocommit=True) as observer:
                await until(lambda: observer.execute(SOMEBODY_WAITS).fetchone())
            other.commit()
            await second
            assert blocking.most == 1
            blocking.go.set()
            await first

    play(database, outside, scenario)


def test_a_claim_without_calls_wakes_the_next_parked_row(connection: Connection, outside: Outside) -> None:
    """The woken row was obsolete."""
    outside.stale.add("overtaken")
    publish(connection, want("overtaken", limit="account"))
    publish(connection, want("patient", limit="account"))
    connection.execute(
        "WITH late AS (UPDATE public.procrastinate_jobs SET scheduled_at = now() + interval '1 hour'"
        " WHERE id = (SELECT max(id) FROM public.procrastinate_jobs) RETURNING id)"
        " INSERT INTO engine.parked (row_id, key, most) SELECT id, 'account', 2 FROM late"
    )
    deliver(connection)
    assert heard(connection) == ["patient: made"]
