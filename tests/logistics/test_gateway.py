"""The gateway's errors: which are tried again, and which may have entered an order."""

from __future__ import annotations

import pytest
from pydantic import SecretStr, ValidationError

from app.errors import Permanent, Transient
from app.logistics.gateway import (
    Accepted,
    Account,
    Credentials,
    LoginRefused,
    OrderRefused,
    PortalBusy,
    PortalError,
    PortalProtocolError,
    PortalTimeout,
    PortalUnavailable,
)
from events import new_id


@pytest.mark.parametrize(
    ("kind", "tried_again"),
    [
        (PortalTimeout, True),
        (PortalUnavailable, True),
        (PortalBusy, True),
        (OrderRefused, False),
        (LoginRefused, False),
        (PortalProtocolError, False),
    ],
)
def test_an_error_is_either_transient_or_permanent(kind: type[PortalError], *, tried_again: bool) -> None:
    """It tells the engine whether the call may have been made, and when it may be repeated."""
    assert (issubclass(kind, Transient), issubclass(kind, Permanent)) == (tried_again, not tried_again)
    error = kind("no", maybe_entered=True, retry_after=3.0)
    assert (error.maybe_entered, error.maybe_called, error.retry_after, str(error)) == (True, True, 3.0, "no")


def test_an_accepted_order_has_printable_words() -> None:
    """A control character or an empty text in a portal's answer is refused."""
    for wrong in ("", "T\x001", "T\n1", "x" * 201):
        with pytest.raises(ValidationError):
            Accepted(reference="r", tracking_number=wrong, city="BOGOTA (C/MARCA)")


def test_an_account_does_not_show_its_password() -> None:
    """Not even where it is printed as a whole."""
    account = Account(new_id(), "http://portal", Credentials("bot", SecretStr("swordfish")), 1.0)
    assert "swordfish" not in repr(account)
