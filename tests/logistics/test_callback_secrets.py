"""Secrets of callbacks: at most two a workspace, sealed at rest."""

from __future__ import annotations

from uuid import uuid4

import pytest
from pydantic import SecretStr

from app import standard_webhooks
from app.context import Context
from app.errors import Conflict, InvalidInput, NotFound
from app.logistics.callback_secrets import add_secret, keys_of, list_secrets, new_secret, remove_secret
from tests.helpers import factories


def test_a_secret_is_replaced_by_another(context: Context) -> None:
    """Two are valid during a rotation. A third is refused until one is removed. They are sealed at rest."""
    old, new = new_secret(), new_secret()
    first = add_secret(context, old)
    second = add_secret(context, new)
    assert keys_of(context.connection, context.tenant_id) == [standard_webhooks.key(new), standard_webhooks.key(old)]
    with pytest.raises(Conflict, match=r"^secret: .* `callbacks remove`"):
        add_secret(context, new_secret())
    assert remove_secret(context, first.id) == first
    assert list_secrets(context) == [second]
    assert keys_of(context.connection, context.tenant_id) == [standard_webhooks.key(new)]
    (stored,) = context.connection.execute("SELECT secret FROM logistics.callback_secrets").fetchone() or ("",)
    assert stored.startswith("sealed:")


def test_a_wrong_secret_is_not_added(context: Context) -> None:
    """Text that would be read as another key is refused when it is set."""
    with pytest.raises(InvalidInput, match=r"^secret: is base64url"):
        add_secret(context, SecretStr("whsec_" + "-_" * 20))
    assert list_secrets(context) == []


def test_a_secret_is_one_workspaces(context: Context) -> None:
    """Another workspace neither uses nor removes it."""
    added = add_secret(context, new_secret())
    other = Context.start(context.connection, factories.make_workspace(context.connection).id)
    assert keys_of(context.connection, other.tenant_id) == []
    with pytest.raises(NotFound, match=r"^secret: .* `callbacks list`"):
        remove_secret(other, added.id)
    assert keys_of(context.connection, uuid4()) == []
