"""Sealing: how a portal's password lies in the database.

    sealed:v1:<key id>:<base64url of nonce and ciphertext>

AES-256-GCM. What is sealed is tied to its tenant, carrier and row: moved to another row, it does not open. Keys come
from TALLYMAN_KEYS, of which the first seals and all of them open, so that a key is changed by putting a new one in
front. The embedded server has a key of its own, made once, in `<home>/sealing.key`.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import secrets
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from app.errors import Permanent, SetupError
from app.settings import Settings, settings

_NONCE_BYTES = 12
_KEY_BYTES = 32
_KEY = re.compile(r"(?P<id>[A-Za-z0-9_-]{1,40}):(?P<material>[A-Za-z0-9+/]{43}=)")
_SEALED = re.compile(r"sealed:v1:(?P<key_id>[A-Za-z0-9_-]+):(?P<body>[A-Za-z0-9_=-]+)")
_HOW_TO_MAKE_ONE = (
    "make a key with: python -c \"import base64, os; print('k1:' + base64.b64encode(os.urandom(32)).decode())\""
)


def seal(secret: SecretStr, tenant: UUID, carrier: str, row_id: UUID) -> str:
    """`secret` as text for the row `row_id`. Raises `SetupError` when there is no key."""
    return keyring().seal(secret, tenant, carrier, row_id)


def unseal(sealed: str, tenant: UUID, carrier: str, row_id: UUID) -> SecretStr:
    """What `seal()` was given.

    Raises `SetupError` when its key is not at hand, and `Permanent` when `sealed` was altered, or sealed for another
    tenant, carrier or row.
    """
    return keyring().unseal(sealed, tenant, carrier, row_id)


@dataclass(frozen=True, slots=True)
class Keyring:
    """Keys by their id, 32 bytes each; the first one seals."""

    keys: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def parse(cls, text: str, *, source: str) -> Keyring:
        """Read `id:base64-of-32-bytes`, comma-separated; `source` tells in a `SetupError` where they came from."""
        keys: dict[str, bytes] = {}
        for position, one in enumerate(text.split(","), start=1):
            found = _KEY.fullmatch(one.strip())
            if found is None:
                raise SetupError(f"{source}: key {position} is not id:base64-of-32-bytes; {_HOW_TO_MAKE_ONE}")
            if found["id"] in keys:
                raise SetupError(f"{source}: two keys have the id {found['id']!r}; give each its own")
            keys[found["id"]] = base64.b64decode(found["material"])
        return cls(keys)

    def seal(self, secret: SecretStr, tenant: UUID, carrier: str, row_id: UUID) -> str:
        """`secret` as text for one row, under the first key."""
        key_id, key = next(iter(self.keys.items()))
        nonce = os.urandom(_NONCE_BYTES)
        sealed = AESGCM(key).encrypt(nonce, secret.get_secret_value().encode(), _place(tenant, carrier, row_id))
        return f"sealed:v1:{key_id}:{base64.urlsafe_b64encode(nonce + sealed).decode()}"

    def unseal(self, sealed: str, tenant: UUID, carrier: str, row_id: UUID) -> SecretStr:
        """What was sealed for this row, under whichever key."""
        found = _SEALED.fullmatch(sealed)
        if found is None:
            raise Permanent(f"the password of {carrier} in row {row_id} is not sealed:v1; set it again")
        key = self.keys.get(found["key_id"])
        if key is None:
            raise SetupError(
                f"the password of {carrier} was sealed with the key {found['key_id']!r}, and there are only"
                f" {', '.join(self.keys)}: add that key to TALLYMAN_KEYS, or set the password again"
            )
        return self._open(key, found["body"], tenant, carrier, row_id)

    def _open(self, key: bytes, body: str, tenant: UUID, carrier: str, row_id: UUID) -> SecretStr:
        try:
            raw = base64.urlsafe_b64decode(body)
            opened = AESGCM(key).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], _place(tenant, carrier, row_id))
        except (InvalidTag, binascii.Error, ValueError):
            # Without a cause: what is known of the text does not belong into a log.
            raise Permanent(
                f"the password of {carrier} in row {row_id} does not open: it was altered, or sealed for another"
                " tenant, carrier or row, or its key's id has another key now; set it again"
            ) from None
        return SecretStr(opened.decode())


def keyring() -> Keyring:
    """The keys of this process. Raises `SetupError` when there are none and none may be made."""
    return _keyring(settings())


@cache
def _keyring(given: Settings) -> Keyring:
    if given.keys:
        return Keyring.parse(given.keys.get_secret_value(), source="TALLYMAN_KEYS")
    if given.database_url is not None:
        raise SetupError(f"TALLYMAN_KEYS is not set: credentials are sealed with it; {_HOW_TO_MAKE_ONE}")
    return embedded_keyring(given.home_directory())


def embedded_keyring(home: Path) -> Keyring:
    """The key in `<home>/sealing.key`, made if there is none; all who come at once get the same one."""
    path = home / "sealing.key"
    try:
        if not path.exists():
            _make(path)
        return Keyring.parse(path.read_text(encoding="ascii"), source=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"{path}: the sealing key cannot be read or made: {error}") from error


def _make(path: Path) -> None:
    """Write a new key beside `path` and link it there: the first link wins, and no process reads half a key."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    material = base64.b64encode(os.urandom(_KEY_BYTES)).decode()
    # mkstemp makes it readable for this account alone.
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".sealing.")
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"local-{secrets.token_hex(4)}:{material}\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        Path(draft).unlink()


def _place(tenant: UUID, carrier: str, row_id: UUID) -> bytes:
    return f"{tenant}|{carrier}|{row_id}".encode()
