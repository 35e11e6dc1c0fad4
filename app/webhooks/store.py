"""Endpoints and deliveries in the database, for handlers, the effect, and decisions of operators.

Lock order: deliveries by id, then endpoints by id.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID

from psycopg.rows import class_row, scalar_row

from app.context import Connection, Context
from app.errors import NotFound


@dataclass(frozen=True, slots=True)
class Subscriber:
    """An enabled endpoint that gets a type of event."""

    id: UUID
    tenant_id: UUID


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """A delivery to be inserted. `body`: the text of its requests."""

    id: UUID
    tenant_id: UUID
    endpoint_id: UUID
    event_id: UUID
    event_type: str
    body: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery as its requests need it."""

    id: UUID
    tenant_id: UUID
    endpoint_id: UUID
    status: str
    body: str

    @property
    def is_open(self) -> bool:
        """Whether the endpoint has not accepted it, and nobody gave it up."""
        return self.status in {"pending", "dead"}


@dataclass(frozen=True, slots=True)
class Attempt:
    """The outcome of a request. `status`, `answer`: of the endpoint's answer; None and empty without one.

    `is_counted`: it spends an attempt. `is_dead`: the delivery is not retried.
    """

    delivery_id: UUID
    status: int | None
    answer: str
    error: str | None
    is_counted: bool = True
    is_dead: bool = False


_LOCK_ENDPOINT = "SELECT id FROM webhooks.endpoints WHERE tenant_id = %s AND id = %s FOR NO KEY UPDATE"
_SUBSCRIBERS: LiteralString = """
SELECT id, tenant_id FROM webhooks.endpoints
 WHERE is_enabled AND tenant_id = ANY(%s) AND %s = ANY(event_types) ORDER BY id
"""
_ADD = """
INSERT INTO webhooks.deliveries (id, tenant_id, endpoint_id, event_id, event_type, body)
SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::uuid[], %s::text[], %s::text[])
    ON CONFLICT DO NOTHING
RETURNING id
"""
_READ = "SELECT id, tenant_id, endpoint_id, status, body FROM webhooks.deliveries WHERE id = ANY(%s)"
_LOCK = f"{_READ} ORDER BY id FOR NO KEY UPDATE"
_REOPEN = "UPDATE webhooks.deliveries SET status = 'pending' WHERE id = ANY(%s) AND status = 'dead'"
_DELIVERED = """
UPDATE webhooks.deliveries d
   SET status = 'delivered', attempts = d.attempts + 1, delivered_at = clock_timestamp(),
       last_attempt_at = clock_timestamp(), last_status = said.status, last_answer = said.answer, last_error = NULL
  FROM unnest(%s::uuid[], %s::integer[], %s::text[]) AS said (id, status, answer)
 WHERE d.id = said.id
"""
_FAILED = """
UPDATE webhooks.deliveries d
   SET status = CASE WHEN said.is_dead THEN 'dead' ELSE d.status END, attempts = d.attempts + said.counted::integer,
       last_attempt_at = clock_timestamp(), last_status = said.status, last_answer = said.answer,
       last_error = said.error
  FROM unnest(%s::uuid[], %s::integer[], %s::text[], %s::text[], %s::boolean[], %s::boolean[])
       AS said (id, status, answer, error, counted, is_dead)
 WHERE d.id = said.id AND d.status IN ('pending', 'dead')
"""
_UNSENT = """
UPDATE webhooks.deliveries d
   SET status = CASE WHEN said.is_dead THEN 'dead' ELSE d.status END, last_error = said.error
  FROM unnest(%s::uuid[], %s::text[], %s::boolean[]) AS said (id, error, is_dead)
 WHERE d.id = said.id AND d.status IN ('pending', 'dead')
"""
_DISCARD = """
UPDATE webhooks.deliveries SET status = 'discarded', last_error = %s
 WHERE id = ANY(%s) AND status IN ('pending', 'dead')
"""
_LOCK_FAILING = """
SELECT id FROM webhooks.endpoints WHERE id = ANY(%s) AND failing_since IS NOT NULL ORDER BY id FOR NO KEY UPDATE
"""
_LOCK_ENDPOINTS = "SELECT id FROM webhooks.endpoints WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE"
_RECOVERED = "UPDATE webhooks.endpoints SET failing_since = NULL WHERE id = ANY(%s)"
_FAILING = """
UPDATE webhooks.endpoints SET failing_since = clock_timestamp() WHERE id = ANY(%s) AND failing_since IS NULL
"""
_GIVE_UP = """
UPDATE webhooks.endpoints e
   SET is_enabled = false, disabled_at = clock_timestamp(),
       disabled_reason = CASE WHEN e.id = ANY(%(gone)s) THEN 'gone' ELSE 'failing' END
 WHERE e.id = ANY(%(ids)s) AND e.is_enabled
   AND (e.id = ANY(%(gone)s) OR e.failing_since < clock_timestamp() - %(days)s * interval '1 day')
"""


def no_endpoint(endpoint_id: UUID) -> NotFound:
    """Return the error for an endpoint that the tenant does not have, or the person may not change."""
    return NotFound(f"endpoint: this tenant has no endpoint {endpoint_id}; `webhooks list` shows them")


def lock_endpoint(context: Context, endpoint_id: UUID) -> None:
    """Lock an endpoint of the tenant to change it. Raises `NotFound`, also for a person who may only read it."""
    if context.connection.execute(_LOCK_ENDPOINT, [context.tenant_id, endpoint_id]).fetchone() is None:
        raise no_endpoint(endpoint_id)


def subscribers(connection: Connection, tenants: Collection[UUID], name: str) -> list[Subscriber]:
    """Return the enabled endpoints of tenants that get events of the type with this public name."""
    cursor = connection.cursor(row_factory=class_row(Subscriber))
    return cursor.execute(_SUBSCRIBERS, [list(tenants), name]).fetchall()


def add(connection: Connection, deliveries: Sequence[NewDelivery]) -> set[UUID]:
    """Insert the deliveries that do not exist yet. Returns their ids."""
    columns = [
        [one.id for one in deliveries],
        [one.tenant_id for one in deliveries],
        [one.endpoint_id for one in deliveries],
        [one.event_id for one in deliveries],
        [one.event_type for one in deliveries],
        [one.body for one in deliveries],
    ]
    return set(connection.cursor(row_factory=scalar_row).execute(_ADD, columns))


def read(connection: Connection, ids: Collection[UUID]) -> dict[UUID, Delivery]:
    """Return deliveries by id."""
    cursor = connection.cursor(row_factory=class_row(Delivery)).execute(_READ, [list(ids)])
    return {one.id: one for one in cursor}


def lock(connection: Connection, ids: Collection[UUID]) -> dict[UUID, Delivery]:
    """Lock deliveries until the transaction ends. Returns them by id."""
    cursor = connection.cursor(row_factory=class_row(Delivery)).execute(_LOCK, [list(ids)])
    return {one.id: one for one in cursor}


def reopen(connection: Connection, ids: Collection[UUID]) -> None:
    """Set the dead ones of locked deliveries to pending: their requests were replayed."""
    connection.execute(_REOPEN, [list(ids)])


def delivered(connection: Connection, attempts: Sequence[Attempt]) -> None:
    """Record successful attempts of locked deliveries."""
    columns = [
        [one.delivery_id for one in attempts],
        [one.status for one in attempts],
        [one.answer for one in attempts],
    ]
    connection.execute(_DELIVERED, columns)


def failed(connection: Connection, attempts: Sequence[Attempt]) -> None:
    """Record failed attempts of locked deliveries."""
    columns = [
        [one.delivery_id for one in attempts],
        [one.status for one in attempts],
        [one.answer for one in attempts],
        [one.error for one in attempts],
        [one.is_counted for one in attempts],
        [one.is_dead for one in attempts],
    ]
    connection.execute(_FAILED, columns)


def unsent(connection: Connection, attempts: Sequence[Attempt]) -> None:
    """Record why locked deliveries were not sent. Their last request stays as it is."""
    columns = [
        [one.delivery_id for one in attempts],
        [one.error for one in attempts],
        [one.is_dead for one in attempts],
    ]
    connection.execute(_UNSENT, columns)


def discard(connection: Connection, ids: Collection[UUID], why: str) -> None:
    """Give up the open ones of locked deliveries."""
    connection.execute(_DISCARD, [why, list(ids)])


def lock_failing(connection: Connection, endpoint_ids: Collection[UUID]) -> list[UUID]:
    """Lock those of these endpoints that are failing. Returns their ids."""
    return connection.cursor(row_factory=scalar_row).execute(_LOCK_FAILING, [list(endpoint_ids)]).fetchall()


def recovered(connection: Connection, endpoint_ids: Collection[UUID]) -> None:
    """Record a success of locked endpoints that were failing."""
    connection.execute(_RECOVERED, [list(endpoint_ids)])


def failing(connection: Connection, endpoint_ids: Collection[UUID], gone: Collection[UUID], days: float) -> None:
    """Record failures of endpoints, and disable those that are gone, or have been failing for `days`."""
    ids = list(endpoint_ids)
    connection.execute(_LOCK_ENDPOINTS, [ids])
    connection.execute(_FAILING, [ids])
    connection.execute(_GIVE_UP, {"ids": ids, "gone": list(gone), "days": days})
