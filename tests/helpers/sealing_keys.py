"""Passwords that workers cannot unseal."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from app.context import Connection
from app.logistics import carriers
from app.settings import settings
from tests.helpers.shops import Shop

WRONG_KEY = "test:" + "A" * 43 + "="


def lose_the_key(connection: Connection, monkeypatch: pytest.MonkeyPatch, shop: Shop) -> None:
    """Seal a shop's password with a key that the workers do not have."""
    right = settings().keys
    assert right is not None
    monkeypatch.setenv("TALLYMAN_KEYS", WRONG_KEY)
    settings.cache_clear()
    carriers.set_carrier(shop.context, "coordinadora", password=SecretStr("demo-password"))
    monkeypatch.setenv("TALLYMAN_KEYS", right.get_secret_value())
    settings.cache_clear()


def find_the_key(shop: Shop) -> None:
    """Seal the password with the right key again."""
    carriers.set_carrier(shop.context, "coordinadora", password=SecretStr("demo-password"))
