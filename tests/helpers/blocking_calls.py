"""Calls that wait for the test, and deliveries of effects without a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from app import database as doors
from app.context import Connection
from app.engine import domain
from app.engine.delivery.engine import Engine
from app.engine.domain import Call, Effect, Policy, Prepared, Wiring
from app.engine.effects import claim
from app.engine.effects.batch import EffectBatch, Task
from app.engine.queue.lease import Delivery
from app.engine.queue.publish import publish
from events import Event, Payload
from tests.conftest import Database
from tests.helpers import toy
from tests.helpers.support import scalar
from tests.helpers.toy import Outside

_DUE = """
SELECT coalesce(args #>> '{events,0,data,word}', args #>> '{data,word}') FROM public.procrastinate_jobs
 WHERE queue_name = 'toys' AND status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now()) ORDER BY id
"""


class Blocking:
    """An outside world whose calls wait until the test lets them go."""

    def __init__(self) -> None:
        self.under_way = 0
        self.most = 0
        self.calls = 0
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self._turns = asyncio.Semaphore(0)

    def take_one(self) -> None:
        """Let one call end."""
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
    """Run a scenario with an engine whose effect makes blocking calls, for at most 20 seconds."""

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
    """Run the event loop until the condition is true. `play()` limits the time."""
    while not seen():  # noqa: ASYNC110 - what is waited for is in the database or in another task
        await asyncio.sleep(0)


def fetch(connection: Connection) -> Delivery:
    """Register a worker and fetch a due row of effects."""
    worker_id = scalar(connection, "SELECT worker_id FROM procrastinate_register_worker_v1()")
    row = connection.execute(
        "SELECT id, attempts, worker_id FROM procrastinate_fetch_job_v2(ARRAY['toys']::varchar[], %s)", [worker_id]
    ).fetchone()
    assert row is not None
    assert row[0] is not None, "no row is due"
    return Delivery(*row)


def due(connection: Connection) -> list[str]:
    """Return the words of the due rows."""
    return [word for (word,) in connection.execute(_DUE)]


def outside_that(
    call: Callable[[Prepared, Call], Awaitable[Payload]], outside: Outside, grace_period: float = 0.0
) -> Wiring:
    """Return the toy domain's wiring with another call. `grace_period`: seconds."""
    effect = Effect(queue="toys", prepare=outside.prepare, call=call, grace_period=lambda: grace_period)
    return Wiring(outside.wiring().handlers, {toy.Wanted: effect})


def heard(connection: Connection) -> list[str]:
    """Return the recorded results of calls, in alphabetical order."""
    return [word for (word,) in connection.execute("SELECT word FROM toy.heard ORDER BY word")]


def claimed(engine: Engine, connection: Connection, *events: Event[Any]) -> EffectBatch:
    """Publish events as one row and claim it, as a worker does before it makes the calls."""
    publish(connection, *events)
    batch = claim.claim(engine, fetch(connection))
    assert batch is not None
    return batch


def word_of(task: Task) -> str:
    """Return the word of a task's event."""
    return str(task.event.data.word)
