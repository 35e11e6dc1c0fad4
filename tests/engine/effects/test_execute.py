"""Perform: outside calls are made in no transaction, and what came of each is recorded once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import psycopg
import pytest

from app import database as doors
from app.context import Connection
from app.engine import domain
from app.engine.delivery.engine import Engine
from app.engine.domain import Call, Effect, Policy, Prepared, Wiring
from app.engine.effects.execute import perform
from app.engine.queue.lease import Delivery
from app.engine.queue.publish import publish
from app.settings import using
from events import Payload
from tests.conftest import Database
from tests.helpers import toy
from tests.helpers.support import deliver, drain, drain_all, scalar, waiting
from tests.helpers.toy import Outside, want
from tests.helpers.waits import SOMEBODY_WAITS


def heard(connection: Connection) -> list[str]:
    """What came of calls, in order."""
    return [word for (word,) in connection.execute("SELECT word FROM toy.heard ORDER BY word")]


def test_every_call_of_a_batch_is_made_once_and_its_outcome_counted_once(
    connection: Connection, outside: Outside
) -> None:
    """A batch of calls ends with as many results, an empty queue and no call under way."""
    publish(connection, *[want(f"w{n:02}") for n in range(40)])
    drain()
    assert heard(connection) == [f"w{n:02}: made" for n in range(40)]
    assert len(outside.calls) == 40
    assert waiting(connection) == 0
    assert scalar(connection, "SELECT count(*) FROM engine.calls") == 0


def test_an_event_that_is_asked_for_twice_is_called_once(connection: Connection, outside: Outside) -> None:
    """Two rows with one event, delivered side by side or one after the other, make one call."""
    event = want("one")
    publish(connection, event)
    publish(connection, event)
    drain_all(connection)
    publish(connection, event)
    drain_all(connection)
    assert heard(connection) == ["one: made"]
    assert len(outside.calls) == 1


def test_what_nobody_waits_for_any_more_is_recorded_and_not_called(connection: Connection, outside: Outside) -> None:
    """An effect's event that was overtaken counts as applied."""
    outside.stale.add("old")
    publish(connection, want("old"), want("new"))
    drain()
    assert heard(connection) == ["new: made"]
    assert scalar(connection, "SELECT count(*) FROM engine.event_log WHERE type = 'toy/call.wanted'") == 2


def test_a_transient_error_asks_before_it_calls_again(connection: Connection, outside: Outside) -> None:
    """After a time-out the call may have happened: the next delivery knows that it is in doubt."""
    publish(connection, want("shy", "once"), want("bold"))
    drain_all(connection)
    assert heard(connection) == ["bold: made", "shy: asked"]
    assert [(call.in_doubt, call.attempt) for word, call in outside.calls if word == "shy"] == [(False, 0), (True, 1)]


def test_a_permanent_error_buries_its_own_event(connection: Connection, outside: Outside) -> None:
    """The requesting event is the dead letter; its siblings are done."""
    publish(connection, want("no", "bad"), want("yes"))
    drain_all(connection)
    assert heard(connection) == ["yes: made"]
    assert scalar(connection, "SELECT job_type FROM engine.failed_jobs") == "toy/call.wanted"


def test_an_effect_that_gives_up_says_so(connection: Connection, outside: Outside) -> None:
    """The last attempt's transient error becomes what the effect says of it; without that, a dead letter."""
    with domain.use(outside.wiring(give_up=True)):
        publish(connection, want("stubborn", "never"))
        drain_all(connection)
    assert heard(connection) == ["stubborn: gave up"]
    assert [call.is_last for _, call in outside.calls] == [False] * 5 + [True]


def test_in_doubt_and_nobody_to_ask_is_for_a_person(connection: Connection, outside: Outside) -> None:
    """Where the other side cannot be asked, a call is never made twice blindly."""
    with domain.use(outside.wiring(can_be_asked=False)):
        publish(connection, want("unsure", "once"))
        drain_all(connection)
    assert len(outside.calls) == 1
    assert scalar(connection, "SELECT error_class FROM engine.failed_jobs") == "InDoubt"


def test_an_event_with_a_handler_is_no_effect(connection: Connection, outside: Outside) -> None:
    """A wrong event in the wrong task becomes a dead letter, not a call."""
    connection.execute(
        "INSERT INTO public.procrastinate_jobs (queue_name, task_name, args) VALUES ('toys', 'perform', %s::jsonb)",
        [toy.say("hello").json_bytes().decode()],
    )
    with using(unknown_patience=0):
        drain_all(connection)
    assert scalar(connection, "SELECT error_message FROM engine.failed_jobs").endswith("it is no effect")


class Blocking:
    """An outside whose calls wait until the test lets them go."""

    def __init__(self) -> None:
        self.under_way = 0
        self.most = 0
        self.calls = 0
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self._turns = asyncio.Semaphore(0)

    def take_one(self) -> None:
        """Let one call go."""
        self._turns.release()

    async def call(self, prepared: Prepared, _call: Call) -> Payload:
        """Count the calls, and how many run at once."""
        self.calls += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.begun.set()
        waits = {asyncio.ensure_future(self.go.wait()), asyncio.ensure_future(self._turns.acquire())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self.under_way -= 1
        return toy.Made(word=prepared.work.word, outcome="made")


Scenario = Callable[[Engine, Blocking], Awaitable[None]]


def play(database: Database, outside: Outside, scenario: Scenario) -> None:
    """Run a scenario with an engine whose outside is blocking."""

    async def run() -> None:
        blocking = Blocking()
        wiring = outside.wiring()
        effect = Effect(queue="toys", limits=outside.limits, prepare=outside.prepare, call=blocking.call, at_once=6)
        with domain.use(domain.Wiring(wiring.handlers, {toy.Wanted: effect})):
            pool = doors.pool(max_size=8, address=database.url)
            try:
                async with asyncio.timeout(20):
                    await scenario(Engine(pool, Policy(base=0.01)), blocking)
            finally:
                pool.close()

    asyncio.run(run())


async def until(seen: Callable[[], object]) -> None:
    """Let the event loop turn until something is seen; `play()` bounds how long."""
    while not seen():  # noqa: ASYNC110 - what is waited for is in the database or in another task
        await asyncio.sleep(0)


def fetch(connection: Connection) -> Delivery:
    """What a worker does before it delivers: register, and fetch a row."""
    worker_id = scalar(connection, "SELECT worker_id FROM procrastinate_register_worker_v1()")
    row = connection.execute(
        "SELECT id, attempts, worker_id FROM procrastinate_fetch_job_v2(ARRAY['toys']::varchar[], %s)", [worker_id]
    ).fetchone()
    assert row is not None
    assert row[0] is not None, "no row is due"
    return Delivery(*row)


def test_calls_run_side_by_side_but_never_more_than_a_limit_allows(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """Deliveries share the slots of a limit; an event that finds none waits, with the same attempt."""
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
        assert await first == 4
        assert blocking.most == 2

    play(database, outside, scenario)


def test_a_delivery_that_must_stop_hands_back_what_it_has_not_done(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """Cancelled in the middle: what was in the air is in doubt next time, what had not begun is not."""
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


def test_an_outcome_that_comes_while_another_is_written_is_not_forgotten(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """The row shrinks by what was written, not by what has happened meanwhile."""
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
    """A worker that was taken for dead comes back: its outcome is not recorded, the new owner's is."""
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
    """While a delivery that has the call in hand lives, another one of the same event waits; then it is in doubt."""
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


def outside_that(
    call: Callable[[Prepared, Call], Awaitable[Payload]], outside: Outside, grace_period: float = 0.0
) -> Wiring:
    """The toy's wiring around another way of calling."""
    effect = Effect(queue="toys", prepare=outside.prepare, call=call, grace_period=lambda: grace_period)
    return Wiring(outside.wiring().handlers, {toy.Wanted: effect})


def test_an_effect_that_says_nothing_is_an_error_and_no_loss(connection: Connection, outside: Outside) -> None:
    """Whatever an effect returns that is no payload, its event is put back or buried, never forgotten."""

    async def forgetful(_prepared: Prepared, _call: Call) -> Payload:
        return None  # type: ignore[return-value]

    with domain.use(outside_that(forgetful, outside)):
        publish(connection, want("forgotten"))
        drain_all(connection)
    assert scalar(connection, "SELECT error_class FROM engine.failed_jobs") == "TypeError"


def test_an_outcome_that_cannot_be_written_is_its_own_events_error(connection: Connection, outside: Outside) -> None:
    """One result that the database cannot hold: its event is buried, its neighbours are done, and called once."""
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
    """After a call that ended half way its event waits as long as the other side may still be making up its mind."""
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
    """A worker that died said nothing: from the first look at its call on, the other side has its time."""
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
    """A delivery that had to wait for another one's record sees it: two rows with one event make one call."""
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


def test_a_limit_whose_waker_ended_early_wakes_the_next(connection: Connection, outside: Outside) -> None:
    """A woken row whose events nobody waits for any more passes the slot on."""
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
