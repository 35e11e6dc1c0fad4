"""`messages endpoints`: add, rotate, retire, disable; no command prints an auth token."""

from __future__ import annotations

import pytest

from app.context import Connection
from app.messaging.endpoints import signer_of
from app.settings import settings
from tests.commands.conftest import Run

ACCOUNT_SID = "AC" + "0f" * 16
OLD, NEW = "0123456789abcdef-old", "0123456789abcdef-new"


def test_an_endpoint_from_its_url_to_its_end(run: Run, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """The URL is printed once, with the public URL. Each command prints the endpoint."""
    monkeypatch.setenv("TALLYMAN_PUBLIC_URL", "https://hooks.example.com/in")
    settings.cache_clear()
    added = run("messages", "endpoints", "add", ACCOUNT_SID, "--auth-token-stdin", "--json", stdin=OLD)
    (made,) = added.rows
    base, _, token = made["url"].rpartition("/")
    assert base == "https://hooks.example.com/in/webhooks/twilio"
    rotated = run("messages", "endpoints", "rotate", made["id"], "--auth-token-stdin", "--json", stdin=NEW)
    assert rotated.rows[0]["auth_tokens"] == 2
    third = run("messages", "endpoints", "rotate", made["id"], "--auth-token-stdin", stdin=NEW)
    assert (third.code, "messages endpoints retire" in third.err) == (2, True)
    retired = run("messages", "endpoints", "retire", made["id"], "--json")
    signer = signer_of(connection, token)
    assert signer is not None
    assert [one.get_secret_value() for one in signer.auth_tokens] == [NEW]
    disabled = run("messages", "endpoints", "disable", made["id"], "--json")
    assert run("messages", "endpoints", "list", "--json").rows == disabled.rows
    assert signer_of(connection, token) is None
    assert run("messages", "endpoints", "enable", made["id"], "--json").rows[0]["is_enabled"]
    printed = "".join(one.out + one.err for one in (added, rotated, third, retired, disabled))
    assert not [word for word in (OLD, NEW, "sealed:") if word in printed]
