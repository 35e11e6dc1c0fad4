"""Endpoints: the URLs that Twilio posts messages to, each with its account and the auth tokens that sign its requests.

An endpoint has at most two auth tokens: the new one is accepted before Twilio uses it, and the old one until no request
is signed with it any more.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import LiteralString, NoReturn
from uuid import UUID

from psycopg.rows import class_row
from pydantic import SecretStr

from app import sealing
from app.context import Connection
from app.errors import Conflict, InvalidInput, NotFound
from events import new_id

_ACCOUNT_SID = re.compile(r"AC[0-9a-f]{32}")
_AUTH_TOKEN = re.compile(r"[!-~]{16,200}")
_TOKEN_BYTES = 32
_NO_TENANT = UUID(int=0)
"""Messages belong to no tenant: the authenticated data of a sealed auth token has this id instead."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint, for operators: without its auth tokens. `auth_tokens`: how many are accepted."""

    id: UUID
    account_sid: str
    auth_tokens: int
    is_enabled: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Signer:
    """The account of an endpoint and the auth tokens that sign its requests, newest first."""

    account_sid: str
    auth_tokens: tuple[SecretStr, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Sealed:
    id: UUID
    account_sid: str
    auth_token: str = field(repr=False)
    previous_auth_token: str | None = field(repr=False)


_COLUMNS: LiteralString = """id, account_sid, 1 + (previous_auth_token IS NOT NULL)::integer AS auth_tokens, is_enabled,
       created_at, updated_at"""
_ADD = f"""
INSERT INTO messaging.endpoints (id, token_hash, account_sid, auth_token)
VALUES (%(id)s, %(token_hash)s, %(account_sid)s, %(sealed)s)
RETURNING {_COLUMNS}
"""
_SHOW = f"SELECT {_COLUMNS} FROM messaging.endpoints WHERE id = %(id)s"
_LIST = f"SELECT {_COLUMNS} FROM messaging.endpoints ORDER BY created_at, id"
_ROTATE = f"""
UPDATE messaging.endpoints SET previous_auth_token = auth_token, auth_token = %(sealed)s
 WHERE id = %(id)s AND previous_auth_token IS NULL
RETURNING {_COLUMNS}
"""
_RETIRE = f"UPDATE messaging.endpoints SET previous_auth_token = NULL WHERE id = %(id)s RETURNING {_COLUMNS}"
_SWITCH = f"UPDATE messaging.endpoints SET is_enabled = %(enabled)s WHERE id = %(id)s RETURNING {_COLUMNS}"
_SIGNER = """
SELECT id, account_sid, auth_token, previous_auth_token
  FROM messaging.endpoints WHERE token_hash = %s AND is_enabled
"""


def add_endpoint(connection: Connection, account_sid: str, auth_token: SecretStr) -> tuple[Endpoint, SecretStr]:
    """Add an endpoint. Returns it, and its token: the last part of its URL, which is not stored.

    Raises `InvalidInput` for an account or auth token that cannot be Twilio's, and `SetupError` without a sealing key.
    """
    if not _ACCOUNT_SID.fullmatch(account_sid):
        raise InvalidInput("account_sid: must be AC and 32 hexadecimal digits, as Twilio's console shows it")
    row_id, token = new_id(), secrets.token_urlsafe(_TOKEN_BYTES)
    sealed = _sealed(auth_token, row_id)
    added = _one(connection, _ADD, row_id, token_hash=_hash(token), account_sid=account_sid, sealed=sealed)
    return added or _unknown(row_id), SecretStr(token)


def list_endpoints(connection: Connection) -> list[Endpoint]:
    """Return all endpoints, oldest first."""
    return connection.cursor(row_factory=class_row(Endpoint)).execute(_LIST).fetchall()


def rotate_auth_token(connection: Connection, endpoint_id: UUID, auth_token: SecretStr) -> Endpoint:
    """Accept a new auth token beside the present one. Raises `NotFound`, `InvalidInput`; `Conflict` for a third."""
    rotated = _one(connection, _ROTATE, endpoint_id, sealed=_sealed(auth_token, endpoint_id))
    if rotated is None and _one(connection, _SHOW, endpoint_id):
        raise Conflict("auth_token: this endpoint has two; `messages endpoints retire` the old one first")
    return rotated or _unknown(endpoint_id)


def retire_auth_token(connection: Connection, endpoint_id: UUID) -> Endpoint:
    """Accept the newest auth token alone. Raises `NotFound`."""
    return _one(connection, _RETIRE, endpoint_id) or _unknown(endpoint_id)


def switch_endpoint(connection: Connection, endpoint_id: UUID, *, enabled: bool) -> Endpoint:
    """Enable or disable an endpoint. A disabled one refuses every request. Raises `NotFound`."""
    return _one(connection, _SWITCH, endpoint_id, enabled=enabled) or _unknown(endpoint_id)


def signer_of(connection: Connection, token: str) -> Signer | None:
    """Return who signs the requests to the enabled endpoint with this token; None if there is none.

    The token is looked up by its hash, so the time that this takes tells nothing about it. Raises `Permanent` or
    `SetupError` if an auth token cannot be decrypted.
    """
    found = connection.cursor(row_factory=class_row(_Sealed)).execute(_SIGNER, [_hash(token)]).fetchone()
    if found is None:
        return None
    sealed = [one for one in (found.auth_token, found.previous_auth_token) if one]
    tokens = tuple(sealing.unseal(one, _NO_TENANT, _account(found.id), found.id) for one in sealed)
    return Signer(found.account_sid, tokens)


def _sealed(auth_token: SecretStr, row_id: UUID) -> str:
    if not _AUTH_TOKEN.fullmatch(auth_token.get_secret_value()):
        raise InvalidInput("auth_token: must be 16 to 200 printable characters without spaces; copy it again")
    return sealing.seal(auth_token, _NO_TENANT, _account(row_id), row_id)


def _account(row_id: UUID) -> str:
    return f"twilio:{row_id}"


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _one(connection: Connection, statement: LiteralString, endpoint_id: UUID, **values: object) -> Endpoint | None:
    cursor = connection.cursor(row_factory=class_row(Endpoint))
    return cursor.execute(statement, {"id": endpoint_id, **values}).fetchone()


def _unknown(endpoint_id: UUID) -> NoReturn:
    raise NotFound(f"endpoint: there is no {endpoint_id}; `messages endpoints list` shows them")
