"""The fenced job manager: the end of a delivery is recorded only while its lease is held; paused queues are skipped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from procrastinate import jobs

from app.context import Connection
from app.engine.queue import pauses, workers
from app.engine.queue.fair_share import FairShare
from app.engine.queue.job_manager import FencedManager
from app.engine.queue.publish import publish
from app.engine.worker.app import fresh_connector
from tests.helpers.support import scalar
from tests.helpers.toy import Outside, say, want

_ROWS = "SELECT id, status::text, attempts, worker_id FROM public.procrastinate_jobs ORDER BY id"
_FOREIGN = "INSERT INTO public.procrastinate_jobs (queue_name, task_name, args) VALUES ('other', 'mail', '{}')"


@pytest.fixture
async def manager(outside: Outside) -> AsyncIterator[FencedManager]:
    """A job manager with connections of its own."""
    connector = fresh_connector()
    await connector.open_async()
    yield FencedManager(connector)
    await connector.close_async()


async def fetched(manager: FencedManager, queues: list[str] | None = None) -> jobs.Job:
    """Register a worker and fetch a row."""
    job = await manager.fetch_job(queues, await manager.register_worker())
    assert job is not None
    return job


def rows(connection: Connection) -> list[Any]:
    """Return id, status, attempts and worker of each queue row."""
    return connection.execute(_ROWS).fetchall()


async def end(manager: FencedManager, job: jobs.Job, how: str) -> None:
    """End a delivery."""
    if how == "retried":
        await manager.retry_job(job)
    else:
        status = {"failed": jobs.Status.FAILED, "stopped": jobs.Status.ABORTED}.get(how, jobs.Status.SUCCEEDED)
        await manager.finish_job(job, status, delete_job=False)


@pytest.mark.parametrize("how", ["succeeded", "failed", "retried", "stopped"])
@pytest.mark.parametrize("change", ["attempts = attempts + 1", "worker_id = NULL", "status = 'todo'"])
async def test_a_delivery_without_its_lease_changes_nothing(
    manager: FencedManager, connection: Connection, how: str, change: str
) -> None:
    """The row was rescued, or another worker has it."""
    publish(connection, say("word"))
    job = await fetched(manager)
    connection.execute(f"UPDATE public.procrastinate_jobs SET {change}")  # noqa: S608
    before = rows(connection)
    await end(manager, job, how)
    assert rows(connection) == before


@pytest.mark.parametrize(("how", "status"), [("failed", "failed"), ("retried", "todo"), ("stopped", "todo")])
async def test_the_end_of_a_delivery_is_recorded(
    manager: FencedManager, connection: Connection, how: str, status: str
) -> None:
    """A failed row is kept; a row that is put back belongs to no worker. Both count the attempt."""
    publish(connection, say("word"))
    job = await fetched(manager)
    await end(manager, job, how)
    ((row_id, now, attempts, worker_id),) = rows(connection)
    assert (row_id, now, attempts) == (job.id, status, 1)
    assert worker_id == (job.worker_id if how == "failed" else None)


async def test_nothing_is_recorded_about_a_row_that_its_own_transaction_removed(
    manager: FencedManager, connection: Connection
) -> None:
    """Once: a later delivery of a row with the same id is recorded."""
    publish(connection, say("word"))
    job = await fetched(manager)
    before = rows(connection)
    manager.removed.add(before[0][0])
    await end(manager, job, "succeeded")
    assert (rows(connection), manager.removed) == (before, set())
    await end(manager, job, "succeeded")
    assert rows(connection)[0][1:3] == ("todo", 1)


async def test_a_retry_can_be_due_later(manager: FencedManager, connection: Connection) -> None:
    """At the time that is given."""
    publish(connection, say("word"))
    at = datetime.now(UTC) + timedelta(hours=1)
    await manager.retry_job(await fetched(manager), retry_at=at)
    assert scalar(connection, "SELECT scheduled_at FROM public.procrastinate_jobs") == at


async def test_a_succeeded_row_is_removed_unless_its_events_are_left(
    manager: FencedManager, connection: Connection
) -> None:
    """Our tasks remove their row with its events: a row that is left was not delivered, and waits again."""
    publish(connection, say("word"))
    job = await fetched(manager)
    await end(manager, job, "succeeded")
    assert [(status, attempts) for _, status, attempts, _ in rows(connection)] == [("todo", 1)]
    connection.execute("UPDATE public.procrastinate_jobs SET task_name = 'mail'")
    job = await fetched(manager, ["events"])
    await end(manager, job, "succeeded")
    assert rows(connection) == []


async def test_a_paused_queue_is_not_fetched_from(manager: FencedManager, connection: Connection) -> None:
    """The others are, and the queue is again as soon as it is resumed."""
    publish(connection, say("word"))
    worker_id = await manager.register_worker()
    pauses.pause(connection, "events", actor="ana", reason="upgrade")
    assert await manager.fetch_job(["events"], worker_id) is None
    publish(connection, want("call"))
    job = await manager.fetch_job(None, worker_id)
    assert job is not None
    assert job.queue == "toys"
    assert await manager.fetch_job(None, worker_id) is None
    pauses.resume(connection, "events", actor="ana")
    job = await manager.fetch_job(None, worker_id)
    assert job is not None
    assert job.queue == "events"


async def test_a_worker_of_all_queues_leaves_those_of_other_programs(
    manager: FencedManager, connection: Connection
) -> None:
    """They may be in the same table. A worker that names such a queue gets its rows."""
    connection.execute(_FOREIGN)
    worker_id = await manager.register_worker()
    assert await manager.fetch_job(None, worker_id) is None
    job = await manager.fetch_job(["other"], worker_id)
    assert job is not None
    assert job.task_name == "mail"


async def test_the_running_deliveries_of_effects_are_known(manager: FencedManager, connection: Connection) -> None:
    """From the fetch to the end, for a worker that was introduced with a fair share."""
    fair_share = FairShare(4)
    workers.introduce("effects", ["toys"], fair_share)
    worker_id = await manager.register_worker()
    publish(connection, want("call"))
    job = await manager.fetch_job(["toys"], worker_id)
    assert job is not None
    assert job.id is not None
    delivery = manager.running_delivery(worker_id, job.id)
    assert fair_share.in_hand == [delivery]
    assert manager.running_delivery(worker_id + 1, job.id) is None
    await manager.retry_job(job)
    assert manager.running_delivery(worker_id, job.id) is None
    await manager.unregister_worker(worker_id)
    assert manager.fair_shares == {}
    assert scalar(connection, "SELECT count(*) FROM engine.workers") == 0


async def test_only_this_programs_workers_are_unregistered(manager: FencedManager, connection: Connection) -> None:
    """A worker of another program in the same table may have other limits."""
    ours = await manager.register_worker()
    connection.execute("SELECT procrastinate_register_worker_v1()")
    connection.execute("UPDATE public.procrastinate_workers SET last_heartbeat = now() - interval '1 hour'")
    assert await manager.prune_stalled_workers(7200) == []
    assert await manager.prune_stalled_workers(60) == [ours]
    assert scalar(connection, "SELECT count(*) FROM public.procrastinate_workers") == 1
