"""The lone tenant of `bench fairness`: the rate and the CPU time of its effects, with and without fair shares."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from functools import partial

from psycopg import sql

from app.bench.fair_portal import EMPTY, PATIENCE_S, Portal, app_open, requests, serve
from app.bench.job_fixtures import NotExact
from app.bench.processes import server_cpu
from app.bench.rounds import Claim, Measured, alternate_all
from app.bench.temporary_database import TemporaryDatabase
from app.bench.worker import clear_desk, serve_until
from app.engine.queue.publish import publish
from events import new_id

RUNS = 5
"""Runs of each way in a round. A round's figure is their median: a single run takes a second or two."""
BY_SHARE, OLDEST_FIRST = "in turns", "first come, first served"

_DONE = "SELECT count(*) FROM engine.event_log"


def measure(temp_database: TemporaryDatabase, effects: int, rounds: int) -> dict[str, list[Measured]]:
    """Measure `effects` of a lone tenant, whose calls take no time, both ways by turns.

    Each way has its rate (effects/s), the CPU time of the worker's process, and that of the server's processes if the
    server is the embedded one, in µs an effect.
    """
    units = [(f"{effects:,} effects of a lone tenant", "effects/s"), ("worker's CPU time, lone tenant", "µs/effect")]
    if temp_database.superuser_url:
        units.append(("server's CPU time, lone tenant", "µs/effect"))
    ways = {name: partial(_run, temp_database, effects, name == BY_SHARE) for name in (BY_SHARE, OLDEST_FIRST)}
    found = [alternate_all(units, ways, RUNS) for _ in range(rounds)]
    return {
        name: [
            Measured(one.what, name, one.unit, tuple(each[name][number].median for each in found))
            for number, one in enumerate(found[0][name])
        ]
        for name in ways
    }


def claims(measured: dict[str, list[Measured]]) -> Iterator[Claim]:
    """Compare both ways: the rate, and the CPU time of worker and server together."""
    (rate, *cpu), (first_rate, *first_cpu) = measured[BY_SHARE], measured[OLDEST_FIRST]
    yield Claim("a lone tenant: in turns ÷ first come", rate.median / first_rate.median, least=0.95)
    ratio = sum(one.median for one in cpu) / sum(one.median for one in first_cpu)
    yield Claim("a lone tenant, CPU time an effect: in turns ÷ first come", ratio, most=1.05)


def _run(temp_database: TemporaryDatabase, effects: int, by_share: bool) -> tuple[float, ...]:  # noqa: FBT001 - a partial's argument
    temp_database.arrange(EMPTY)
    with clear_desk(), temp_database.connect() as connection:
        with connection.transaction():
            publish(connection, *requests(new_id(), effects))
        temp_database.arrange(sql.SQL("VACUUM ANALYZE"))
        temp_database.checkpoint()
        backend = connection.info.backend_pid if temp_database.superuser_url else None
        seconds, *cpu = asyncio.run(_drain(effects, backend, by_share=by_share))
        done = connection.execute(_DONE).fetchone()
        if done != (effects,):
            raise NotExact(f"{done} effects are in the ledger, not {effects}")
    return (effects / seconds, *(1e6 * one / effects for one in cpu))


async def _drain(count: int, backend: int | None, *, by_share: bool) -> list[float]:
    """Return the seconds until the last call, the CPU seconds of this process, and those of the server's processes."""
    portal = Portal()
    async with app_open(portal, by_share=by_share):
        reached = asyncio.Event()
        watching = asyncio.create_task(_until(portal, count, reached))
        before = _cpu(backend)
        try:
            seconds = await serve_until(serve(), reached, limit=PATIENCE_S)
        finally:
            watching.cancel()
        return [seconds, *(after - one for after, one in zip(_cpu(backend), before, strict=True))]


def _cpu(backend: int | None) -> list[float]:
    return [time.process_time(), *([] if backend is None else [server_cpu(backend)])]


async def _until(portal: Portal, count: int, reached: asyncio.Event) -> None:
    while portal.called.total() < count:  # noqa: ASYNC110 - other tasks count
        await asyncio.sleep(0.001)
    reached.set()
