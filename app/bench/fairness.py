"""`bench fairness`: a small tenant's effects beside a tenant with a large backlog, and beside hanging calls."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from statistics import quantiles
from uuid import UUID

from psycopg import sql

import events
from app.bench.conditions import conditions
from app.bench.job_fixtures import NotExact
from app.bench.report import Report
from app.bench.rounds import Claim, Measured, alternate, alternate_all
from app.bench.scale import scaled
from app.bench.temporary_database import TemporaryDatabase, temporary_database
from app.bench.worker import clear_desk, serve_until
from app.context import Connection, HandlerContext
from app.engine.domain import Call, Effect, Prepared, Wiring, use
from app.engine.queue.publish import publish
from app.engine.worker.app import app, fresh_connector
from app.logistics.effects import ROBOTS_QUEUE
from events import Event, Payload, new_id
from events.robot import ItemCompleted, ItemRequested

SAMPLES = 60
"""Visits of the small tenant in a round; a third of that where its effects wait long."""
LONE = 6_000
"""Effects of a single tenant."""
CALLS = 5
"""Effects that the small tenant publishes in a visit."""
CALL_S, HANGING_S = 0.05, 1.0
"""Seconds of a normal and of a hanging call."""
CONCURRENCY = 4
BACKLOG = 1_000
"""Waiting effects of a large tenant, kept constant."""
PAUSE_S = 0.1
"""Seconds between two visits of the small tenant."""
PATIENCE_S = 60.0

ALONE, FLOOD, HANGING, FIRST_COME = "alone", "beside a flood", "beside 4 that hang", "beside a flood, first come"
BY_SHARE, OLDEST_FIRST = "in turns", "first come, first served"

_EMPTY = sql.SQL(
    "TRUNCATE engine.event_log, engine.failed_jobs, engine.calls, engine.slots, engine.parked,"
    " public.procrastinate_jobs RESTART IDENTITY CASCADE"
)
_DONE = "SELECT count(*) FROM engine.event_log"

Say = Callable[[str], None]


@dataclass
class _Portal:
    """Calls that only wait: `takes` seconds by tenant."""

    takes: dict[UUID, float] = field(default_factory=dict)
    called: Counter[UUID] = field(default_factory=Counter)
    reached: dict[UUID, tuple[int, asyncio.Event]] = field(default_factory=dict)
    """By tenant: a number of calls, and the event to set once it is reached."""

    def wiring(self) -> Wiring:
        """Return a wiring whose robot effect only waits."""
        effect = Effect(queue=ROBOTS_QUEUE, prepare=self._prepare, call=self._call)
        return Wiring({ItemCompleted: lambda _moment, _events: ()}, {ItemRequested: effect})

    def after(self, tenant: UUID, count: int) -> asyncio.Event:
        """Return an event that is set after `count` more calls of a tenant."""
        told = asyncio.Event()
        self.reached[tenant] = (self.called[tenant] + count, told)
        return told

    @staticmethod
    def _prepare(_moment: HandlerContext, requested: Sequence[Event[ItemRequested]]) -> Iterator[Prepared]:
        return (Prepared(event, event.data) for event in requested)

    async def _call(self, prepared: Prepared, _call: Call) -> Payload:
        asked, tenant = prepared.work, prepared.event.tenantid
        if tenant is None:
            raise TypeError(prepared.event)
        if seconds := self.takes.get(tenant):
            await asyncio.sleep(seconds)
        self.called[tenant] += 1
        count, told = self.reached.get(tenant, (0, None))
        if told is not None and self.called[tenant] >= count:
            told.set()
        return ItemCompleted(
            job_id=asked.job_id,
            item_id=asked.item_id,
            attempt=0,
            status="error",
            error_type="portal",
            error_message="-",
        )


@dataclass(frozen=True, slots=True)
class _Stage:
    temp_database: TemporaryDatabase
    samples: int
    lone: int

    def visit(self, large: int, seconds: float, samples: int, *, by_share: bool = True) -> tuple[float, float]:
        """Measure a small tenant's effects beside `large` tenants. Returns p50 and p99 in milliseconds."""
        self.temp_database.arrange(_EMPTY)
        with clear_desk(), self.temp_database.connect() as connection, self.temp_database.connect() as filling:
            waited = asyncio.run(_visit(connection, filling, large, seconds, samples, by_share=by_share))
        cut = quantiles((1000 * one for one in waited), n=100, method="inclusive")
        return cut[49], cut[98]

    def rate(self, *, by_share: bool) -> float:
        """Return effects a second of a single tenant, with calls that take no time."""
        self.temp_database.arrange(_EMPTY)
        with clear_desk(), self.temp_database.connect() as connection:
            with connection.transaction():
                publish(connection, *_requests(new_id(), self.lone))
            self.temp_database.arrange(sql.SQL("VACUUM ANALYZE"))
            seconds = asyncio.run(_drain(self.lone, by_share=by_share))
            done = connection.execute(_DONE).fetchone()
            if done != (self.lone,):
                raise NotExact(f"{done} effects are in the ledger, not {self.lone}")
        return self.lone / seconds


async def _visit(
    connection: Connection, filling: Connection, large: int, seconds: float, samples: int, *, by_share: bool
) -> list[float]:
    portal, small = _Portal(), new_id()
    portal.takes[small] = CALL_S
    waited: list[float] = []
    async with _worker(portal, by_share=by_share):
        floods = [new_id() for _ in range(large)]
        portal.takes.update(dict.fromkeys(floods, seconds))
        keepers = [asyncio.create_task(_keep_full(filling, portal, floods))] if floods else []
        try:
            for _ in range(samples):
                await asyncio.sleep(PAUSE_S)
                done = portal.after(small, CALLS)
                began = time.perf_counter()
                await asyncio.to_thread(publish, connection, *_requests(small, CALLS))
                await asyncio.wait_for(done.wait(), PATIENCE_S)
                waited.append(time.perf_counter() - began)
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)
    return waited


async def _keep_full(connection: Connection, portal: _Portal, tenants: Sequence[UUID]) -> None:
    published: Counter[UUID] = Counter()
    while True:
        for tenant in tenants:
            missing = BACKLOG // len(tenants) - (published[tenant] - portal.called[tenant])
            if missing > 0:
                await asyncio.to_thread(publish, connection, *_requests(tenant, missing))
                published[tenant] += missing
        await asyncio.sleep(PAUSE_S)


async def _drain(count: int, *, by_share: bool) -> float:
    portal = _Portal()
    async with app_open(portal, by_share=by_share):
        reached = asyncio.Event()
        watching = asyncio.create_task(_until(portal, count, reached))
        try:
            return await serve_until(_serving(), reached, limit=PATIENCE_S)
        finally:
            watching.cancel()


async def _until(portal: _Portal, count: int, reached: asyncio.Event) -> None:
    while portal.called.total() < count:  # noqa: ASYNC110 - other tasks count
        await asyncio.sleep(0.001)
    reached.set()


@asynccontextmanager
async def _worker(portal: _Portal, *, by_share: bool) -> AsyncIterator[None]:
    async with app_open(portal, by_share=by_share):
        stop = asyncio.Event()
        serving = asyncio.create_task(serve_until(_serving(), stop))
        try:
            yield
        finally:
            stop.set()
            await serving


async def _serving() -> None:
    await app.serve(queues=[ROBOTS_QUEUE], concurrency=CONCURRENCY, install_signal_handlers=False)


@asynccontextmanager
async def app_open(portal: _Portal, *, by_share: bool) -> AsyncIterator[None]:
    """Open the program's app with the robots replaced by `portal`."""
    with app.replace_connector(fresh_connector()), use(portal.wiring()), _taking(by_share=by_share):
        async with app.open_async(), app.at_work(CONCURRENCY):
            yield


@contextmanager
def _taking(*, by_share: bool) -> Iterator[None]:
    app.job_manager.by_share = by_share
    try:
        yield
    finally:
        app.job_manager.by_share = True


def _requests(tenant: UUID, count: int) -> list[Event[ItemRequested]]:
    now = datetime.now(UTC)
    return [
        events.new(
            ItemRequested(job_id=tenant, item_id=new_id(), order_id=new_id(), attempt=0, carrier="bench"),
            now=now,
            subject=tenant,
            tenant=tenant,
        )
        for _ in range(count)
    ]


def run(*, rounds: int, say: Say, scale: float = 1) -> Report:
    """Measure the small tenant (ms) in each situation, and a single tenant (effects a second) with both fetches."""
    samples, lone = max(5, scaled(SAMPLES, scale)), scaled(LONE, scale)
    with temporary_database() as made:
        with made.connect() as connection:
            where = conditions(connection)
        say(f"fairness: {samples} visits of a small tenant, {lone:,} effects of a lone one")
        stage = _Stage(made, samples, lone)
        company = {
            ALONE: partial(stage.visit, 0, 0, samples),
            FLOOD: partial(stage.visit, 1, CALL_S, samples),
            HANGING: partial(stage.visit, CONCURRENCY, HANGING_S, max(5, samples // 3)),
            FIRST_COME: partial(stage.visit, 1, CALL_S, max(5, samples // 3), by_share=False),
        }
        figures = [(f"{CALLS} effects of a small tenant, p50", "ms"), (f"{CALLS} effects of a small tenant, p99", "ms")]
        visits = alternate_all(figures, company, rounds)
        rates = alternate(
            f"{lone:,} effects of a lone tenant",
            "effects/s",
            {
                BY_SHARE: partial(stage.rate, by_share=True),
                OLDEST_FIRST: partial(stage.rate, by_share=False),
            },
            rounds,
        )
    measured = [one for both in visits.values() for one in both] + list(rates.values())
    return Report("fairness", where, measured, list(_claims(visits, rates)), _NOTES)


def _claims(visits: dict[str, list[Measured]], rates: dict[str, Measured]) -> Iterator[Claim]:
    p99 = {name: worst.median for name, (_, worst) in visits.items()}
    call, hanging = 1000 * CALL_S, 1000 * HANGING_S
    yield Claim("p99 beside a flood ÷ (alone + one call)", p99[FLOOD] / (p99[ALONE] + call), most=1.5)
    yield Claim("p99 beside 4 that hang ÷ (alone + one call)", p99[HANGING] / (p99[ALONE] + hanging), most=1.5)
    yield Claim("p99 beside a flood: first come ÷ in turns", p99[FIRST_COME] / p99[FLOOD])
    yield Claim("a lone tenant: in turns ÷ first come", rates[BY_SHARE].median / rates[OLDEST_FIRST].median, least=0.95)


_NOTES = (
    (
        f"one worker with {CONCURRENCY} concurrent deliveries of 8 concurrent calls; a call only waits:"
        f" {1000 * CALL_S:g} ms, or {HANGING_S:g} s if it hangs, or 0 for a lone tenant"
    ),
    (
        f"the small tenant publishes {CALLS} effects in one row; timed until its last call has"
        " ended; worker, publishers and clock are in one process"
    ),
    f"a flood: one tenant with {BACKLOG:,} waiting effects at all times; those that hang: a quarter of that each",
    "first come, first served: the oldest row first, as Procrastinate fetches, and no delivery ends early",
)
