"""A workspace's accounts with carriers: set, show without the password, enable and disable.

Passwords are encrypted before they are stored. Only robots decrypt them, right before they log in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import class_row
from pydantic import SecretStr

from app import sealing
from app.context import Connection, Context
from app.errors import Conflict, InvalidInput, NotFound, Permanent
from app.logistics.fields import carrier_name, is_printable
from app.logistics.gateway import Credentials
from app.outgoing import is_base_url
from events import new_id

AccountKey = tuple[UUID, str]
"""A workspace's id and the name of a carrier."""

MOST_SESSIONS = 100


@dataclass(frozen=True, slots=True)
class Carrier:
    """An account without its password, for users. `max_sessions`: most concurrent calls to the portal."""

    id: UUID
    workspace_id: UUID
    carrier: str
    portal_username: str | None
    has_password: bool
    portal_url: str | None
    max_sessions: int
    is_enabled: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class PortalConfig:
    """An account with its encrypted password, for robots."""

    id: UUID
    workspace_id: UUID
    carrier: str
    portal_username: str | None
    portal_password: str | None = field(repr=False)
    portal_url: str | None
    max_sessions: int
    is_enabled: bool

    @property
    def is_ready(self) -> bool:
        """Whether a robot may log in: the account is enabled and has username, password and URL."""
        return self.is_enabled and all((self.portal_username, self.portal_password, self.portal_url))


_COLUMNS = """id, workspace_id, carrier, portal_username, has_password, portal_url, max_sessions, is_enabled,
       created_at, updated_at"""
_SHOW = f"SELECT {_COLUMNS} FROM logistics.carrier_configs WHERE workspace_id = %s AND carrier = %s"
_LOCK = f"{_SHOW} FOR UPDATE"
_LIST = f"SELECT {_COLUMNS} FROM logistics.carrier_configs WHERE workspace_id = %s ORDER BY carrier"
_ADD = """
INSERT INTO logistics.carrier_configs (id, workspace_id, carrier) VALUES (%s, %s, %s)
    ON CONFLICT (workspace_id, carrier) DO NOTHING
"""
_SET_USERNAME = "UPDATE logistics.carrier_configs SET portal_username = %s WHERE id = %s"
_SEAL_IN = "UPDATE logistics.carrier_configs SET portal_password = %s WHERE id = %s"
_SET_PORTAL = """
UPDATE logistics.carrier_configs
   SET portal_url = coalesce(%s, portal_url), max_sessions = coalesce(%s, max_sessions)
 WHERE id = %s
"""
_SET_ENABLED = "UPDATE logistics.carrier_configs SET is_enabled = %s WHERE id = %s"
_PORTAL_CONFIGS = """
SELECT c.id, c.workspace_id, c.carrier, c.portal_username, c.portal_password, c.portal_url, c.max_sessions, c.is_enabled
  FROM unnest(%s::uuid[], %s::text[]) AS wanted (workspace_id, carrier)
  JOIN logistics.carrier_configs c USING (workspace_id, carrier)
"""


def limit_key(config_id: UUID) -> str:
    """Return the key of the concurrency limit of an account with a carrier."""
    return f"portal/{config_id}"


def set_carrier(
    context: Context,
    carrier: str,
    *,
    username: str | None = None,
    password: SecretStr | None = None,
    portal_url: str | None = None,
    max_sessions: int | None = None,
) -> Carrier:
    """Create or change the workspace's account with a carrier. Values that are None stay unchanged.

    A new account is disabled until `enable_carrier`. An admin of the workspace may set username and password; only an
    operator may set `portal_url` and `max_sessions` (1 to 100). Raises `InvalidInput` for an invalid value, and
    `SetupError` if there is no key to encrypt the password.
    """
    carrier = carrier_name(carrier)
    _check(username, password, portal_url, max_sessions)
    with context.connection.transaction():
        # Insert the row first: its id is part of the authenticated data of the encrypted password.
        context.connection.execute(_ADD, [new_id(), context.tenant_id, carrier])
        row_id = _one(context, _LOCK, carrier).id
        if username is not None:
            context.connection.execute(_SET_USERNAME, [username, row_id])
        if password is not None:
            sealed = sealing.seal(password, context.tenant_id, carrier, row_id)
            context.connection.execute(_SEAL_IN, [sealed, row_id])
        if portal_url is not None or max_sessions is not None:
            context.connection.execute(_SET_PORTAL, [portal_url, max_sessions, row_id])
        return show_carrier(context, carrier)


def show_carrier(context: Context, carrier: str) -> Carrier:
    """Return the workspace's account with a carrier. Raises `NotFound`, which lists the existing accounts."""
    return _one(context, _SHOW, carrier_name(carrier))


def list_carriers(context: Context) -> list[Carrier]:
    """Return the workspace's accounts, ordered by the carrier's name."""
    return context.connection.cursor(row_factory=class_row(Carrier)).execute(_LIST, [context.tenant_id]).fetchall()


def enable_carrier(context: Context, carrier: str) -> Carrier:
    """Enable the account for robots. Raises `NotFound`, and `Conflict`, which lists the missing values."""
    with context.connection.transaction():
        found = _one(context, _LOCK, carrier_name(carrier))
        if missing := _missing(found):
            raise Conflict(
                f"carrier: {found.carrier} has no {' and no '.join(missing)}; `carriers set {found.carrier}`"
            )
        return _switch(context, found, enabled=True)


def disable_carrier(context: Context, carrier: str) -> Carrier:
    """Disable the account for robots. Orders that are entered afterwards fail. Raises `NotFound`."""
    with context.connection.transaction():
        return _switch(context, _one(context, _LOCK, carrier_name(carrier)), enabled=False)


def portal_configs(connection: Connection, wanted: Iterable[AccountKey]) -> dict[AccountKey, PortalConfig]:
    """Return accounts of any workspaces, for robots, by key. Keys without an account are left out."""
    keys = list(wanted)
    workspaces, carriers = [workspace_id for workspace_id, _ in keys], [carrier for _, carrier in keys]
    cursor = connection.cursor(row_factory=class_row(PortalConfig))
    found = cursor.execute(_PORTAL_CONFIGS, [workspaces, carriers]).fetchall()
    return {(config.workspace_id, config.carrier): config for config in found}


def unsealed(config: PortalConfig) -> Credentials:
    """Decrypt the credentials of an account.

    Raises `Permanent` if the account has no credentials or they cannot be decrypted, and `SetupError` if the key of the
    password is missing.
    """
    if not config.portal_username or not config.portal_password:
        raise Permanent(f"carrier {config.carrier} has no credentials; `carriers set {config.carrier}`")
    password = sealing.unseal(config.portal_password, config.workspace_id, config.carrier, config.id)
    return Credentials(config.portal_username, password)


def _check(username: str | None, password: SecretStr | None, portal_url: str | None, max_sessions: int | None) -> None:
    secret = None if password is None else password.get_secret_value()
    for name, text in {"username": username, "password": secret}.items():
        if text is not None and not (text.strip() and is_printable(text)):
            raise InvalidInput(f"{name}: must not be empty or hold control characters")
    if portal_url is not None and not is_base_url(portal_url):
        raise InvalidInput("portal_url: must be like https://portal.example.org, without user, query or fragment")
    if max_sessions is not None and not 1 <= max_sessions <= MOST_SESSIONS:
        raise InvalidInput(f"max_sessions: must be 1 to {MOST_SESSIONS}, not {max_sessions}")


def _missing(carrier: Carrier) -> list[str]:
    wanted = {
        "username": carrier.portal_username,
        "password": carrier.has_password,
        "portal_url": carrier.portal_url,
    }
    return [name for name, value in wanted.items() if not value]


def _switch(context: Context, carrier: Carrier, *, enabled: bool) -> Carrier:
    context.connection.execute(_SET_ENABLED, [enabled, carrier.id])
    return show_carrier(context, carrier.carrier)


def _one(context: Context, statement: Any, carrier: str) -> Carrier:
    cursor = context.connection.cursor(row_factory=class_row(Carrier))
    found = cursor.execute(statement, [context.tenant_id, carrier]).fetchone()
    if found is None:
        names = ", ".join(one.carrier for one in list_carriers(context)) or "none yet"
        raise NotFound(
            f"carrier: {carrier} is not set up for this workspace; set up: {names}; `carriers set {carrier}`"
        )
    return found
