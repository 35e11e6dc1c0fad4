"""From what was said about robot jobs to their state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row

from app.context import Connection, Moment
from app.engine.batches import counters
from app.errors import GuiltyEvents
from app.logistics import rules, store
from app.logistics.results import Result, apply_results
from app.logistics.store import ROBOT_JOBS
from events import Event
from events.robot import ItemCompleted, ItemRequested, JobSubmitted

_ITEMS_A_PAGE = 5_000

_OWNERS = "SELECT id, workspace_id, status FROM logistics.robot_jobs WHERE id = ANY(%s)"


def job_submitted(moment: Moment, submitted: list[Event[JobSubmitted]]) -> Iterator[Event[ItemRequested]]:
    """Jobs begin: one `robot/item.requested` for each item that is waiting, or that the event names."""
    connection = moment.connection
    counters.lock(connection, ROBOT_JOBS, sorted({event.data.job_id for event in submitted}))
    _begin(moment, _statuses(connection, submitted))
    for event in submitted:
        job = event.data
        for item_id, order_id, attempt in store.pending_items(connection, job.job_id, job.attempt_items, _ITEMS_A_PAGE):
            asked = ItemRequested(
                job_id=job.job_id, item_id=item_id, order_id=order_id, carrier=job.carrier, attempt=attempt
            )
            yield event.follow(asked, moment.now, event_id=rules.request_id(item_id, attempt))


def lock_jobs(connection: Connection, events: Sequence[Event[Any]]) -> None:
    """Lock the jobs that a batch is about, of all its types at once: jobs by id is the lock order of the program."""
    ids = {job_id for event in events if (job_id := job_of(event)) is not None}
    counters.lock(connection, ROBOT_JOBS, sorted(ids))


def job_of(event: Event[Any]) -> UUID | None:
    """The job that an event's handler locks, if it locks one."""
    return event.data.job_id if isinstance(event.data, JobSubmitted | ItemCompleted) else None


def item_of(event: Event[Any]) -> UUID | None:
    """The item that is locked for an event: to count its result, or to begin it."""
    return event.data.item_id if isinstance(event.data, ItemCompleted | ItemRequested) else None


def orders_of(connection: Connection, events: Sequence[Event[Any]]) -> dict[UUID, UUID]:
    """The orders that results ship, by the event's id."""
    shipped = {
        event.id: event.data.item_id
        for event in events
        if isinstance(event.data, ItemCompleted) and event.data.status == "success"
    }
    items = store.item_states(connection, list(shipped.values()))
    return {event_id: items[item_id].order_id for event_id, item_id in shipped.items() if item_id in items}


def item_completed(moment: Moment, completed: list[Event[ItemCompleted]]) -> Iterable[Event[object]]:  # type: ignore[type-var]
    """Results are counted: item, counters, order, and the completion of the job."""
    without = {event.id: "tenantid: a result must say whose it is" for event in completed if event.tenantid is None}
    if without:
        raise GuiltyEvents(without)
    results = [Result(event.tenantid, event.data, event) for event in completed if event.tenantid]
    return apply_results(moment, results).follow


def noted(_moment: Moment, _events: list[Event[object]]) -> Iterable[Event[object]]:  # type: ignore[type-var]
    """Record-only events: the ledger keeps them, and no handler reacts to them."""
    return ()


def _statuses(connection: Connection, submitted: list[Event[JobSubmitted]]) -> dict[UUID, str]:
    ids = [event.data.job_id for event in submitted]
    rows = {row["id"]: row for row in connection.cursor(row_factory=dict_row).execute(_OWNERS, [ids])}
    strangers = {
        event.id: f"job {event.data.job_id} is not of this workspace"
        for event in submitted
        if event.data.job_id not in rows or rows[event.data.job_id]["workspace_id"] != event.tenantid
    }
    if strangers:
        raise GuiltyEvents(strangers)
    return {job_id: row["status"] for job_id, row in rows.items()}


def _begin(moment: Moment, statuses: dict[UUID, str]) -> None:
    waiting = [job_id for job_id, status in statuses.items() if status == "pending"]
    if waiting:
        store.set_status(moment.connection, waiting, "processing")
