"""A tenant's deliveries: list and show. As `service_role`, or as `authenticated` for members."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args
from uuid import UUID

from psycopg.rows import class_row

from app.context import Context
from app.errors import InvalidInput, NotFound

Status = Literal["pending", "delivered", "dead", "discarded"]


@dataclass(frozen=True, slots=True)
class ListedDelivery:
    """A delivery without its body. `id`: the `webhook-id` of its requests. `last_*`: of the last request."""

    id: UUID
    endpoint_id: UUID
    event_id: UUID
    event_type: str
    status: Status
    attempts: int
    last_attempt_at: datetime | None
    last_status: int | None
    last_answer: str | None
    last_error: str | None
    delivered_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ShownDelivery(ListedDelivery):
    """A delivery with the body of its requests."""

    body: str


_LIST = """
SELECT id, endpoint_id, event_id, event_type, status, attempts, last_attempt_at, last_status, last_answer, last_error,
       delivered_at, created_at
  FROM webhooks.deliveries
 WHERE tenant_id = %(tenant)s AND (%(endpoint)s::uuid IS NULL OR endpoint_id = %(endpoint)s)
   AND (%(status)s::text IS NULL OR status = %(status)s)
   AND (%(before)s::uuid IS NULL OR (created_at, id) <
        (SELECT b.created_at, b.id FROM webhooks.deliveries b WHERE b.tenant_id = %(tenant)s AND b.id = %(before)s))
 ORDER BY created_at DESC, id DESC LIMIT %(limit)s
"""
_SHOW = """
SELECT id, endpoint_id, event_id, event_type, status, attempts, last_attempt_at, last_status, last_answer, last_error,
       delivered_at, created_at, body
  FROM webhooks.deliveries WHERE tenant_id = %(tenant)s AND id = %(id)s
"""


def list_deliveries(
    context: Context,
    *,
    endpoint_id: UUID | None = None,
    status: str | None = None,
    before: UUID | None = None,
    limit: int = 100,
) -> list[ListedDelivery]:
    """Return the tenant's deliveries, newest first. `before`: continue after this delivery, the last of a page.

    Raises `InvalidInput` for an unknown status.
    """
    if status is not None and status not in get_args(Status):
        raise InvalidInput(f"status: must be {', '.join(get_args(Status))}, not {status!r}")
    wanted = {"tenant": context.tenant_id, "endpoint": endpoint_id, "status": status, "before": before, "limit": limit}
    return context.connection.cursor(row_factory=class_row(ListedDelivery)).execute(_LIST, wanted).fetchall()


def show_delivery(context: Context, delivery_id: UUID, *, endpoint_id: UUID | None = None) -> ShownDelivery:
    """Return a delivery of the tenant with the body of its requests.

    Raises `NotFound`, also for one of another endpoint than `endpoint_id`, if that is given.
    """
    cursor = context.connection.cursor(row_factory=class_row(ShownDelivery))
    found = cursor.execute(_SHOW, {"tenant": context.tenant_id, "id": delivery_id}).fetchone()
    if found is None or endpoint_id not in {None, found.endpoint_id}:
        raise NotFound(f"delivery: this tenant has no delivery {delivery_id}; `webhooks deliveries` lists them")
    return found
