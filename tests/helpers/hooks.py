"""Deliveries of webhooks: send them, and make one in each status."""

from __future__ import annotations

from typing import Any

from app.engine.dead_letters import manage
from app.engine.queue.publish import publish
from app.testing.deliver import deliver
from app.webhooks.fixtures.hooked import Hooked
from tests.helpers.support import scalar

_NEWEST_LETTER = "SELECT event_id FROM engine.failed_jobs WHERE resolved_at IS NULL ORDER BY failed_at DESC LIMIT 1"
_ALL_IS_DUE = "UPDATE engine.delayed SET due_at = now()"
_REACTIONS: dict[str, dict[str, Any]] = {
    "/good": {},
    "/failing": {"then": "answer"},
    "/gone": {"then": "answer", "status": 410},
}


def send(hooked: Hooked, count: int = 1) -> None:
    """Publish completed robot jobs, and deliver everything that is due."""
    publish(hooked.connection, *[hooked.event() for _ in range(count)])
    deliver(hooked.connection)


def again(hooked: Hooked) -> None:
    """Deliver everything that was put back."""
    hooked.connection.execute(_ALL_IS_DUE)
    deliver(hooked.connection)


def in_every_status(hooked: Hooked) -> None:
    """Make deliveries in each status: delivered, pending, dead and discarded."""
    for path, reaction in _REACTIONS.items():
        hooked.add(path, **reaction)
    send(hooked)
    hooked.add("/left", then="answer", status=410)
    send(hooked)
    manage.discard(hooked.connection, [scalar(hooked.connection, _NEWEST_LETTER)], note="-", actor="ana")
