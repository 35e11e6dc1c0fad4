"""A tenant's endpoints: add, list, show, enable and disable.

The functions act for the tenant of a `Context`. Operators call them as `service_role`; admins of the tenant may call
them as `authenticated`, and members those that only read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from psycopg.rows import class_row, scalar_row
from pydantic import SecretStr

from app.context import Connection, Context
from app.errors import Conflict, InvalidInput
from app.webhooks import keys, rules, store, urls
from app.webhooks.rules import Owner
from events import new_id


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint without its secret. `failing_since`: the first failure since the last success.

    `disabled_reason`: `user`, `gone` (it answered 410) or `failing` (no success for `webhook_failing_days`).
    """

    id: UUID
    tenant_id: UUID
    url: str
    description: str
    event_types: Sequence[str]
    max_calls: int
    is_enabled: bool
    disabled_reason: str | None
    disabled_at: datetime | None
    failing_since: datetime | None
    created_by: str
    changed_by: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class AddedEndpoint:
    """A new endpoint and its secret, which cannot be read again."""

    endpoint: Endpoint
    secret: SecretStr


_SELECT = """
SELECT id, tenant_id, url, description, event_types, max_calls, is_enabled, disabled_reason, disabled_at, failing_since,
       created_by, changed_by, created_at
  FROM webhooks.endpoints WHERE tenant_id = %s
"""
_LIST: LiteralString = f"{_SELECT} ORDER BY created_at, id"
_SHOW: LiteralString = f"{_SELECT} AND id = %s"
_TENANT = "SELECT tenant_id FROM webhooks.endpoints WHERE id = %s"
_COUNT = "SELECT count(*) FROM webhooks.endpoints WHERE tenant_id = %s"
_ADD = """
INSERT INTO webhooks.endpoints (id, workspace_id, org_id, url, description, event_types, max_calls, created_by)
VALUES (%(id)s, %(workspace)s, %(org)s, %(url)s, %(description)s, %(event_types)s, %(max_calls)s, %(actor)s)
"""
_ENABLE = """
UPDATE webhooks.endpoints
   SET is_enabled = true, disabled_reason = NULL, disabled_at = NULL, failing_since = NULL, changed_by = %s
 WHERE id = %s AND NOT is_enabled
"""
_DISABLE = """
UPDATE webhooks.endpoints SET is_enabled = false, disabled_reason = 'user', disabled_at = now(), changed_by = %s
 WHERE id = %s AND is_enabled
"""


def add_endpoint(  # noqa: PLR0913 - each is a value of the endpoint
    context: Context,
    owner: Owner,
    url: str,
    event_types: Sequence[str],
    *,
    actor: str,
    description: str = "",
    max_calls: int = 4,
) -> AddedEndpoint:
    """Register an enabled endpoint of the context's tenant, a workspace or an organisation (`owner`).

    `event_types`: public names. `max_calls`: concurrent requests, 1 to 20. `actor`: who adds it. Returns the endpoint
    with its secret, which is shown only here. Raises `InvalidInput` for an invalid value, `Conflict` if the tenant has
    the most endpoints that are allowed, and `SetupError` if there is no key to encrypt the secret.
    """
    names = rules.check_event_types(owner, event_types)
    rules.check_max_calls(max_calls)
    urls.check(url)
    if len(description) > rules.DESCRIPTION_CHARS or (description and not description.isprintable()):
        raise InvalidInput(f"description: must be at most {rules.DESCRIPTION_CHARS} printable characters")
    endpoint_id = new_id()
    values = {
        "id": endpoint_id,
        "workspace": context.tenant_id if owner == "workspace" else None,
        "org": context.tenant_id if owner == "org" else None,
        "url": url,
        "description": description,
        "event_types": names,
        "max_calls": max_calls,
        "actor": actor,
    }
    with context.connection.transaction():
        _leave_room(context)
        context.connection.execute(_ADD, values)
        secret = keys.add(context, endpoint_id, actor=actor)
        return AddedEndpoint(show_endpoint(context, endpoint_id), secret)


def list_endpoints(context: Context) -> list[Endpoint]:
    """Return the tenant's endpoints, oldest first."""
    return context.connection.cursor(row_factory=class_row(Endpoint)).execute(_LIST, [context.tenant_id]).fetchall()


def show_endpoint(context: Context, endpoint_id: UUID) -> Endpoint:
    """Return an endpoint of the tenant. Raises `NotFound`."""
    cursor = context.connection.cursor(row_factory=class_row(Endpoint))
    found = cursor.execute(_SHOW, [context.tenant_id, endpoint_id]).fetchone()
    if found is None:
        raise store.no_endpoint(endpoint_id)
    return found


def tenant_of(connection: Connection, endpoint_id: UUID) -> UUID:
    """Return the tenant of an endpoint that the connection's role may read. Raises `NotFound`."""
    found: UUID | None = connection.cursor(row_factory=scalar_row).execute(_TENANT, [endpoint_id]).fetchone()
    if found is None:
        raise store.no_endpoint(endpoint_id)
    return found


def enable_endpoint(context: Context, endpoint_id: UUID, *, actor: str) -> Endpoint:
    """Enable an endpoint again. Deliveries that died meanwhile stay dead letters until they are replayed.

    Raises `NotFound`.
    """
    with context.connection.transaction():
        store.lock_endpoint(context, endpoint_id)
        context.connection.execute(_ENABLE, [actor, endpoint_id])
        return show_endpoint(context, endpoint_id)


def disable_endpoint(context: Context, endpoint_id: UUID, *, actor: str) -> Endpoint:
    """Disable an endpoint. It gets no further events, and deliveries that still wait become dead letters.

    Raises `NotFound`.
    """
    with context.connection.transaction():
        store.lock_endpoint(context, endpoint_id)
        context.connection.execute(_DISABLE, [actor, endpoint_id])
        return show_endpoint(context, endpoint_id)


def _leave_room(context: Context) -> None:
    count = context.connection.cursor(row_factory=scalar_row).execute(_COUNT, [context.tenant_id]).fetchone()
    if (count or 0) >= rules.MOST_ENDPOINTS:
        raise Conflict(f"endpoint: this tenant has {count} endpoints, the most that are allowed")
