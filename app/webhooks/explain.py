"""Explain why a delivery has not been accepted, for operators. Adds the endpoint's state to the engine's reasons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from psycopg.rows import class_row, scalar_row

from app.context import Connection
from app.engine.batches.explainers import Lost
from app.engine.effects import cooldowns
from app.engine.inspect.explain import explain
from app.engine.inspect.reasons import Reason, shown
from app.engine.inspect.waiting import CoolingDown, Parked
from app.errors import NotFound
from app.webhooks import rules


@dataclass(frozen=True, slots=True)
class DeliveryEnded(Reason):
    """The delivery was accepted, or given up."""

    kind: ClassVar[str] = "done"
    status: str
    attempts: int
    delivered_at: datetime | None
    last_error: str | None

    @property
    def sentence(self) -> str:
        """When it was accepted, or why it was given up."""
        if self.delivered_at is not None:
            return f"the endpoint accepted it at {shown(self.delivered_at)}, in attempt {self.attempts}"
        return f"it was {self.status}: {self.last_error or 'no reason given'}"


@dataclass(frozen=True, slots=True)
class EndpointDisabled(Reason):
    """The endpoint is disabled, so nothing is sent to it."""

    kind: ClassVar[str] = "endpoint_disabled"
    endpoint_id: UUID
    reason: str
    since: datetime

    @property
    def sentence(self) -> str:
        """Since when, why, and the remedy."""
        why = {"gone": "it answered 410", "failing": "it failed for days"}.get(self.reason, "by an admin")
        return (
            f"endpoint {self.endpoint_id} is disabled since {shown(self.since)} ({why}):"
            f" `webhooks enable {self.endpoint_id}`, then `dead replay` its letters"
        )


@dataclass(frozen=True, slots=True)
class EndpointFailing(Reason):
    """No request to the endpoint has succeeded since `since`. `last_error`: of this delivery's last request."""

    kind: ClassVar[str] = "endpoint_failing"
    endpoint_id: UUID
    since: datetime
    last_error: str | None

    @property
    def sentence(self) -> str:
        """Since when, and the last error."""
        last = f"; the last attempt: {self.last_error}" if self.last_error else ""
        return f"endpoint {self.endpoint_id} has been failing since {shown(self.since)}{last}"


@dataclass(frozen=True, slots=True)
class EndpointResting(Reason):
    """The endpoint asked to wait (Retry-After)."""

    kind: ClassVar[str] = "endpoint_resting"
    endpoint_id: UUID
    until: datetime

    @property
    def sentence(self) -> str:
        """Until when."""
        return f"endpoint {self.endpoint_id} asked to wait until {shown(self.until)} (Retry-After)"


@dataclass(frozen=True, slots=True)
class RequestsBusy(Reason):
    """All of the endpoint's concurrent requests are in progress."""

    kind: ClassVar[str] = "endpoint_busy"
    events: int
    endpoint_id: UUID
    most: int

    @property
    def sentence(self) -> str:
        """How many wait for how many."""
        return f"{self.events} deliveries wait: endpoint {self.endpoint_id} gets at most {self.most} requests at once"


@dataclass(frozen=True, slots=True)
class _Found:
    endpoint_id: UUID
    tenant_id: UUID
    status: str
    attempts: int
    delivered_at: datetime | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class _Endpoint:
    id: UUID
    max_calls: int
    disabled_reason: str | None
    disabled_at: datetime | None
    failing_since: datetime | None


_FIND = """
SELECT endpoint_id, tenant_id, status, attempts, delivered_at, last_error FROM webhooks.deliveries WHERE id = %s
"""
_ENDPOINTS = """
SELECT id, max_calls, disabled_reason, disabled_at, failing_since FROM webhooks.endpoints
 WHERE tenant_id = %s AND (%s::uuid IS NULL OR id = %s) ORDER BY id
"""
_TENANT = "SELECT tenant_id FROM webhooks.deliveries WHERE id = %s"


def explain_delivery(connection: Connection, delivery_id: UUID) -> list[Reason]:
    """Return the reasons why a delivery has not been accepted, or how it ended. Raises `NotFound`."""
    found = connection.cursor(row_factory=class_row(_Found)).execute(_FIND, [delivery_id]).fetchone()
    if found is None:
        raise NotFound(f"item: there is no delivery {delivery_id}; `webhooks deliveries` lists a tenant's")
    if found.status in {"delivered", "discarded"}:
        return [DeliveryEnded(found.status, found.attempts, found.delivered_at, found.last_error)]
    endpoints = _endpoints(connection, found.tenant_id, found.endpoint_id)
    reasons = explain(connection, {"data": {"delivery_id": str(delivery_id)}})
    states = _states(connection, endpoints, found.last_error)
    return [*states, *_of_endpoints(reasons, endpoints)] or [Lost()]


def with_endpoints(connection: Connection, tenant: UUID, reasons: Sequence[Reason]) -> list[Reason]:
    """Return the reasons of a tenant's waiting events in terms of its endpoints, and those that are disabled."""
    endpoints = _endpoints(connection, tenant, None)
    return [*_states(connection, endpoints, None), *_of_endpoints(reasons, endpoints)]


def tenant_of(connection: Connection, id_: UUID) -> UUID | None:
    """Return the tenant of a delivery; None if there is none with this id."""
    found: UUID | None = connection.cursor(row_factory=scalar_row).execute(_TENANT, [id_]).fetchone()
    return found


def _endpoints(connection: Connection, tenant: UUID, endpoint_id: UUID | None) -> list[_Endpoint]:
    cursor = connection.cursor(row_factory=class_row(_Endpoint))
    return cursor.execute(_ENDPOINTS, [tenant, endpoint_id, endpoint_id]).fetchall()


def _states(connection: Connection, endpoints: Sequence[_Endpoint], last_error: str | None) -> Iterator[Reason]:
    for one in endpoints:
        if one.disabled_reason is not None and one.disabled_at is not None:
            yield EndpointDisabled(one.id, one.disabled_reason, one.disabled_at)
        elif one.failing_since is not None:
            yield EndpointFailing(one.id, one.failing_since, last_error)
    by_key = {rules.limit_key(one.id): one.id for one in endpoints}
    for rest in cooldowns.find(connection, list(by_key)):
        yield EndpointResting(by_key[rest.key], rest.until)


def _of_endpoints(reasons: Iterable[Reason], endpoints: Sequence[_Endpoint]) -> Iterator[Reason]:
    """Replace reasons about a concurrency limit's key by reasons about the endpoint."""
    by_key = {rules.limit_key(one.id): one for one in endpoints}
    for reason in reasons:
        match reason:
            case Parked(key=key) if endpoint := by_key.get(key):
                yield RequestsBusy(reason.events, endpoint.id, endpoint.max_calls)
            case CoolingDown(key=key) if key in by_key:
                pass  # `_states` reads it
            case _:
                yield reason
