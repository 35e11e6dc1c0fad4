"""A worker that is stopped at some point while others go on, and then goes on itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from app.context import Connection
from app.engine.delivery.consume import consume
from app.engine.delivery.engine import Engine
from app.engine.effects.execute import perform
from app.engine.queue.lease import Delivery
from app.engine.worker.rescue import rescue
from tests.helpers.faults.crash_points import CrashPoint, mortal_pool
from tests.helpers.faults.race import Race
from tests.helpers.faults.stage import Hand, Stage
from tests.helpers.support import scalar

FINISH = "before the finish"

_TABLES = [
    "public.procrastinate_jobs",
    "engine.event_log",
    "engine.failed_jobs",
    "engine.calls",
    "engine.slots",
    "engine.parked",
    "engine.delayed",
    "engine.rescues",
    "engine.event_rescues",
    "logistics.robot_jobs",
    "logistics.robot_job_items",
    "logistics.orders",
    "toy.heard",
]
_FETCH = "SELECT id, attempts, worker_id FROM procrastinate_fetch_job_v2(ARRAY[%s]::varchar[], %s)"


@dataclass(frozen=True, slots=True)
class Point:
    """Where a worker is stopped: the first time that it comes to a `place`, which is in a statement's text or a name.

    `mood` is the mood of its word or call. `holds` is true if it is stopped in a transaction that has locked or written
    something.
    """

    queue: str
    place: str
    mood: Any = "accept"
    holds: bool = False


@dataclass(slots=True)
class Zombie:
    """A worker, its delivery, and what happens while it is stopped.

    `shift`: seconds for which it was stopped. `left_behind`: the state when it went on.
    """

    race: Race
    point: Point
    hand: Hand
    meanwhile: Callable[[Zombie], None]
    shift: float = 0.0
    is_stopped: bool = False
    left_behind: Any = None

    def watch(self, place: str, connection: Connection | None = None) -> None:
        """Stop the worker if this is the place."""
        if self.is_stopped or self.point.place not in place:
            return
        self.is_stopped = True
        # In a thread of their own: the worker may be in an event loop, and the others need one too.
        with ThreadPoolExecutor(1) as others:
            others.submit(self._stop, connection).result()

    def _stop(self, connection: Connection | None) -> None:
        if self.point.holds and self.meanwhile is not nobody_can_take_it:
            assert connection is not None
            self._lose(connection)
        self.meanwhile(self)
        self.shift = 60.0
        self.left_behind = everything(self.race.stage)

    def _lose(self, connection: Connection) -> None:
        ended = "SELECT pg_terminate_backend(%s, 10000)"
        assert scalar(self.race.stage.admin, ended, connection.info.backend_pid)

    def walk(self) -> int:
        """Work, stop, go on and finish. Returns how many events were applied."""
        stage, applied = self.race.stage, 0
        try:
            applied = stage.work(self.hand)
        except psycopg.OperationalError:
            stage.fail(self.hand)
        else:
            self.watch(FINISH)
            stage.finish(self.hand)
        assert self.is_stopped, "it never came to the point"
        return applied


def everything(stage: Stage) -> Any:
    """Return the whole state, of the program and outside."""
    query = sql.SQL("SELECT * FROM {} AS it ORDER BY it::text")
    rows = [stage.admin.execute(query.format(sql.Identifier(*name.split(".")))).fetchall() for name in _TABLES]
    return rows, dict(stage.world.entered)


# What may happen meanwhile ------------------------------------------------------------------------


def rescued(zombie: Zombie, **limits: Any) -> None:
    """Take the worker for dead: its delivery waits again."""
    stage = zombie.race.stage
    stage.die(zombie.hand)
    rescue(stage.connection, stage.settings.model_copy(update=limits))


def taken_by_another(zombie: Zombie) -> None:
    """Let another worker take the row."""
    _take(zombie)


def finished_by_another(zombie: Zombie) -> None:
    """Let another worker finish the row."""
    delivery = _take(zombie)
    if delivery is None:
        return
    with mortal_pool(zombie.race.database.url, CrashPoint()) as pool:
        engine = Engine(pool, zombie.race.stage.engine.policy)
        if zombie.point.queue == "events":
            consume(engine, delivery, siblings=False)
        else:
            asyncio.run(perform(engine, delivery))


def buried(zombie: Zombie) -> None:
    """Bury the delivery for having crashed its workers too often."""
    rescued(zombie, most_rescues=0)


def nobody_can_take_it(zombie: Zombie) -> None:
    """Run a rescue while the worker is in its transaction: nothing changes."""
    rescued(zombie)
    assert scalar(zombie.race.stage.connection, "SELECT count(*) FROM engine.rescues") == 0


def _take(zombie: Zombie) -> Delivery | None:
    rescued(zombie)
    connection = zombie.race.stage.connection
    worker_id = scalar(connection, "SELECT worker_id FROM procrastinate_register_worker_v1()")
    row = connection.execute(_FETCH, [zombie.point.queue, worker_id]).fetchone()
    return None if row is None or row[0] is None else Delivery(*row)
