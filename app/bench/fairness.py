"""`bench fairness`: a small tenant's effects beside a tenant with a large backlog, and beside hanging calls."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from statistics import quantiles
from uuid import UUID

from app.bench import lone_tenant
from app.bench.conditions import conditions
from app.bench.fair_portal import CONCURRENCY, EMPTY, PATIENCE_S, Portal, app_open, requests, serve
from app.bench.report import Report
from app.bench.rounds import Claim, Measured, alternate_all
from app.bench.scale import scaled
from app.bench.temporary_database import TemporaryDatabase, temporary_database
from app.bench.worker import clear_desk, serve_until
from app.context import Connection
from app.engine.queue.publish import publish
from events import new_id

SAMPLES = 60
"""Visits of the small tenant in a round; a third of that where its effects wait long."""
LONE = 6_000
"""Effects of a single tenant."""
CALLS = 5
"""Effects that the small tenant publishes in a visit."""
CALL_S, HANGING_S = 0.05, 1.0
"""Seconds of a normal and of a hanging call."""
BACKLOG = 1_000
"""Waiting effects of a large tenant, kept constant."""
PAUSE_S = 0.1
"""Seconds between two visits of the small tenant."""

ALONE, FLOOD, HANGING, FIRST_COME = "alone", "beside a flood", "beside 4 that hang", "beside a flood, first come"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Stage:
    temp_database: TemporaryDatabase

    def visit(self, large: int, seconds: float, samples: int, *, by_share: bool = True) -> tuple[float, float]:
        """Measure a small tenant's effects beside `large` tenants. Returns p50 and p99 in milliseconds."""
        self.temp_database.arrange(EMPTY)
        with clear_desk(), self.temp_database.connect() as connection, self.temp_database.connect() as filling:
            waited = asyncio.run(_visit(connection, filling, large, seconds, samples, by_share=by_share))
        cut = quantiles((1000 * one for one in waited), n=100, method="inclusive")
        return cut[49], cut[98]


async def _visit(
    connection: Connection, filling: Connection, large: int, seconds: float, samples: int, *, by_share: bool
) -> list[float]:
    portal, small = Portal(), new_id()
    portal.takes[small] = CALL_S
    waited: list[float] = []
    async with _worker(portal, by_share=by_share):
        floods = [new_id() for _ in range(large)]
        portal.takes.update(dict.fromkeys(floods, seconds))
        under_way = [portal.after(flood, 1) for flood in floods]
        keepers = [asyncio.create_task(_keep_full(filling, portal, floods))] if floods else []
        try:
            for flood in under_way:
                await asyncio.wait_for(flood.wait(), PATIENCE_S)
            for _ in range(samples):
                await asyncio.sleep(PAUSE_S)
                done = portal.after(small, CALLS)
                began = time.perf_counter()
                await asyncio.to_thread(publish, connection, *requests(small, CALLS))
                await asyncio.wait_for(done.wait(), PATIENCE_S)
                waited.append(time.perf_counter() - began)
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)
    return waited


async def _keep_full(connection: Connection, portal: Portal, tenants: Sequence[UUID]) -> None:
    published: Counter[UUID] = Counter()
    while True:
        for tenant in tenants:
            missing = BACKLOG // len(tenants) - (published[tenant] - portal.called[tenant])
            if missing > 0:
                await asyncio.to_thread(publish, connection, *requests(tenant, missing))
                published[tenant] += missing
        await asyncio.sleep(PAUSE_S)


@asynccontextmanager
async def _worker(portal: Portal, *, by_share: bool) -> AsyncIterator[None]:
    async with app_open(portal, by_share=by_share):
        stop = asyncio.Event()
        serving = asyncio.create_task(serve_until(serve(), stop))
        try:
            yield
        finally:
            stop.set()
            await serving


def run(*, rounds: int, say: Say, scale: float = 1) -> Report:
    """Measure the small tenant (ms) in each situation, and a single tenant (effects a second) with both fetches."""
    samples, effects = max(5, scaled(SAMPLES, scale)), scaled(LONE, scale)
    with temporary_database() as made:
        with made.connect() as connection:
            where = conditions(connection)
        say(f"fairness: {samples} visits of a small tenant, {effects:,} effects of a lone one")
        stage = _Stage(made)
        company = {
            ALONE: partial(stage.visit, 0, 0, samples),
            FLOOD: partial(stage.visit, 1, CALL_S, samples),
            HANGING: partial(stage.visit, CONCURRENCY, HANGING_S, max(5, samples // 3)),
            FIRST_COME: partial(stage.visit, 1, CALL_S, max(5, samples // 3), by_share=False),
        }
        figures = [(f"{CALLS} effects of a small tenant, p50", "ms"), (f"{CALLS} effects of a small tenant, p99", "ms")]
        visits = alternate_all(figures, company, rounds)
        lone = lone_tenant.measure(made, effects, rounds)
    measured = [one for figures in (visits, lone) for several in figures.values() for one in several]
    return Report("fairness", where, measured, [*_claims(visits), *lone_tenant.claims(lone)], _NOTES)


def _claims(visits: dict[str, list[Measured]]) -> Iterator[Claim]:
    p99 = {name: worst.median for name, (_, worst) in visits.items()}
    call, hanging = 1000 * CALL_S, 1000 * HANGING_S
    yield Claim("p99 beside a flood ÷ (alone + one call)", p99[FLOOD] / (p99[ALONE] + call), most=1.5)
    yield Claim("p99 beside 4 that hang ÷ (alone + one call)", p99[HANGING] / (p99[ALONE] + hanging), most=1.5)
    yield Claim("p99 beside a flood: first come ÷ in turns", p99[FIRST_COME] / p99[FLOOD])


_NOTES = (
    (
        f"one worker with {CONCURRENCY} concurrent deliveries of 8 concurrent calls; a call only waits:"
        f" {1000 * CALL_S:g} ms, or {HANGING_S:g} s if it hangs, or 0 for a lone tenant"
    ),
    (
        f"the small tenant publishes {CALLS} effects in one row; timed until its last call has"
        " ended; worker, publishers and clock are in one process"
    ),
    (
        f"a lone tenant: each round is the median of {lone_tenant.RUNS} runs of each way, by turns; CPU time of the"
        " whole process, and of the server's processes"
    ),
    (
        f"a flood: one tenant with {BACKLOG:,} waiting effects at all times; those that hang: a quarter of that each;"
        " the small tenant comes once each of them has had a call"
    ),
    "first come, first served: the oldest row first, as Procrastinate fetches, and no delivery ends early",
)
