"""Checkups of logistics: the passwords of carriers' accounts."""

from __future__ import annotations

import base64

import pytest
from pydantic import SecretStr

from app.context import Context
from app.logistics.carriers import set_carrier
from app.settings import settings
from tests.helpers.health_fixtures import of


def test_a_password_that_cannot_be_decrypted_is_a_problem(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another key, or none. The finding names carrier and workspace, and nothing of the password."""
    set_carrier(context, "dhl", username="bot", password=SecretStr("pa55word"))
    assert of("passwords") == [("ok", "every sealed password can be decrypted")]
    monkeypatch.setenv("TALLYMAN_KEYS", "other:" + base64.b64encode(bytes(32)).decode())
    settings.cache_clear()
    ((level, what),) = of("passwords")
    assert (level, "dhl" in what, str(context.tenant_id) in what, "pa55word" in what) == ("problem", True, True, False)
    monkeypatch.delenv("TALLYMAN_KEYS")
    settings.cache_clear()
    ((level, what),) = of("passwords")
    assert (level, what.startswith("1 sealed passwords and no key")) == ("problem", True)
