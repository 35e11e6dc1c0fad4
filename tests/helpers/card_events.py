"""Events of the card domain, and their delivery without a worker."""

from __future__ import annotations

from typing import Any

import events
from app.context import HandlerContext
from app.engine.batches import handlers, rules
from events import Event
from tests.helpers.cards import PRINTS, Card, Completed, Office, Requested

COMPLETIONS = "SELECT count(*) FROM engine.event_log WHERE type = 'test/print.completed'"


def said(office: Office, card: Card, *, attempt: int = 0, **fields: Any) -> Event[Completed]:
    """Return the event of a card's result: a success, unless `fields` has another status."""
    named: dict[str, Any] = {"job_id": card.job_id, "item_id": card.id, "status": "success", **fields}
    data = Completed(attempt=attempt, **named)
    return events.new(data, now=office.context.now, subject=data.job_id, tenant=office.workspace_id)


def failed(office: Office, card: Card, *, attempt: int = 0) -> Event[Completed]:
    """Return the event of a card's failure."""
    return said(office, card, attempt=attempt, status="error", error_type="unknown", error_message="it broke")


def deliver(office: Office, *completed: Event[Completed]) -> list[Event[Any]]:
    """Apply results in a transaction, as a delivery does. Returns the events to publish."""
    with office.connection.transaction():
        return list(handlers.item_completed(HandlerContext.begin(office.connection), PRINTS, list(completed)))


def counters(office: Office, job_id: Any) -> tuple[str, int, int]:
    """Return a job's status and its counters of succeeded and failed items."""
    job = office.job(job_id)
    return job.status, job.success_count, job.error_count


def dead(office: Office, card: Card, **fields: Any) -> Event[Requested]:
    """Return the request of a card, as a dead letter contains it."""
    values: dict[str, Any] = {"job_id": card.job_id, "paper": "matt", "address": card.address, **fields}
    data = Requested(item_id=card.id, **{"attempt": card.retry_count, **values})
    return events.new(data, now=office.context.now, subject=data.job_id, tenant=office.workspace_id)


LIVE = """
WITH doing AS (UPDATE public.procrastinate_jobs SET status = 'doing' RETURNING id)
INSERT INTO engine.calls (call_key, event_id, row_id, attempts)
SELECT %s, gen_random_uuid(), id, 0 FROM doing
"""


def under_way(office: Office, card: Card) -> None:
    """Mark the call for a card as being made by a live delivery."""
    office.connection.execute(LIVE, [rules.request_id(Requested, card.id, card.retry_count)])
