"""Fence: what a worker says about a delivery counts only while the delivery is still its own.

Stock Procrastinate matches on the row's id and status alone, so a worker that was taken for dead and comes back would
finish, or put back, the delivery of the worker that has the row now. Here finish and retry match the row's attempts and
worker too; no matching row is no error. Consumers delete their own row in the transaction that applies its events, so
for them a finish usually finds nothing and writes nothing.

Here is also where a worker takes nothing from a paused queue, says who it is, and shares its deliveries out.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import LiteralString

import structlog
from procrastinate import connector as connectors
from procrastinate import exceptions, jobs, manager

from app.engine.domain import wiring
from app.engine.queue import delayed, fetch, pauses, workers
from app.engine.queue.fair_share import FairShare, RunningDelivery
from app.engine.queue.fetch import OWN_TASKS

log = structlog.get_logger(__name__)

_DELETE = """
DELETE FROM public.procrastinate_jobs
 WHERE id = %(id)s AND status = 'doing' AND attempts = %(attempts)s AND worker_id IS NOT DISTINCT FROM %(worker_id)s
RETURNING id
"""
_FAIL = """
UPDATE public.procrastinate_jobs SET status = 'failed', attempts = attempts + 1, abort_requested = false
 WHERE id = %(id)s AND status = 'doing' AND attempts = %(attempts)s AND worker_id IS NOT DISTINCT FROM %(worker_id)s
RETURNING id
"""
_AGAIN = """
UPDATE public.procrastinate_jobs
   SET status = 'todo', attempts = attempts + 1, scheduled_at = %(at)s, abort_requested = false, worker_id = NULL,
       queueing_lock = NULL -- another row with this lock may be waiting already
 WHERE id = %(id)s AND status = 'doing' AND attempts = %(attempts)s AND worker_id IS NOT DISTINCT FROM %(worker_id)s
RETURNING id
"""

CANNOT_RECORD = 70
"""Exit status of a worker that cannot say how a delivery ended: better dead, and rescued, than deaf."""
_TRIES = 5
_PAUSES_ARE_FRESH = 0.5
"""Seconds for which the paused queues need not be looked up again."""
_LOOK_AT_LEAST, _LOOK_AT_MOST = 0.5, 0.05
"""Seconds between two looks for what waits while all deliveries are taken: at most, and when rows come, at least."""


class FencedManager(manager.JobManager):
    """Procrastinate's manager, with the lease of a delivery in every statement that ends one."""

    is_stopping = False
    """Set when the worker has been told to stop: it then waits for nobody, others will rescue what it cannot say."""
    session_key: int | None = None
    """The advisory lock that this process holds while it lives (`liveness`)."""
    by_share = True
    """Whether effects are fetched by share. False only in the benchmark that measures the difference."""
    on_delayed: Callable[[], None] = staticmethod(lambda: None)
    """What to do when a row that is due soon has come to wait outside the queue."""
    _paused: frozenset[str] = frozenset()
    _looked_at: float = -math.inf

    def __init__(self, connector: connectors.BaseConnector) -> None:
        super().__init__(connector)
        self.fair_shares: dict[int, FairShare] = {}
        """The deliveries of each worker of this process, by its id."""

    async def register_worker(self) -> int:
        """Register a worker under the name and with the queues that it was introduced with; returns its id."""
        self._looked_at = -math.inf
        row = await self.connector.execute_query_one_async(
            query=workers.REGISTER, **workers.introduced(self.session_key)
        )
        worker_id = int(row["worker_id"])
        if (fair_share := workers.fair_share_of_introduced()) is not None:
            self.fair_shares[worker_id] = fair_share
        return worker_id

    async def listen_for_jobs(
        self, *, on_notification: manager.NotificationCallback, queues: Iterable[str] | None = None
    ) -> None:
        """Listen for new rows, and call `on_delayed` for those that wait outside the queue."""

        async def notified(*, channel: str, notification: jobs.Notification) -> None:
            if str(notification["type"]) == delayed.NOTIFICATION:
                self.on_delayed()
            else:
                await on_notification(channel=channel, notification=notification)

        await super().listen_for_jobs(on_notification=notified, queues=queues)

    async def prune_stalled_workers(self, seconds_since_heartbeat: float) -> list[int]:
        """Unregister this program's workers without a heartbeat for so long; returns their ids."""
        rows = await self.connector.execute_query_all_async(
            query=workers.PRUNE_STALLED, seconds=seconds_since_heartbeat
        )
        return [row["worker_id"] for row in rows]

    async def unregister_worker(self, worker_id: int) -> None:
        """Forget a worker that has stopped."""
        self.fair_shares.pop(worker_id, None)
        await super().unregister_worker(worker_id)
        await self.connector.execute_query_async(query=workers.FORGET, worker_id=worker_id)

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> jobs.Job | None:
        """Take a row of `queues` (None: all of this program) that is not of a paused queue; None when there is none.

        Other programs may keep their jobs in the same table: a worker that serves all queues leaves theirs alone.
        """
        paused = await self._paused_queues()
        wanted = list(wiring().queues() if queues is None else queues)
        if not paused:
            return await self._fetch(wanted, worker_id)
        left = [queue for queue in wanted if queue not in paused]
        job = await self._fetch(left, worker_id) if left else None
        if job is None:
            # The worker now sleeps. What wakes it may be that a queue was resumed: it must see that at once.
            self._looked_at = -math.inf
        return job

    async def _fetch(self, queues: Iterable[str] | None, worker_id: int) -> jobs.Job | None:
        wanted = None if queues is None else list(queues)
        return await fetch.fetch(
            self.connector, wanted, worker_id, self.fair_shares.get(worker_id) if self.by_share else None
        )

    def running_delivery(self, worker_id: int | None, row_id: int) -> RunningDelivery | None:
        """The running delivery of a row of effects in this process; None if there is none."""
        fair_share = self.fair_shares.get(worker_id or 0)
        return fair_share.of(row_id) if fair_share else None

    async def watch(self, fair_share: FairShare, queues: Sequence[str] | None) -> None:
        """Let deliveries make room for what waits, for as long as a worker works."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(fair_share.rows_arrived.wait(), _LOOK_AT_LEAST)
            fair_share.rows_arrived.clear()
            if fair_share.is_full:
                try:
                    await fetch.make_room(self.connector, queues, fair_share)
                except exceptions.ConnectorException as error:
                    log.warning("cannot see who waits", why=" ".join(str(error.__cause__ or error).split()))
            await asyncio.sleep(_LOOK_AT_MOST)

    async def _paused_queues(self) -> frozenset[str]:
        now = time.monotonic()
        if now - self._looked_at > _PAUSES_ARE_FRESH:
            rows = await self.connector.execute_query_all_async(query=pauses.PAUSED_NAMES)
            self._paused, self._looked_at = frozenset(row["queue_name"] for row in rows), now
        return self._paused

    async def finish_job(self, job: jobs.Job, status: jobs.Status, delete_job: bool) -> None:  # noqa: ARG002, FBT001 - Procrastinate's interface
        """Succeeded rows go, failed ones stay for the sweep, and those of a worker that had to stop wait again."""
        self._ended(job)
        match status:
            case jobs.Status.SUCCEEDED if job.task_name in OWN_TASKS:
                # They take their own row out of the queue with what it holds. One that is left was not done.
                if await self._run_statement(_AGAIN, job):
                    log.error("a delivery ended without an end; it waits again", row=job.id, task=job.task_name)
            case jobs.Status.SUCCEEDED:
                await self._run_statement(_DELETE, job)
            case jobs.Status.FAILED:
                await self._run_statement(_FAIL, job)
            case _:
                await self._run_statement(_AGAIN, job)

    async def retry_job(
        self,
        job: jobs.Job,
        retry_at: datetime | None = None,
        priority: int | None = None,  # noqa: ARG002 - Procrastinate's interface
        queue: str | None = None,  # noqa: ARG002 - Procrastinate's interface
        lock: str | None = None,  # noqa: ARG002 - Procrastinate's interface
    ) -> None:
        """Wait again, from `retry_at` on."""
        self._ended(job)
        await self._run_statement(_AGAIN, job, at=retry_at)

    def _ended(self, job: jobs.Job) -> None:
        if (fair_share := self.fair_shares.get(job.worker_id or 0)) is not None and job.id is not None:
            fair_share.end(job.id)

    async def _run_statement(self, statement: LiteralString, job: jobs.Job, at: datetime | None = None) -> bool:
        """Run a statement about a delivery; whether the delivery was still its own."""
        parameters = {"id": job.id, "attempts": job.attempts, "worker_id": job.worker_id, "at": at}
        for attempt in range(1 if self.is_stopping else _TRIES):
            try:
                return bool(await self.connector.execute_query_all_async(query=statement, **parameters))
            except exceptions.ConnectorException as error:
                cause = error.__cause__ or error  # Procrastinate's own words for it are "Database error."
                log.warning("cannot record how a delivery ended", row=job.id, why=" ".join(str(cause).split()))
                await asyncio.sleep(0 if self.is_stopping else 2**attempt)
        log.error("giving up: the worker exits, its deliveries will be rescued", row=job.id)
        os._exit(CANNOT_RECORD)
