"""The outside world of `bench fairness`, its effects, and the program's app with both."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from psycopg import sql

import events
from app.context import HandlerContext
from app.engine.domain import Call, Effect, Prepared, Wiring, use
from app.engine.worker.app import app, fresh_connector
from app.logistics.effects import ROBOTS_QUEUE
from events import Event, Payload, new_id
from events.robot import ItemCompleted, ItemRequested

CONCURRENCY = 4
PATIENCE_S = 60.0

EMPTY = sql.SQL(
    "TRUNCATE engine.event_log, engine.failed_jobs, engine.calls, engine.slots, engine.parked, engine.delayed,"
    " public.procrastinate_jobs RESTART IDENTITY CASCADE"
)


@dataclass
class Portal:
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


async def serve() -> None:
    """Run a worker of the portal's queue inside `app_open()` until it is cancelled."""
    await app.serve(queues=[ROBOTS_QUEUE], concurrency=CONCURRENCY, install_signal_handlers=False)


@asynccontextmanager
async def app_open(portal: Portal, *, by_share: bool) -> AsyncIterator[None]:
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
        del app.job_manager.by_share  # the class's own value counts again


def requests(tenant: UUID, count: int) -> list[Event[ItemRequested]]:
    """Return `count` new effects of a tenant."""
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
