"""Fenced job manager: a worker records the end of a delivery only while it holds the delivery's lease.

Stock Procrastinate matches the row's id and status alone. A worker that was declared dead and returns would finish, or
put back, the delivery of the worker that has the row now. Here finish and retry also match the row's attempts and
worker; no matching row is no error. Consumers delete their own row in the transaction that applies its events, so
finishing such a row usually changes nothing.

The manager also skips paused queues, registers the worker's identity and applies fair shares at a fetch.
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
"""Exit status of a worker that cannot record the end of a delivery.

Other workers rescue the deliveries of a dead worker, not those of one that keeps running.
"""
_TRIES = 5
_PAUSES_ARE_FRESH = 0.5
"""Seconds for which a read of the paused queues is valid."""
_LOOK_AT_LEAST, _LOOK_AT_MOST = 0.5, 0.05
"""Longest and shortest pause, in seconds, between two checks for waiting rows while the worker is at capacity.

New rows end the longest pause early.
"""


class FencedManager(manager.JobManager):
    """Procrastinate's job manager, with the lease of a delivery in every statement that ends one."""

    is_stopping = False
    """Set when the worker was asked to stop.

    It then tries each write once: other workers rescue what is not recorded.
    """
    session_key: int | None = None
    """Key of the advisory lock that this process holds while it runs (`liveness`)."""
    by_share = True
    """Whether effects are fetched by share. False only in the benchmark that measures the difference."""
    on_delayed: Callable[[], None] = staticmethod(lambda: None)
    """Called when a row with a short delay was committed outside the queue."""
    _paused: frozenset[str] = frozenset()
    _looked_at: float = -math.inf

    def __init__(self, connector: connectors.BaseConnector) -> None:
        super().__init__(connector)
        self.fair_shares: dict[int, FairShare] = {}
        """The running deliveries of each worker of this process, by worker id."""
        self.removed: set[int] = set()
        """Ids of rows in delivery that their own transaction has removed: nothing is left to record about their end."""

    async def register_worker(self) -> int:
        """Register the worker of this task's `Introduction`, with its name and queues. Returns its id."""
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
        """Listen for new rows in the queue, and call `on_delayed` for delayed rows."""

        async def notified(*, channel: str, notification: jobs.Notification) -> None:
            if str(notification["type"]) == delayed.NOTIFICATION:
                self.on_delayed()
            else:
                await on_notification(channel=channel, notification=notification)

        await super().listen_for_jobs(on_notification=notified, queues=queues)

    async def prune_stalled_workers(self, seconds_since_heartbeat: float) -> list[int]:
        """Unregister this program's workers without a heartbeat for `seconds_since_heartbeat`. Returns their ids."""
        rows = await self.connector.execute_query_all_async(
            query=workers.PRUNE_STALLED, seconds=seconds_since_heartbeat
        )
        return [row["worker_id"] for row in rows]

    async def unregister_worker(self, worker_id: int) -> None:
        """Delete the registration of a stopped worker."""
        self.fair_shares.pop(worker_id, None)
        await super().unregister_worker(worker_id)
        await self.connector.execute_query_async(query=workers.FORGET, worker_id=worker_id)

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> jobs.Job | None:
        """Fetch a row of `queues` (None: all queues of this program) that is not paused; None if there is none.

        Other programs may keep their jobs in the same table. A worker that serves all queues does not fetch those.
        """
        paused = await self._paused_queues()
        wanted = list(wiring().queues() if queues is None else queues)
        if not paused:
            return await self._fetch(wanted, worker_id)
        left = [queue for queue in wanted if queue not in paused]
        job = await self._fetch(left, worker_id) if left else None
        if job is None:
            # The worker sleeps next. If a resumed queue wakes it, it must read the paused queues again at once.
            self._looked_at = -math.inf
        return job

    async def _fetch(self, queues: Iterable[str] | None, worker_id: int) -> jobs.Job | None:
        wanted = None if queues is None else list(queues)
        return await fetch.fetch(
            self.connector, wanted, worker_id, self.fair_shares.get(worker_id) if self.by_share else None
        )

    def running_delivery(self, worker_id: int | None, row_id: int) -> RunningDelivery | None:
        """Return the running delivery of a row of effects in this process; None if there is none."""
        fair_share = self.fair_shares.get(worker_id or 0)
        return fair_share.of(row_id) if fair_share else None

    async def watch(self, fair_share: FairShare, queues: Sequence[str] | None) -> None:
        """Ask deliveries to yield to waiting rows, until cancelled."""
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
        """Remove a succeeded row, keep a failed one for the sweep, requeue a row of a stopping worker."""
        self._ended(job)
        if job.id in self.removed:
            self.removed.discard(job.id)
            return
        match status:
            case jobs.Status.SUCCEEDED if job.task_name in OWN_TASKS:
                # A task of ours removes its own row together with its events. A row that is left was not delivered.
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
        """Requeue the row, due at `retry_at` (None: now)."""
        self._ended(job)
        self.removed.discard(job.id or 0)
        await self._run_statement(_AGAIN, job, at=retry_at)

    def _ended(self, job: jobs.Job) -> None:
        if (fair_share := self.fair_shares.get(job.worker_id or 0)) is not None and job.id is not None:
            fair_share.end(job.id)

    async def _run_statement(self, statement: LiteralString, job: jobs.Job, at: datetime | None = None) -> bool:
        """Run a statement about a delivery. Returns whether the lease was still held."""
        parameters = {"id": job.id, "attempts": job.attempts, "worker_id": job.worker_id, "at": at}
        for attempt in range(1 if self.is_stopping else _TRIES):
            try:
                return bool(await self.connector.execute_query_all_async(query=statement, **parameters))
            except exceptions.ConnectorException as error:
                cause = error.__cause__ or error  # Procrastinate's message is only "Database error."
                log.warning("cannot record how a delivery ended", row=job.id, why=" ".join(str(cause).split()))
                await asyncio.sleep(0 if self.is_stopping else 2**attempt)
        log.error("giving up: the worker exits, its deliveries will be rescued", row=job.id)
        os._exit(CANNOT_RECORD)
