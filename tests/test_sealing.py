"""Sealing: a secret can be decrypted in its own row only, and no error shows it."""

from __future__ import annotations

import base64
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from app import sealing
from app.errors import Permanent, SetupError
from app.sealing import Keyring, embedded_keyring
from app.settings import settings

TENANT, ROW = uuid4(), uuid4()
SECRET = SecretStr("pa55 wörd")
ZEROS = "A" * 43 + "="


def key(name: str) -> str:
    """Return a key in the format of the setting."""
    return f"{name}:{base64.b64encode(os.urandom(32)).decode()}"


def ring(*keys: str) -> Keyring:
    """Return a key ring."""
    return Keyring.parse(",".join(keys), source="TALLYMAN_KEYS")


@given(st.text())
def test_a_sealed_text_can_be_unsealed(text: str) -> None:
    """Any text."""
    keys = ring("k1:" + base64.b64encode(bytes(32)).decode())
    sealed = keys.seal(SecretStr(text.encode(errors="replace").decode()), TENANT, "dhl", ROW)
    assert sealed.startswith("sealed:v1:k1:")
    assert keys.unseal(sealed, TENANT, "dhl", ROW).get_secret_value() == text.encode(errors="replace").decode()


def test_two_seals_of_one_secret_differ() -> None:
    """So equal passwords cannot be recognised."""
    keys = ring(key("k1"))
    assert keys.seal(SECRET, TENANT, "dhl", ROW) != keys.seal(SECRET, TENANT, "dhl", ROW)


@pytest.mark.parametrize(
    ("tenant", "carrier", "row"), [(uuid4(), "dhl", ROW), (TENANT, "fedex", ROW), (TENANT, "dhl", uuid4())]
)
def test_a_seal_opens_in_its_own_row_alone(tenant: UUID, carrier: str, row: UUID) -> None:
    """Not in another tenant's, carrier's or row's."""
    keys = ring(key("k1"))
    with pytest.raises(Permanent, match="does not open"):
        keys.unseal(keys.seal(SECRET, TENANT, "dhl", ROW), tenant, carrier, row)


@pytest.mark.parametrize("position", [16, 30, -5])
def test_a_seal_that_was_altered_does_not_open(position: int) -> None:
    """One changed character is enough. The error shows neither secret nor seal."""
    keys = ring(key("k1"))
    sealed = list(keys.seal(SECRET, TENANT, "dhl", ROW))
    sealed[position] = "A" if sealed[position] != "A" else "B"
    with pytest.raises(Permanent, match="does not open") as caught:
        keys.unseal("".join(sealed), TENANT, "dhl", ROW)
    assert "".join(sealed)[14:] not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "text", ["sealed:v2:k1:AAAA", "plain", "", "sealed:v1:k1:", "sealed:v1:k1:A", "sealed:v1:k1:AAAA"]
)
def test_text_that_is_no_seal_is_refused(text: str) -> None:
    """With a permanent error."""
    with pytest.raises(Permanent):
        ring(key("k1")).unseal(text, TENANT, "dhl", ROW)


def test_keys_are_changed_by_putting_a_new_one_in_front() -> None:
    """The first key seals, all unseal. The error for a missing key names it and the remedy."""
    old, new = key("old"), key("new")
    sealed = ring(old).seal(SECRET, TENANT, "dhl", ROW)
    both = ring(new, old)
    assert both.unseal(sealed, TENANT, "dhl", ROW) == SECRET
    assert both.seal(SECRET, TENANT, "dhl", ROW).startswith("sealed:v1:new:")
    with pytest.raises(SetupError, match=r"'old'.*only new.*TALLYMAN_KEYS"):
        ring(new).unseal(sealed, TENANT, "dhl", ROW)


@pytest.mark.parametrize("text", ["", "k1", "k1:AAAA", f":{ZEROS}", f"k 1:{ZEROS}", f"a:{ZEROS},", "k1:" + "!" * 44])
def test_a_bad_key_is_refused_without_being_shown(text: str) -> None:
    """The error names its position and how to make one."""
    with pytest.raises(SetupError, match=r"key \d is not id:base64-of-32-bytes; make a key with: python -c") as caught:
        Keyring.parse(text, source="TALLYMAN_KEYS")
    assert not text[3:] or text[3:] not in str(caught.value)


def test_two_keys_of_one_id_are_refused() -> None:
    """The id selects the key."""
    with pytest.raises(SetupError, match="two keys have the id 'k1'"):
        ring(key("k1"), key("k1"))


def test_a_key_ring_shows_no_key() -> None:
    """In its repr."""
    assert repr(ring(key("k1"))) == "Keyring()"


def test_the_embedded_server_has_a_key_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without keys and DATABASE_URL one is created, readable by this account only."""
    for name in ("DATABASE_URL", "TALLYMAN_KEYS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TALLYMAN_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    sealed = sealing.seal(SECRET, TENANT, "dhl", ROW)
    assert stat.S_IMODE((tmp_path / "home" / "sealing.key").stat().st_mode) == 0o600
    assert embedded_keyring(tmp_path / "home").unseal(sealed, TENANT, "dhl", ROW) == SECRET
    assert sealing.unseal(sealed, TENANT, "dhl", ROW) == SECRET
    settings.cache_clear()


def test_concurrent_processes_get_the_same_key(tmp_path: Path) -> None:
    """No draft is left behind."""
    with ThreadPoolExecutor(16) as threads:
        rings = list(threads.map(lambda _: embedded_keyring(tmp_path), range(64)))
    assert len({tuple(one.keys.items()) for one in rings}) == 1
    assert [one.name for one in tmp_path.iterdir()] == ["sealing.key"]


def test_an_external_database_needs_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how to make one."""
    monkeypatch.setenv("DATABASE_URL", "postgresql:///nowhere")
    monkeypatch.setenv("TALLYMAN_KEYS", "")
    settings.cache_clear()
    with pytest.raises(SetupError, match=r"TALLYMAN_KEYS is not set.*python -c"):
        sealing.keyring()
    settings.cache_clear()


def test_an_unreadable_key_file_is_named(tmp_path: Path) -> None:
    """In the error."""
    (tmp_path / "sealing.key").write_text("garbage")
    with pytest.raises(SetupError, match=r"sealing\.key: key 1 is not"):
        embedded_keyring(tmp_path)
    (tmp_path / "blocked").write_text("")
    with pytest.raises(SetupError, match="cannot be read or made"):
        embedded_keyring(tmp_path / "blocked")
