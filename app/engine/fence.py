"""Fence: what a worker says about a delivery counts only while the delivery is still its own.

Stock Procrastinate matches on the row's id and status alone, so a worker that was taken for dead and comes back would
finish, or put back, the delivery of whoever has the row now. Here finish and retry match the row's attempts and
worker too; no matching row is no error. Consumers delete their own row in the transaction that applies its events, so
for them a finish usually finds nothing and writes nothing.
"""

from __future__ import annotations

import asyncio
import os
from datetime import datetime
from typing import LiteralString

import structlog
from procrastinate import exceptions, jobs, manager

log = structlog.get_logger(__name__)

_DELETE = """
DELETE FROM public.procrastinate_jobs
 WHERE id = %(id)s AND status = 'doing' AND attempts = %(attempts)s AND worker_id IS NOT DISTINCT FROM %(worker_id)s
"""
_FAIL = """
UPDATE public.procrastinate_jobs SET status = 'failed', attempts = attempts + 1, abort_requested = false
 WHERE id = %(id)s AND status = 'doing' AND attempts = %(attempts)s AND worker_id IS NOT DISTINCT FROM %(worker_id)s
"""
_AGAIN = """
UPDATE public.procrastinate_jobs
   SET status = 'todo', attempts = attempts + 1, scheduled_at = %(at)s, abort_requested = false, worker_id = NULL
 WHERE id = %(id)s AND status = 'doing' AND attempts = %(attempts)s AND worker_id IS NOT DISTINCT FROM %(worker_id)s
"""

CANNOT_RECORD = 70
"""Exit status of a worker that cannot say how a delivery ended: better dead, and rescued, than deaf."""
_TRIES = 5


class FencedManager(manager.JobManager):
    """Procrastinate's manager, with the lease of a delivery in every statement that ends one."""

    async def finish_job(self, job: jobs.Job, status: jobs.Status, delete_job: bool) -> None:  # noqa: ARG002, FBT001 - Procrastinate's interface
        """Succeeded rows go, failed ones stay for the sweep, and those of a worker that had to stop wait again."""
        match status:
            case jobs.Status.SUCCEEDED:
                await self._say(_DELETE, job)
            case jobs.Status.FAILED:
                await self._say(_FAIL, job)
            case _:
                await self._say(_AGAIN, job)

    async def retry_job(
        self,
        job: jobs.Job,
        retry_at: datetime | None = None,
        priority: int | None = None,  # noqa: ARG002 - Procrastinate's interface
        queue: str | None = None,  # noqa: ARG002 - Procrastinate's interface
        lock: str | None = None,  # noqa: ARG002 - Procrastinate's interface
    ) -> None:
        """Wait again, from `retry_at` on."""
        await self._say(_AGAIN, job, at=retry_at)

    async def _say(self, statement: LiteralString, job: jobs.Job, at: datetime | None = None) -> None:
        parameters = {"id": job.id, "attempts": job.attempts, "worker_id": job.worker_id, "at": at}
        for attempt in range(_TRIES):
            try:
                await self.connector.execute_query_async(query=statement, **parameters)
            except exceptions.ConnectorException as error:
                log.warning("cannot record how a delivery ended", row=job.id, why=str(error))
                await asyncio.sleep(2**attempt)
            else:
                return
        log.error("giving up: the worker exits, its deliveries will be rescued", row=job.id)
        os._exit(CANNOT_RECORD)
