"""Events of a run that follow from another event of it, or from an operator's command."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import events
from events import Event, Payload

Causes = Mapping[UUID, Event[Any]]
"""The event of each run that causes the events to publish. A run without one begins a new chain."""


def say(
    payload: Payload,
    now: datetime,
    *,
    run_id: UUID,
    org_id: UUID,
    cause: Event[Any] | None,
    event_id: UUID | None = None,
) -> Event[Any]:
    """Return an event about a run. Without an `event_id`, its id derives from the cause and the run, or is new."""
    if cause is None:
        return events.new(payload, now=now, subject=run_id, tenant=org_id, event_id=event_id)
    return cause.follow(payload, now, key=str(run_id), subject=run_id, event_id=event_id)
