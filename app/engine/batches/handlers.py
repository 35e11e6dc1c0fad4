"""Handlers of a batch's events: request a submitted job's items, count results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

from app.context import Connection, HandlerContext
from app.engine.batches import counters, rules, store
from app.engine.batches.results import Result, apply
from app.engine.batches.tables import Batch
from app.errors import FailingEvents
from events import Event

_ITEMS_A_PAGE = 5_000


def job_submitted(
    context: HandlerContext, batch: Batch[Any, Any], submitted: Sequence[Event[Any]]
) -> Iterator[Event[Any]]:
    """Begin jobs: yield a request for each pending item, or for each pending item that the event names.

    Raises `FailingEvents` for a job that does not exist or belongs to another tenant.
    """
    connection = context.connection
    counters.lock(connection, batch, sorted({batch.job_of(event.data) for event in submitted}))
    _begin(connection, batch, submitted)
    kind, item_id_field = batch.requested, batch.item_id
    about = [(name, n) for n, name in enumerate(batch.about, 2) if name in kind.model_fields]
    for event in submitted:
        job_id = batch.job_of(event.data)
        shared = kind.model_fields.keys() & type(event.data).model_fields.keys()
        values = {name: getattr(event.data, name) for name in shared}
        only = getattr(event.data, "attempt_items", None)
        for row in store.pending_items(connection, batch, job_id, only, _ITEMS_A_PAGE):
            item_id, attempt = row[:2]
            values[item_id_field], values["attempt"] = item_id, attempt
            for name, n in about:
                values[name] = row[n]
            yield event.follow(kind(**values), context.now, event_id=rules.request_id(kind, item_id, attempt))


def item_completed(
    context: HandlerContext, batch: Batch[Any, Any], completed: Sequence[Event[Any]]
) -> Iterable[Event[Any]]:
    """Record results: update items and counters, and complete jobs. Returns the events to publish.

    Raises `FailingEvents` for results without a tenant or with a wrong job or tenant.
    """
    without = {event.id: "tenantid: a result must say whose it is" for event in completed if event.tenantid is None}
    if without:
        raise FailingEvents(without)
    results = [Result(event.tenantid, event.data, event) for event in completed if event.tenantid]
    return apply(context, batch, results).follow


def ignore(_context: HandlerContext, _events: Sequence[Event[Any]]) -> Iterable[Event[Any]]:
    """Do nothing: the events are only recorded in the ledger, for the timeline."""
    return ()


def lock_jobs(connection: Connection, batch: Batch[Any, Any], events: Sequence[Event[Any]]) -> None:
    """Lock the jobs of events of several types in one order. Handlers lock jobs by id before all other rows."""
    ids = {job_id for event in events if (job_id := job_of(batch, event)) is not None}
    counters.lock(connection, batch, sorted(ids))


def job_of(batch: Batch[Any, Any], event: Event[Any]) -> UUID | None:
    """Return the id of the job that an event's handler locks; None if it locks none."""
    return batch.job_of(event.data) if type(event.data) in {batch.submitted, batch.completed} else None


def item_of(batch: Batch[Any, Any], event: Event[Any]) -> UUID | None:
    """Return the id of the item that is locked to record the event's result or to begin its call, or None."""
    return batch.item_of(event.data) if type(event.data) in {batch.completed, batch.requested} else None


def _begin(connection: Connection, batch: Batch[Any, Any], submitted: Sequence[Event[Any]]) -> None:
    found = store.owners(connection, batch, [batch.job_of(event.data) for event in submitted])
    foreign = {
        event.id: f"job {batch.job_of(event.data)} is not of this {batch.owner}"
        for event in submitted
        if found.get(batch.job_of(event.data), (None, ""))[0] != event.tenantid or event.tenantid is None
    }
    if foreign:
        raise FailingEvents(foreign)
    pending = [job_id for job_id, (_, status) in found.items() if status == "pending"]
    if pending:
        store.set_status(connection, batch, pending, "processing")
