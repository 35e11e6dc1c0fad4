"""Sealing: encrypt passwords and API keys for the database, with AES-256-GCM.

    sealed:v1:<key id>:<base64url of nonce and ciphertext>

The ciphertext is bound to its tenant, account and row: it cannot be decrypted in another row. The account is a
carrier's name, or `marketplace:` and a marketplace's name. Keys come from TALLYMAN_KEYS. The first key encrypts, all
keys decrypt; to rotate, put a new key first. Without DATABASE_URL, the key is in `<home>/sealing.key`, which is created
once.
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


def seal(secret: SecretStr, tenant: UUID, account: str, row_id: UUID) -> str:
    """Encrypt `secret` for the row `row_id`. Returns the sealed text. Raises `SetupError` if there is no key."""
    return keyring().seal(secret, tenant, account, row_id)


def unseal(sealed: str, tenant: UUID, account: str, row_id: UUID) -> SecretStr:
    """Decrypt the result of `seal()`. Returns the secret.

    Raises `SetupError` if the key is missing, and `Permanent` if `sealed` was altered, or sealed for another tenant,
    account or row.
    """
    return keyring().unseal(sealed, tenant, account, row_id)


@dataclass(frozen=True, slots=True)
class Keyring:
    """Keys of 32 bytes, by their id. The first one encrypts."""

    keys: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def parse(cls, text: str, *, source: str) -> Keyring:
        """Parse keys as `id:base64-of-32-bytes`, comma-separated. Raises `SetupError`, whose message names `source`."""
        keys: dict[str, bytes] = {}
        for position, one in enumerate(text.split(","), start=1):
            found = _KEY.fullmatch(one.strip())
            if found is None:
                raise SetupError(f"{source}: key {position} is not id:base64-of-32-bytes; {_HOW_TO_MAKE_ONE}")
            if found["id"] in keys:
                raise SetupError(f"{source}: two keys have the id {found['id']!r}; give each its own")
            keys[found["id"]] = base64.b64decode(found["material"])
        return cls(keys)

    def seal(self, secret: SecretStr, tenant: UUID, account: str, row_id: UUID) -> str:
        """Encrypt `secret` for one row with the first key. Returns the sealed text."""
        key_id, key = next(iter(self.keys.items()))
        nonce = os.urandom(_NONCE_BYTES)
        sealed = AESGCM(key).encrypt(nonce, secret.get_secret_value().encode(), _place(tenant, account, row_id))
        return f"sealed:v1:{key_id}:{base64.urlsafe_b64encode(nonce + sealed).decode()}"

    def unseal(self, sealed: str, tenant: UUID, account: str, row_id: UUID) -> SecretStr:
        """Decrypt a sealed text of this row with the key that it names. Raises `SetupError`, `Permanent`."""
        found = _SEALED.fullmatch(sealed)
        if found is None:
            raise Permanent(f"the secret of {account} in row {row_id} is not sealed:v1; set it again")
        key = self.keys.get(found["key_id"])
        if key is None:
            raise SetupError(
                f"the secret of {account} was sealed with the key {found['key_id']!r}, and there are only"
                f" {', '.join(self.keys)}: add that key to TALLYMAN_KEYS, or set the secret again"
            )
        return self._open(key, found["body"], tenant, account, row_id)

    def _open(self, key: bytes, body: str, tenant: UUID, account: str, row_id: UUID) -> SecretStr:
        try:
            raw = base64.urlsafe_b64decode(body)
            opened = AESGCM(key).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], _place(tenant, account, row_id))
        except (InvalidTag, binascii.Error, ValueError):
            # `from None`, because the cause may contain parts of the text, which must not be logged.
            raise Permanent(
                f"the secret of {account} in row {row_id} does not open: it was altered, or sealed for another"
                " tenant, account or row, or its key's id has another key now; set it again"
            ) from None
        return SecretStr(opened.decode())


def keyring() -> Keyring:
    """Return the keys of this process. Raises `SetupError` if there are none and none may be created."""
    return _keyring(settings())


@cache
def _keyring(given: Settings) -> Keyring:
    if given.keys:
        return Keyring.parse(given.keys.get_secret_value(), source="TALLYMAN_KEYS")
    if given.database_url is not None:
        raise SetupError(f"TALLYMAN_KEYS is not set: credentials are sealed with it; {_HOW_TO_MAKE_ONE}")
    return embedded_keyring(given.home_directory())


def embedded_keyring(home: Path) -> Keyring:
    """Return the key in `<home>/sealing.key`. Creates it if it is missing; concurrent callers get the same key."""
    path = home / "sealing.key"
    try:
        if not path.exists():
            _make(path)
        return Keyring.parse(path.read_text(encoding="ascii"), source=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"{path}: the sealing key cannot be read or made: {error}") from error


def _make(path: Path) -> None:
    """Write a new key to a temporary file and link it to `path`. The first link wins; readers get complete keys."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    material = base64.b64encode(os.urandom(_KEY_BYTES)).decode()
    # mkstemp creates the file with mode 0600.
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


def _place(tenant: UUID, account: str, row_id: UUID) -> bytes:
    return f"{tenant}|{account}|{row_id}".encode()
