"""Endpoints: an account and at most two auth tokens, sealed at rest."""

from __future__ import annotations

from uuid import uuid4

import pytest
from pydantic import SecretStr

from app.context import Connection
from app.errors import Conflict, InvalidInput, NotFound
from app.messaging.endpoints import (
    Signer,
    add_endpoint,
    list_endpoints,
    retire_auth_token,
    rotate_auth_token,
    signer_of,
    switch_endpoint,
)

ACCOUNT_SID = "AC" + "0f" * 16
OLD, NEW = SecretStr("0123456789abcdef-old"), SecretStr("0123456789abcdef-new")


def test_an_auth_token_is_replaced_by_another(connection: Connection) -> None:
    """Both are accepted until the old one is retired. A third is refused until then."""
    added, token = add_endpoint(connection, ACCOUNT_SID, OLD)
    assert signer_of(connection, token.get_secret_value()) == Signer(ACCOUNT_SID, (OLD,))
    assert rotate_auth_token(connection, added.id, NEW).auth_tokens == 2
    assert signer_of(connection, token.get_secret_value()) == Signer(ACCOUNT_SID, (NEW, OLD))
    with pytest.raises(Conflict, match=r"^auth_token: .* `messages endpoints retire`"):
        rotate_auth_token(connection, added.id, SecretStr("0123456789abcdef-third"))
    assert retire_auth_token(connection, added.id).auth_tokens == 1
    assert signer_of(connection, token.get_secret_value()) == Signer(ACCOUNT_SID, (NEW,))


def test_a_disabled_or_unknown_endpoint_has_no_signer(connection: Connection) -> None:
    """Each endpoint has a token of its own, which is not stored."""
    added, token = add_endpoint(connection, ACCOUNT_SID, OLD)
    _, other = add_endpoint(connection, ACCOUNT_SID, NEW)
    assert token != other
    assert signer_of(connection, "unknown") is None
    assert not switch_endpoint(connection, added.id, enabled=False).is_enabled
    assert signer_of(connection, token.get_secret_value()) is None
    assert switch_endpoint(connection, added.id, enabled=True).is_enabled
    (stored,) = connection.execute("SELECT row_to_json(e)::text FROM messaging.endpoints e").fetchone() or ("",)
    assert not [one for one in (token, OLD) if one.get_secret_value() in stored]
    assert list_endpoints(connection)[0].id == added.id


def test_wrong_values_are_refused_by_name(connection: Connection) -> None:
    """An account or auth token that cannot be Twilio's, and an endpoint that does not exist."""
    with pytest.raises(InvalidInput, match=r"^account_sid: must be AC"):
        add_endpoint(connection, "ac" + "0" * 32, OLD)
    for wrong in ("", "short", "0123456789 abcdef", "0123456789abcdef\n"):
        with pytest.raises(InvalidInput, match=r"^auth_token: must be") as caught:
            add_endpoint(connection, ACCOUNT_SID, SecretStr(wrong))
        assert not wrong or wrong not in str(caught.value)
    assert list_endpoints(connection) == []
    unknown = r"^endpoint: .* `messages endpoints list`"
    with pytest.raises(NotFound, match=unknown):
        rotate_auth_token(connection, uuid4(), NEW)
    with pytest.raises(NotFound, match=unknown):
        retire_auth_token(connection, uuid4())
    with pytest.raises(NotFound, match=unknown):
        switch_endpoint(connection, uuid4(), enabled=True)
