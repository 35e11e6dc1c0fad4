"""Secrets of endpoints in the database: add, rotate, and read those that sign.

A secret is encrypted before it is stored and shown once. Only workers and `webhooks test` decrypt it. During a rotation
the former secret signs as well, so that a receiver can change its own at any moment in between.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from psycopg.rows import class_row
from pydantic import SecretStr

from app import sealing, standard_webhooks
from app.context import Connection, Context
from app.errors import Conflict, InvalidInput
from app.webhooks import signing, store
from events import new_id

MOST_HOURS = 24 * 30
_ACCOUNT = "webhook"
"""What a secret is sealed for. No carrier has this name in a row of this id."""


@dataclass(frozen=True, slots=True)
class SealedSecret:
    """An encrypted secret. `id`: of its row, which the encryption is bound to."""

    id: UUID
    tenant_id: UUID
    sealed: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Rotation:
    """A new secret, which cannot be read again, and until when the former one signs as well; None: it does not."""

    endpoint_id: UUID
    secret: SecretStr
    former_until: datetime | None


@dataclass(frozen=True, slots=True)
class _Former:
    expires_at: datetime


_ADD = "INSERT INTO webhooks.secrets (id, tenant_id, endpoint_id, sealed, created_by) VALUES (%s, %s, %s, %s, %s)"
_FORMER = """
SELECT expires_at FROM webhooks.secrets WHERE endpoint_id = %s AND expires_at > clock_timestamp() LIMIT 1
"""
_END_FORMER = """
UPDATE webhooks.secrets SET expires_at = clock_timestamp() WHERE endpoint_id = %s AND expires_at > clock_timestamp()
"""
_EXPIRE = """
UPDATE webhooks.secrets SET expires_at = clock_timestamp() + %s WHERE endpoint_id = %s AND expires_at IS NULL
RETURNING expires_at
"""
_ACTIVE = """
SELECT id, tenant_id, sealed FROM webhooks.secrets
 WHERE tenant_id = %s AND endpoint_id = %s AND coalesce(expires_at > clock_timestamp(), true)
 ORDER BY expires_at DESC NULLS FIRST, id
"""


def add(context: Context, endpoint_id: UUID, *, actor: str) -> SecretStr:
    """Make the current secret of an endpoint of the tenant that has none. Returns it.

    Raises `SetupError` if there is no key to encrypt it.
    """
    secret, row_id = signing.new_secret(), new_id()
    sealed = sealing.seal(secret, context.tenant_id, _ACCOUNT, row_id)
    context.connection.execute(_ADD, [row_id, context.tenant_id, endpoint_id, sealed, actor])
    return secret


def rotate(context: Context, endpoint_id: UUID, *, actor: str, hours: float = 24.0) -> Rotation:
    """Make a new current secret. The former one signs for `hours` more; 0: it ends now, as after a leak.

    Raises `NotFound`, `InvalidInput` for hours out of range, and `Conflict` if a former secret still signs and `hours`
    is not 0, because a receiver that has neither of the newer ones would refuse every request.
    """
    if not 0 <= hours <= MOST_HOURS:
        raise InvalidInput(f"hours: must be 0 to {MOST_HOURS}, not {hours:g}")
    with context.connection.transaction():
        store.lock_endpoint(context, endpoint_id)
        former = _expiry(context.connection, endpoint_id)
        if former is not None and hours:
            raise Conflict(
                f"endpoint: its former secret signs until {former:%Y-%m-%d %H:%M:%S%z}; rotate again after that, or end"
                " both with --hours 0"
            )
        context.connection.execute(_END_FORMER, [endpoint_id])
        until = context.connection.execute(_EXPIRE, [timedelta(hours=hours), endpoint_id]).fetchone()
        secret = add(context, endpoint_id, actor=actor)
    return Rotation(endpoint_id, secret, until[0] if until and hours else None)


def active(connection: Connection, tenant_id: UUID, endpoint_id: UUID) -> list[SealedSecret]:
    """Return the secrets that sign an endpoint's requests, the current one first. As `service_role`."""
    cursor = connection.cursor(row_factory=class_row(SealedSecret))
    return cursor.execute(_ACTIVE, [tenant_id, endpoint_id]).fetchall()


def unseal(secret: SealedSecret) -> bytes:
    """Return the signing key of a secret.

    Raises `SetupError` if the sealing key is missing, and `Permanent` if the text was altered.
    """
    return standard_webhooks.key(sealing.unseal(secret.sealed, secret.tenant_id, _ACCOUNT, secret.id))


def _expiry(connection: Connection, endpoint_id: UUID) -> datetime | None:
    found = connection.cursor(row_factory=class_row(_Former)).execute(_FORMER, [endpoint_id]).fetchone()
    return found.expires_at if found else None
