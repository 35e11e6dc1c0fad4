"""Secrets with which external robot services sign the results that they post for a workspace.

A workspace has at most two secrets, so that a new one can be in use before the old one is removed.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row
from pydantic import SecretStr

from app import sealing, standard_webhooks
from app.context import Connection, Context
from app.errors import Conflict, NotFound
from events import new_id

_BYTES = 32
_ACCOUNT = "callback"
"""The account in the authenticated data of a sealed secret."""


@dataclass(frozen=True, slots=True)
class CallbackSecret:
    """A secret of a workspace, for its users: without the secret itself."""

    id: UUID
    workspace_id: UUID
    created_at: datetime


@dataclass(frozen=True, slots=True)
class _Sealed:
    id: UUID
    secret: str = field(repr=False)


_ADD = """
INSERT INTO logistics.callback_secrets (id, workspace_id, slot, secret)
SELECT %(id)s, %(workspace)s, slot, %(secret)s
  FROM generate_series(1, 2) slot
 WHERE slot NOT IN (SELECT taken.slot FROM logistics.callback_secrets taken WHERE workspace_id = %(workspace)s)
 ORDER BY slot LIMIT 1
    ON CONFLICT (workspace_id, slot) DO NOTHING
RETURNING id, workspace_id, created_at
"""
_LIST = """
SELECT id, workspace_id, created_at FROM logistics.callback_secrets WHERE workspace_id = %s ORDER BY created_at, id
"""
_REMOVE = """
DELETE FROM logistics.callback_secrets WHERE workspace_id = %s AND id = %s RETURNING id, workspace_id, created_at
"""
_SEALED = "SELECT id, secret FROM logistics.callback_secrets WHERE workspace_id = %s ORDER BY created_at DESC"


def new_secret() -> SecretStr:
    """Return a new random secret, as providers write it: `whsec_` and base64."""
    return SecretStr(standard_webhooks.PREFIX + base64.b64encode(os.urandom(_BYTES)).decode())


def add_secret(context: Context, secret: SecretStr) -> CallbackSecret:
    """Add a secret to the workspace. Returns it without the secret itself.

    Raises `InvalidInput` for text that is no secret of Standard Webhooks, and `Conflict` if there are two already.
    """
    standard_webhooks.key(secret)
    row_id = new_id()
    sealed = sealing.seal(secret, context.tenant_id, _ACCOUNT, row_id)
    cursor = context.connection.cursor(row_factory=class_row(CallbackSecret))
    added = cursor.execute(_ADD, {"id": row_id, "workspace": context.tenant_id, "secret": sealed}).fetchone()
    if added is None:
        raise Conflict("secret: this workspace has two already; `callbacks remove` the old one first")
    return added


def list_secrets(context: Context) -> list[CallbackSecret]:
    """Return the workspace's secrets, oldest first, without the secrets themselves."""
    cursor = context.connection.cursor(row_factory=class_row(CallbackSecret))
    return cursor.execute(_LIST, [context.tenant_id]).fetchall()


def remove_secret(context: Context, secret_id: UUID) -> CallbackSecret:
    """Remove a secret: requests that are signed with it alone are refused from now on. Raises `NotFound`."""
    cursor = context.connection.cursor(row_factory=class_row(CallbackSecret))
    removed = cursor.execute(_REMOVE, [context.tenant_id, secret_id]).fetchone()
    if removed is None:
        raise NotFound(f"secret: there is no {secret_id} in this workspace; `callbacks list` shows them")
    return removed


def keys_of(connection: Connection, workspace_id: UUID) -> list[bytes]:
    """Return the keys that sign a workspace's callbacks, newest first. None for a workspace that does not exist.

    Raises `Permanent` or `SetupError` if a secret cannot be decrypted.
    """
    found = connection.cursor(row_factory=class_row(_Sealed)).execute(_SEALED, [workspace_id]).fetchall()
    return [standard_webhooks.key(sealing.unseal(one.secret, workspace_id, _ACCOUNT, one.id)) for one in found]
