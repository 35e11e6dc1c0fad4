"""`bench robots`: rate of items from the submit through the portal to the completed job."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import LiteralString
from uuid import UUID

from app.bench import plain_robots, watch
from app.bench.conditions import conditions
from app.bench.job_fixtures import NotExact
from app.bench.plain import QUEUE
from app.bench.plain_robots import PlainRobots, account
from app.bench.processes import working
from app.bench.report import Report
from app.bench.rounds import Claim, Contender, Measured, alternate
from app.bench.scale import scaled
from app.bench.serving import serving
from app.bench.temporary_database import temporary_database
from app.bench.workspace import CARRIER, CITY, SESSIONS, ShippingWorkspace, shipping_workspace
from app.context import Connection
from app.demo.processes import PortalProcess, portal
from app.engine.routing import EVENTS_QUEUE
from app.logistics import rules
from app.logistics.effects import ROBOTS_QUEUE
from app.logistics.gateway import OrderForm
from app.logistics.http_portal import HttpPortal
from app.logistics.jobs import create_robot_job
from events import new_id

ITEMS = 1_000
LATENCIES_MS = (0, 20)
"""Latencies of the portal for an order, in milliseconds."""
ONE, TWO, PLAIN, LIMIT = "Tallyman, 1 worker", "Tallyman, 2 workers", "plain Procrastinate", "limit, the calls alone"
PATIENCE_S = 60.0
_SLOWEST = 5.0
"""Items a second below which a run fails."""

_AT_WORK: LiteralString = "SELECT count(*) = %(count)s FROM public.procrastinate_workers"
_DONE: LiteralString = "SELECT status = 'completed' FROM logistics.robot_jobs"
_COUNTS: LiteralString = """
SELECT (SELECT sum(success_count) FROM logistics.robot_jobs),
       (SELECT count(DISTINCT tracking_number) FROM logistics.robot_job_items WHERE status = 'success'),
       (SELECT count(*) FROM logistics.orders WHERE status = 'shipped'),
       (SELECT count(*) FROM engine.event_log WHERE type = 'robot/item.completed'),
       (SELECT count(*) FROM engine.event_log WHERE type = 'order/updated'),
       (SELECT count(*) FROM engine.event_log WHERE type = 'robot/job.completed')
"""

Say = Callable[[str], None]
_Key = tuple[int, str]
"""The portal's latency in milliseconds, and a contender."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """A workspace and its portal. Rates are items a second."""

    workspace: ShippingWorkspace
    portal: PortalProcess
    items: int

    def contenders(self, latencies: Sequence[int]) -> dict[_Key, Contender]:
        """Return all contenders for every latency of the portal."""
        found: dict[_Key, Contender] = {}
        for latency in latencies:
            found[latency, ONE] = partial(self._ours, latency, 1)
            found[latency, TWO] = partial(self._ours, latency, 2)
            found[latency, LIMIT] = partial(self._limit, latency)
            found[latency, PLAIN] = partial(self._plain, latency)
        return found

    def _ours(self, latency: int, workers: int) -> float:
        with self._round(latency) as (connection, order_ids), working(self.workspace.environment(), workers):
            # Each process has a worker for events and one for effects.
            _until_at_work(connection, 2 * workers)
            began = time.perf_counter()
            create_robot_job(self.workspace.context(connection), order_ids, carrier=CARRIER)
            seconds = self._until_done(connection, began)
            watch.until_quiet(connection, EVENTS_QUEUE, ROBOTS_QUEUE, within=PATIENCE_S)
        return self.items / seconds

    def _plain(self, latency: int) -> float:
        plain = PlainRobots(self.workspace.temp_database)
        worker = serving(self.workspace.environment(), concurrency=SESSIONS, portal_url=self.portal.url)
        with self._round(latency) as (connection, order_ids), worker, plain.app.open():
            _until_at_work(connection, 1)
            began = time.perf_counter()
            plain.submit(connection, self.workspace.workspace_id, order_ids)
            seconds = self._until_done(connection, began)
            watch.until_quiet(connection, QUEUE, plain_robots.ROBOTS_QUEUE, within=PATIENCE_S)
        return self.items / seconds

    def _limit(self, latency: int) -> float:
        with self._entering(latency) as served:
            seconds = asyncio.run(_call_all(self.portal.url, range(served, served + self.items)))
        return self.items / seconds

    @contextmanager
    def _round(self, latency: int) -> Iterator[tuple[Connection, Sequence[UUID]]]:
        """Yield new orders. Raises `NotExact` unless each is shipped at the end, with one applied result."""
        with self._entering(latency) as served, self.workspace.temp_database.connect() as connection:
            yield connection, self.workspace.start_over(self.items, served=served)
            found = connection.execute(_COUNTS).fetchone()
            if found != (*(self.items,) * 5, 1):
                raise NotExact(f"counted, numbers, shipped, results, orders updated and jobs completed: {found}")

    @contextmanager
    def _entering(self, latency: int) -> Iterator[int]:
        """Set the portal's latency. Yields its order count. Raises `NotExact` unless each new order comes once."""
        self.portal.change(latency_ms=latency)
        served = self.portal.record()["accepted"]
        yield served
        record = self.portal.record()
        if record["accepted"] != served + self.items or record["duplicates"]:
            raise NotExact(f"the portal accepted {record['accepted'] - served} orders, {record['duplicates']} twice")

    def _until_done(self, connection: Connection, began: float) -> float:
        within = PATIENCE_S + self.items / _SLOWEST
        watch.until(connection, _DONE, {}, within=within, what="job completed")
        return time.perf_counter() - began


def _until_at_work(connection: Connection, count: int) -> None:
    watch.until(connection, _AT_WORK, {"count": count}, within=PATIENCE_S, what=f"{count} workers at work")


async def _call_all(url: str, customers: Iterable[int]) -> float:
    """Enter an order for each customer, with as many concurrent calls as the account allows. Returns the seconds."""
    gateway, who, free = HttpPortal(), account(url), asyncio.Semaphore(SESSIONS)

    async def enter(number: int) -> None:
        async with free:
            await gateway.enter(who, _form(number))

    try:
        began = time.perf_counter()
        await asyncio.gather(*(enter(number) for number in customers))
        return time.perf_counter() - began
    finally:
        await gateway.aclose()


def _form(number: int) -> OrderForm:
    return OrderForm(
        reference=rules.reference(new_id(), 0),
        recipient_name="Ana Pérez",
        recipient_document=f"{1_020_300_000 + number}",
        address="Calle 1 # 2-3",
        city=CITY,
        units=1,
        weight_kg=1.5,
        declared_value_cents=0,
        collect_on_delivery_cents=0,
    )


def run(*, rounds: int, say: Say, scale: float = 1, latencies: Sequence[int] = LATENCIES_MS) -> Report:
    """Measure all contenders with `scale` times the usual number of items, for portal latencies in milliseconds."""
    items = scaled(ITEMS, scale)
    with temporary_database() as made, portal({}) as door, shipping_workspace(made, door.url) as at:
        with made.connect() as connection:
            where = conditions(connection)
        contenders = _Stage(at, door, items).contenders(latencies)
        say(f"robots: {items:,} items, {rounds} rounds of {len(contenders)} runs")
        named = {f"{latency} ms, {name}": run for (latency, name), run in contenders.items()}
        found = alternate("", "items/s", named, rounds)
    measured = {
        key: replace(one, what=f"portal of {key[0]} ms", contender=key[1])
        for key, one in zip(contenders, found.values(), strict=True)
    }
    return Report("robots", where, list(measured.values()), list(_claims(measured)), _notes(measured))


def _claims(found: dict[_Key, Measured]) -> Iterator[Claim]:
    for latency in dict.fromkeys(latency for latency, _ in found):
        rate = {name: found[latency, name].median for name in (ONE, TWO, LIMIT, PLAIN)}
        yield Claim(f"{latency} ms: 2 workers ÷ 1", rate[TWO] / rate[ONE])
        yield Claim(f"{latency} ms: 1 worker ÷ the calls alone", rate[ONE] / rate[LIMIT])
        yield Claim(f"{latency} ms: 1 worker ÷ plain", rate[ONE] / rate[PLAIN])


def _notes(found: dict[_Key, Measured]) -> list[str]:
    def milliseconds(key: _Key) -> float:
        return 1000 / found[key].median

    overhead = "; ".join(
        f"portal of {latency} ms, {name}: {milliseconds((latency, name)) - milliseconds((latency, LIMIT)):.2f} ms"
        for latency, name in found
        if name != LIMIT
    )
    return [
        f"overhead per item, compared with the calls alone: {overhead}",
        (
            "from the call of create_robot_job() until the job is completed, with running idle workers; then the "
            "items, the orders, the ledger and the portal's record are compared"
        ),
        (
            f"the account allows {SESSIONS} concurrent calls; portal, workers, server and measurement share the cores, "
            "so a second worker helps only if the first waits for the portal"
        ),
        (
            f"plain Procrastinate: one worker, concurrency {SESSIONS}, one task per item that calls, then counts in a "
            "transaction; it checks no carrier or city, does not record begun calls and would call again after a crash"
        ),
        "the calls alone: the same client and number of concurrent calls, no database",
    ]
