"""Dead letters of robot jobs: what replaying each would come to, and how a dead request lives again.

A request that died left its item `processing`. Reviving it is a retry of that one item: under the same locks and
counters the item goes back to pending with its next attempt, and the request of that attempt follows from the dead one.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from app.context import Connection, Moment
from app.engine.batches import counters
from app.engine.domain import Forecast
from app.errors import NotCalled
from app.logistics import availability, carriers, rules, store, traces
from app.logistics.effects import account, portal
from app.logistics.gateway import PortalError
from app.logistics.store import ROBOT_JOBS, ItemState
from events import Event
from events.robot import ItemCompleted, ItemRequested, JobSubmitted

_CANCELLED = "SELECT id FROM logistics.orders WHERE id = ANY(%s) AND status = 'cancelled'"
_CANCELLED_JOBS = """
SELECT id, cancelled_by, cancel_reason FROM logistics.robot_jobs WHERE id = ANY(%s) AND cancelled_at IS NOT NULL
"""
_PENDING = """
SELECT i.id FROM logistics.robot_job_items i JOIN logistics.robot_jobs j ON j.id = i.job_id
 WHERE i.job_id = %s AND j.workspace_id = %s AND i.status = 'pending' AND (%s::uuid[] IS NULL OR i.id = ANY(%s))
"""


def forecast_requests(connection: Connection, requested: Sequence[Event[ItemRequested]]) -> dict[UUID, Forecast]:
    """What reviving requests would come to."""
    items = store.item_states(connection, [event.data.item_id for event in requested])
    configs = carriers.portal_configs(
        connection, sorted({(event.tenantid, event.data.carrier) for event in requested if event.tenantid})
    )
    found: dict[UUID, Forecast] = {}
    cancelled = _cancelled(connection, [event.data.order_id for event in requested])
    cancelled_jobs = _cancelled_jobs(connection, [event.data.job_id for event in requested])
    for event in requested:
        item, asked = items.get(event.data.item_id), event.data
        config = configs.get((event.tenantid, asked.carrier)) if event.tenantid else None
        if item is None or not _can_be_revived(item, event):
            found[event.id] = Forecast(idle="overtaken: the item has a result, or a later attempt, or is gone")
        elif asked.job_id in cancelled_jobs:
            found[event.id] = Forecast(blocked=f"job {asked.job_id} is {cancelled_jobs[asked.job_id]}")
        elif config is None or not config.is_ready:
            found[event.id] = Forecast(blocked=f"carrier {asked.carrier} is disabled or has no credentials")
        elif asked.order_id in cancelled:
            found[event.id] = Forecast(blocked=f"order {asked.order_id} is cancelled: it would not be entered")
        else:
            found[event.id] = Forecast(frozenset({asked.item_id}), frozenset({asked.job_id}))
    return found


def forecast_results(connection: Connection, completed: Sequence[Event[ItemCompleted]]) -> dict[UUID, Forecast]:
    """What applying results would come to."""
    items = store.item_states(connection, [event.data.item_id for event in completed])
    found: dict[UUID, Forecast] = {}
    for event in completed:
        item, said = items.get(event.data.item_id), event.data
        if item is None or (item.job_id, item.workspace_id) != (said.job_id, event.tenantid):
            found[event.id] = Forecast(blocked="the item is not of that job of this workspace: it would die again")
        elif item.status not in {"pending", "processing"} or item.retry_count != said.attempt:
            found[event.id] = Forecast(idle="late: the item has a result, or waits for another attempt's")
        else:
            found[event.id] = Forecast(frozenset({item.id}), frozenset({item.job_id}))
    return found


def forecast_submissions(connection: Connection, submitted: Sequence[Event[JobSubmitted]]) -> dict[UUID, Forecast]:
    """What fanning jobs out would come to."""
    found: dict[UUID, Forecast] = {}
    for event in submitted:
        only = None if event.data.attempt_items is None else list(event.data.attempt_items)
        rows = connection.execute(_PENDING, [event.data.job_id, event.tenantid, only, only])
        items = frozenset(item_id for (item_id,) in rows)
        found[event.id] = Forecast(items) if items else Forecast(idle="no item of the job waits")
    return found


def revive(moment: Moment, requested: Sequence[Event[ItemRequested]]) -> dict[UUID, Event[ItemRequested]]:
    """Put the items of dead requests back to pending with their next attempt; the requests of it, by the dead one's id.

    Requests that were overtaken are left out. A job whose failed items are among them begins its next generation.
    """
    connection = moment.connection
    counters.lock(connection, ROBOT_JOBS, sorted({event.data.job_id for event in requested}))
    items = store.lock_items(connection, [event.data.item_id for event in requested])
    dead = [
        event
        for event in requested
        if event.data.item_id in items and _can_be_revived(items[event.data.item_id], event)
    ]
    # Two dead requests may be about one item: it is asked for again once.
    dead = list({event.data.item_id: event for event in reversed(dead)}.values())[::-1]
    availability.lock_orders_of_items(connection, [event.data.item_id for event in dead])
    store.reset_items(connection, [event.data.item_id for event in dead])
    failed: dict[UUID, tuple[int, int]] = {}
    for event in dead:
        if items[event.data.item_id].status == "error":
            failed[event.data.job_id] = (0, failed.get(event.data.job_id, (0, 0))[1] - 1)
    counters.count(connection, ROBOT_JOBS, failed)
    store.begin_generation(connection, list(failed))
    return {event.id: _next(moment, event) for event in dead}


async def ask(requested: Sequence[Event[ItemRequested]]) -> dict[UUID, str]:
    """What carriers' portals say of requests whose calls may have happened."""
    from app import database  # noqa: PLC0415 - only an admin's command asks

    keys = sorted({(event.tenantid, event.data.carrier) for event in requested if event.tenantid})
    with database.connect() as connection:
        configs = carriers.portal_configs(connection, keys)
        items = store.item_states(connection, [event.data.item_id for event in requested])
        references = {item_id: one.references for item_id, one in traces.find(connection, items.values()).items()}
    said: dict[UUID, str] = {}
    for event in requested:
        config = configs.get((event.tenantid, event.data.carrier)) if event.tenantid else None
        if config is None or not config.is_ready:
            said[event.id] = "the portal was not asked: the carrier is disabled or has no credentials"
            continue
        if event.data.item_id not in references:
            said[event.id] = "the portal was not asked: the item is gone"
            continue
        try:
            found = await portal().find(account(config), references[event.data.item_id])
        except (PortalError, NotCalled) as error:
            said[event.id] = f"the portal could not be asked: {error}"
        else:
            entered = next(iter(found.values()), None)
            said[event.id] = (
                f"the portal has it as {entered.tracking_number}: the replay records that and enters nothing"
                if entered
                else "the portal does not know it: the replay enters it"
            )
    return said


def _cancelled(connection: Connection, order_ids: Sequence[UUID]) -> set[UUID]:
    return {order_id for (order_id,) in connection.execute(_CANCELLED, [list(order_ids)])}


def _cancelled_jobs(connection: Connection, job_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Those of these jobs that are cancelled: by whom and why."""
    rows = connection.execute(_CANCELLED_JOBS, [list(job_ids)])
    return {job_id: rules.cancelled_by(actor, reason) for job_id, actor, reason in rows}


def _can_be_revived(item: ItemState, event: Event[ItemRequested]) -> bool:
    asked = event.data
    return (
        (item.job_id, item.workspace_id, item.order_id) == (asked.job_id, event.tenantid, asked.order_id)
        and item.retry_count == asked.attempt
        and item.status != "success"
    )


def _next(moment: Moment, event: Event[ItemRequested]) -> Event[ItemRequested]:
    attempt = event.data.attempt + 1
    asked = event.data.model_copy(update={"attempt": attempt})
    return event.follow(asked, moment.now, event_id=rules.request_id(asked.item_id, attempt))
