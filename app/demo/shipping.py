"""The demo of a robot job: a worker is killed during it, and its failed orders are retried."""

from __future__ import annotations

import sys
import time
from typing import Any
from uuid import UUID

from app import database
from app.commands.watching import follow as follow_job
from app.context import Context
from app.demo import following, script
from app.demo.stage import Stage
from app.engine.inspect.timeline import count_events
from app.logistics.jobs import create_robot_job, get_job_with_items, retry_failed_items
from app.logistics.orders import import_orders
from app.logistics.store import ROBOT_JOBS


def act(stage: Stage, orders: int) -> UUID:
    """Ship orders, kill a worker meanwhile, and retry what failed. Returns the job's id."""
    job_id = _submit(stage, orders)
    _retry(stage, job_id)
    return job_id


def summary_of(stage: Stage, job_id: UUID) -> dict[str, Any]:
    """Return the job's part of the summary for `--json`."""
    with database.connect() as connection:
        page = get_job_with_items(Context.start(connection, stage.workspace_id), job_id, limit=1)
        completions = count_events(connection, job_id, "robot/job.completed")
    record = stage.portal.record()
    job = page.job
    return {
        "job_id": str(job.id),
        "status": job.status,
        "total_items": job.total_items,
        "success_count": job.success_count,
        "error_count": job.error_count,
        "by_error_type": page.errors,
        "generations": job.generation,
        "portal_accepted": record["accepted"],
        "portal_duplicates": len(record["duplicates"]),
        "job_completed_events": completions,
    }


def _submit(stage: Stage, wanted: int) -> UUID:
    """Submit a job, kill a worker, and watch the job until it has ended. Returns the job's id."""
    began = time.monotonic()
    with database.connect() as connection:
        context = Context.start(connection, stage.workspace_id)
        order_ids = import_orders(context, script.orders(wanted)).order_ids
        job = create_robot_job(context, order_ids, carrier=script.CARRIER, idempotency_key=f"demo-{stage.workspace_id}")
    stage.say(f"Submitted {wanted} orders as job {job.id} in {time.monotonic() - began:.1f} s\n")
    _watch(stage, job.id, kill_at=wanted // 2)
    return job.id


def _retry(stage: Stage, job_id: UUID) -> None:
    """Fix the coverage and the portal, and retry the failed items that can succeed now."""
    with following.serving(stage.workspace_id, stage.say) as follow, database.connect() as connection:
        stage.portal.change(**script.mend(connection))
        items = script.retriable(connection, job_id)
        if not items:
            return
        retry_failed_items(Context.start(connection, stage.workspace_id), job_id, items)
        connection.commit()
        stage.say(
            f"\nThe carrier now serves Mitú and its portal is fixed: retrying {len(items)} failed orders"
            " (not those that the carrier refused)"
        )
        follow(job_id)
    _watch(stage, job_id)


def _watch(stage: Stage, job_id: UUID, *, kill_at: int | None = None) -> None:
    shown = 0.0
    for progress in follow_job(ROBOT_JOBS, stage.workspace_id, job_id):
        if kill_at is not None and progress.done >= kill_at and not progress.is_over:
            kill_at = None
            killed, started = stage.worker_pool.kill_one(), stage.worker_pool.start()
            stage.say(f"  killed worker {killed} (SIGKILL) in the middle of its calls, started {started}")
        if progress.is_over or time.monotonic() - shown >= 1:
            shown = time.monotonic()
            stage.say(f"  {progress.line()}")
            sys.stdout.flush()
