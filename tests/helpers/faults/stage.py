"""The stage: the real engine on the real database, one delivery at a time, with workers that crash on demand.

Queue rows are fetched and finished by the program's own job manager and delivered by `consume` and `perform`. Nothing
runs by itself: the test decides each step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from uuid import UUID

import psycopg
import pytest
from procrastinate import jobs
from psycopg import sql
from pydantic import SecretStr

from app import database as doors
from app.context import Connection
from app.engine import domain
from app.engine.delivery.consume import consume
from app.engine.delivery.engine import Engine
from app.engine.domain import Call, Handler, Policy, Prepared, Wiring
from app.engine.effects.concurrency import wake_all
from app.engine.effects.execute import perform
from app.engine.queue.delayed import promote
from app.engine.queue.envelope import Row, open_rows
from app.engine.queue.fair_share import FairShare
from app.engine.queue.job_manager import FencedManager
from app.engine.queue.lease import Delivery
from app.engine.worker.app import fresh_connector
from app.engine.worker.rescue import Rescued, rescue, sweep
from app.logistics import carriers, coverage, effects
from app.logistics.coverage import CoverageRow
from app.logistics.entries import Entry
from app.program import WIRING
from app.settings import Settings, settings
from events import Event, Payload, robot
from tests.conftest import Database
from tests.helpers import toy
from tests.helpers.factories import make_workspace
from tests.helpers.faults.crash_points import CrashPoint, mortal_pool
from tests.helpers.faults.world import World
from tests.helpers.shops import Shop

CARRIER = "coordinadora"
MOST_RESCUES = 2
MOST_SESSIONS = 2
QUEUES = ("events", "robots")


@dataclass(eq=False, slots=True)
class Hand:
    """A delivery that a worker has taken: the row as it was, and its events."""

    job: jobs.Job
    events: frozenset[UUID]
    items: frozenset[UUID]
    is_rescued: bool = False

    @property
    def delivery(self) -> Delivery:
        """Return the delivery as the engine knows it."""
        assert self.job.id is not None
        return Delivery(self.job.id, self.job.attempts, self.job.worker_id)


_DUE = """
SELECT count(*) FROM public.procrastinate_jobs
 WHERE status = 'todo' AND queue_name = %s AND (scheduled_at IS NULL OR scheduled_at <= now())
"""
_TABLES = """
SELECT schemaname, tablename FROM pg_tables
 WHERE schemaname IN ('engine', 'logistics', 'toy', 'public')
   AND tablename NOT IN ('carrier_configs', 'carrier_coverage', 'schema_migrations')
"""


@dataclass(slots=True)
class Stage:
    """A shop, an outside world, and workers under the test's control. Made by `stage()`."""

    admin: Connection
    shop: Shop
    other: Shop
    engine: Engine
    crash_point: CrashPoint
    runner: asyncio.Runner
    manager: FencedManager
    world: World = field(default_factory=World)

    @property
    def connection(self) -> Connection:
        """An autocommit connection as `service_role`."""
        return self.shop.connection

    @property
    def settings(self) -> Settings:
        """Apply the settings: only workers that the test stops are dead, and few rescues are allowed."""
        return settings().model_copy(update={"stalled_after": 1800.0, "most_rescues": MOST_RESCUES})

    def empty(self) -> None:
        """Delete all jobs, events and workers."""
        empty = [sql.SQL("DELETE FROM {}").format(sql.Identifier(*row)) for row in self.admin.execute(_TABLES)]
        # In any order: neither foreign keys nor other triggers are looked at.
        no_triggers = sql.SQL("SET LOCAL session_replication_role = replica")
        self.admin.execute(sql.SQL("; ").join([no_triggers, *empty]))
        for shop in (self.shop, self.other):
            carriers.enable_carrier(shop.context, CARRIER)
        self.world.start_over()
        self.crash_point.left = None

    def wiring(self) -> Wiring:
        """Return the program's wiring with this outside world as the portal, and with words."""
        effect = replace(
            WIRING.effects[robot.ItemRequested],
            call=self.call,
            give_up=self.give_up,
            ask=None,
            close=None,
            grace_period=lambda: 0.0,
        )
        handlers: dict[type[Payload], Handler] = {**WIRING.handlers, toy.Said: self.world.hear}
        return replace(WIRING, handlers=handlers, effects={robot.ItemRequested: effect})

    async def call(self, prepared: Prepared, call: Call) -> Payload:
        """Call the outside world as the program's own effect does."""
        self.crash_point.pass_by("before the call")
        try:
            with self.world.calling():
                return self._note(prepared, await effects.enter_order(prepared, call))
        finally:
            self.crash_point.pass_by("after the call")

    def give_up(self, prepared: Prepared, error: Exception) -> Payload:
        """Note that the last attempt failed."""
        return self._note(prepared, effects.give_up(prepared, error))

    def _note(self, prepared: Prepared, said: Payload) -> Payload:
        assert isinstance(said, robot.ItemCompleted)
        entry: Entry = prepared.work
        self.world.note(entry.requested.item_id, said)
        return said

    def worker(self, capacity: int) -> int:
        """Register a worker, which shares this many deliveries among the waiting tenants. Returns its id."""
        worker_id = self.runner.run(self.manager.register_worker())
        self.manager.fair_shares[worker_id] = FairShare(capacity)
        return worker_id

    @contextmanager
    def locked(self, table: str, row: UUID) -> Iterator[None]:
        """Lock a row of the domain with a short lock timeout for deliveries."""
        statement = sql.SQL("SELECT FROM {} WHERE id = %s FOR UPDATE").format(sql.Identifier("logistics", table))
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("TALLYMAN_LOCK_PATIENCE", "0.05")
            settings.cache_clear()
            with self.admin.transaction():
                self.admin.execute(statement, [row])
                yield
        settings.cache_clear()

    def take(self, queue: str, worker: int | None = None) -> Hand | None:
        """Let a worker take what is due next; None: a new worker."""

        async def fetch() -> jobs.Job | None:
            worker_id = worker or await self.manager.register_worker()
            return await self.manager.fetch_job([queue], worker_id)

        job = self.runner.run(fetch())
        return None if job is None else self._hand(job)

    def _hand(self, job: jobs.Job) -> Hand:
        args = self.connection.execute("SELECT args::text FROM public.procrastinate_jobs WHERE id = %s", [job.id])
        letters = open_rows([Row(job.id or 0, text) for (text,) in args])
        payloads = [letter.event.data for letter in letters if isinstance(letter.event, Event)]
        items = frozenset(payload.item_id for payload in payloads if isinstance(payload, robot.ItemRequested))
        return Hand(job, frozenset(letter.event_id for letter in letters if letter.event_id), items)

    def deliver(self, hand: Hand) -> int:
        """Let the worker deliver what it has and finish the row. Returns how many events were applied."""
        applied = self.work(hand)
        self.finish(hand)
        return applied

    def work(self, hand: Hand) -> int:
        """Deliver, as the task of the row does."""
        if hand.job.task_name == "perform":
            return self.runner.run(perform(self.engine, hand.delivery))
        return consume(self.engine, hand.delivery, siblings=hand.job.task_name == "consume")

    def finish(self, hand: Hand) -> None:
        """Record that the delivery ended, as Procrastinate's worker does after its task."""
        self.runner.run(self.manager.finish_job(hand.job, jobs.Status.SUCCEEDED, delete_job=True))

    def fail(self, hand: Hand) -> None:
        """Record that the delivery raised an error, as Procrastinate's worker does: it is retried."""
        self.runner.run(self.manager.retry_job(hand.job, retry_at=datetime.now(UTC)))

    def die(self, hand: Hand) -> None:
        """Stop the worker's heartbeats."""
        self.connection.execute(
            "UPDATE public.procrastinate_workers SET last_heartbeat = now() - interval '1 hour' WHERE id = %s",
            [hand.job.worker_id],
        )

    def rescue(self) -> list[Rescued]:
        """Rescue deliveries, as every worker does now and then."""
        freed = rescue(self.connection, self.settings)
        sweep(self.connection)
        wake_all(self.connection)
        promote(self.connection)
        return freed

    def due(self, queue: str) -> int:
        """Return how many rows of a queue are due."""
        row = self.connection.execute(_DUE, [queue]).fetchone()
        return int(row[0]) if row else 0

    def stop_the_clock(self) -> None:
        """Let waiting rows wait for `pass_time()`, so that the machine's speed decides nothing."""
        self.connection.execute("UPDATE engine.delayed SET due_at = now() + interval '1 hour'")

    def pass_time(self) -> None:
        """Make everything due that waits for its time."""
        self.connection.execute("UPDATE engine.delayed SET due_at = now()")
        while promote(self.connection)[0]:
            pass
        self.connection.execute("UPDATE public.procrastinate_jobs SET scheduled_at = NULL WHERE status = 'todo'")


@contextmanager
def stage(database: Database) -> Iterator[Stage]:
    """A stage with its wiring in force. Its rows go when the test's database is emptied."""
    with ExitStack() as stack:
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        # A retry waits for the portal's grace period, by the clock: here it need not.
        environment.setenv("TALLYMAN_PORTAL_SETTLE", "0")
        settings.cache_clear()
        stack.callback(settings.cache_clear)
        admin = stack.enter_context(psycopg.connect(database.superuser_url, autocommit=True))
        toy.install(database)
        connection = stack.enter_context(doors.connect(database.url, autocommit=True))
        crash_point = CrashPoint()
        pool = stack.enter_context(mortal_pool(database.url, crash_point))
        runner = stack.enter_context(asyncio.Runner())
        connector = fresh_connector()
        runner.run(connector.open_async())
        stack.callback(lambda: runner.run(connector.close_async()))
        made = Stage(
            admin,
            _shop(connection),
            _shop(connection),
            Engine(pool, Policy(most_attempts=3, base=100)),
            crash_point,
            runner,
            FencedManager(connector),
        )
        environment.setattr(effects, "portal", lambda: made.world)
        with domain.use(made.wiring()):
            yield made


def _shop(connection: Connection) -> Shop:
    shop = Shop(connection, make_workspace(connection).id)
    carriers.set_carrier(
        shop.context,
        CARRIER,
        username="robot",
        password=SecretStr("secret"),
        portal_url="http://portal.invalid",
        max_sessions=MOST_SESSIONS,
    )
    carriers.enable_carrier(shop.context, CARRIER)
    city = CoverageRow(city="Bogotá", department="Cundinamarca", carrier_city="BOGOTA (C/MARCA)")
    coverage.import_coverage(connection, CARRIER, [city])
    return shop
