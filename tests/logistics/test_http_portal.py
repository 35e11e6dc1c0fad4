"""The gateway to portals over HTTP: entries, lookups, and the error for each failure."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from app.errors import Permanent, Transient
from app.logistics.gateway import (
    Account,
    Credentials,
    LoginRefused,
    OrderForm,
    OrderRefused,
    PortalBusy,
    PortalError,
    PortalProtocolError,
    PortalTimeout,
    PortalUnavailable,
)
from app.logistics.gateway import Portal as AnyPortal
from app.logistics.http_portal import HttpPortal
from app.simulators.portal import Behaviour, Portal, Rule, serve
from tests.helpers.order_forms import form

PATIENCE_S = 0.2
"""The limit of a call that will not be answered."""


@pytest.fixture(scope="module")
def running_portal() -> Iterator[Portal]:
    """One portal for all tests of the module."""
    with serve() as portal:
        yield portal


@pytest.fixture
def portal(running_portal: Portal) -> Portal:
    """A portal without entries."""
    running_portal.start_over()
    return running_portal


@pytest.fixture
async def gateway() -> AsyncIterator[HttpPortal]:
    """A gateway."""
    gateway = HttpPortal()
    yield gateway
    await gateway.aclose()


@pytest.fixture
def account(portal: Portal) -> Account:
    """An account that the portal knows."""
    return Account(uuid4(), portal.url, Credentials("demo", SecretStr("demo-password")), timeout=5)


@pytest.fixture
def hasty(account: Account) -> Account:
    """The account with a short time limit."""
    return replace(account, timeout=PATIENCE_S)


async def failure(gateway: HttpPortal, account: Account, order: OrderForm | None = None) -> PortalError:
    """Enter an order that must fail. Returns the error."""
    with pytest.raises(PortalError) as caught:
        async with asyncio.timeout(3):
            await gateway.enter(account, order or form())
    return caught.value


async def test_an_order_is_entered_with_all_fields(gateway: HttpPortal, account: Account, portal: Portal) -> None:
    """The portal's tracking number and city are returned."""
    sent = form(recipient_phone="+573001112233", collect_on_delivery_cents=100)
    accepted = await gateway.enter(account, sent)
    (entry,) = portal.record.entries
    assert entry.form.model_dump() == sent.model_dump()
    assert (accepted.reference, accepted.tracking_number, accepted.city) == ("r1", entry.tracking_number, sent.city)


async def test_the_gateway_is_a_portal_that_can_be_asked(gateway: HttpPortal) -> None:
    """It implements the protocol."""
    portal: AnyPortal = gateway
    assert portal.can_be_asked


async def test_many_calls_share_one_login(gateway: HttpPortal, account: Account, portal: Portal) -> None:
    """Twenty concurrent calls and later ones use one session."""
    await asyncio.gather(*(gateway.enter(account, form(f"r{n}")) for n in range(20)))
    await gateway.find(account, ["r1"])
    assert (portal.record.logins, len(portal.record.entries)) == (1, 20)


async def test_an_expired_session_is_renewed(gateway: HttpPortal, account: Account, portal: Portal) -> None:
    """The order is entered once."""
    portal.change(session_uses=1)
    for n in range(3):
        await gateway.enter(account, form(f"r{n}"))
    assert await gateway.find(account, ["r0"])
    record = portal.record.summary()
    assert (record.logins, record.accepted, record.duplicates) == (4, 3, [])


async def test_concurrent_calls_share_the_renewal_of_a_session(gateway: HttpPortal) -> None:
    """Twenty calls open one new session."""
    now = [1_000.0]
    with serve(Behaviour(session_lifetime_s=60), clock=lambda: now[0]) as portal:
        account = Account(uuid4(), portal.url, Credentials("demo", SecretStr("demo-password")), timeout=5)
        await gateway.find(account, ["r1"])
        now[0] += 60
        await asyncio.gather(*(gateway.enter(account, form(f"r{n}")) for n in range(20)))
        assert (portal.record.logins, len(portal.record.entries)) == (2, 20)


async def test_a_session_that_is_refused_twice_is_an_error(
    gateway: HttpPortal, account: Account, portal: Portal
) -> None:
    """It is not renewed again, and nothing was entered."""
    portal.change(session_lifetime_s=0)
    error = await failure(gateway, account)
    assert isinstance(error, PortalUnavailable)
    assert not error.maybe_entered
    assert (portal.record.logins, len(portal.record.entries)) == (2, 0)


async def test_a_wrong_password_is_tried_once_for_all_who_wait(
    gateway: HttpPortal, account: Account, portal: Portal
) -> None:
    """Of twenty calls one logs in, so that the account is not locked. All fail."""
    wrong = replace(account, credentials=Credentials("demo", SecretStr("wrong")))
    errors = await asyncio.gather(*(failure(gateway, wrong, form(f"r{n}")) for n in range(20)))
    assert {type(error) for error in errors} == {LoginRefused}
    assert portal.record.wrong_logins == 1


async def test_new_credentials_count_at_once(gateway: HttpPortal, account: Account, portal: Portal) -> None:
    """No order is entered under the old username's session."""
    portal.change(accounts={"demo": "demo-password", "new": "new-password"})
    await gateway.enter(account, form("r1"))
    await gateway.enter(replace(account, credentials=Credentials("new", SecretStr("new-password"))), form("r2"))
    assert [entry.account for entry in portal.record.entries] == ["demo", "new"]


async def test_a_refusal_has_the_portals_reason(gateway: HttpPortal, account: Account, portal: Portal) -> None:
    """Without control characters, cut to 500."""
    reason = "not there\x00" + "x" * 1_000
    portal.change(rules=[Rule(field="city", contains="BOGOTA", then="refuse", message=reason)])
    error = await failure(gateway, account)
    assert isinstance(error, OrderRefused)
    assert isinstance(error, Permanent)
    assert str(error) == ("not there " + "x" * 1_000)[:500]
    assert not error.maybe_entered


@pytest.mark.parametrize(
    ("behaviour", "kind", "was_entered"),
    [
        ({"timeout_rate": 1}, PortalTimeout, False),
        ({"lost_answer_rate": 1, "lost_answer": "hold"}, PortalTimeout, True),
        ({"rules": [{"field": "city", "contains": "BOGOTA", "then": "drip"}]}, PortalTimeout, False),
        ({"error_rate": 1}, PortalUnavailable, False),
        ({"lost_answer_rate": 1}, PortalUnavailable, True),
        ({"rules": [{"field": "city", "contains": "BOGOTA", "then": "garble"}]}, PortalProtocolError, True),
    ],
)
async def test_after_a_failure_in_doubt_the_portal_can_be_asked(
    gateway: HttpPortal,
    hasty: Account,
    portal: Portal,
    behaviour: dict[str, Any],
    kind: type[PortalError],
    was_entered: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """The error tells whether the order may have been entered, and a lookup finds it."""
    account = replace(hasty, timeout=5)
    assert await gateway.find(account, ["r1"]) == {}
    portal.change(**behaviour)
    error = await failure(gateway, hasty)
    assert type(error) is kind
    assert error.maybe_entered
    found = await gateway.find(account, ["r1"])
    assert ("r1" in found) == was_entered == bool(portal.record.entries)


async def test_an_endless_answer_is_cut(gateway: HttpPortal, account: Account, portal: Portal) -> None:
    """After a mebibyte. The order may have been entered."""
    portal.change(rules=[Rule(field="city", contains="BOGOTA", then="flood")])
    error = await failure(gateway, account)
    assert isinstance(error, PortalProtocolError)
    assert str(error) == "the portal: the answer is larger than 1048576 bytes"
    assert error.maybe_entered
    # What left the portal and was not read stands in the buffers of both sockets: some megabytes at most.
    assert 1 << 20 <= portal.record.flooded < 32 << 20
    assert list(await gateway.find(account, ["r1"])) == ["r1"]


async def test_a_login_without_an_answer_enters_nothing(gateway: HttpPortal, hasty: Account, portal: Portal) -> None:
    """The error tells so."""
    portal.change(latency_ms=30_000)
    error = await failure(gateway, hasty)
    assert isinstance(error, PortalTimeout)
    assert not error.maybe_entered
    with pytest.raises(PortalTimeout) as caught:
        await gateway.find(hasty, ["r1"])
    assert not caught.value.maybe_entered


async def test_a_slow_login_is_waited_for_once(gateway: HttpPortal, hasty: Account, portal: Portal) -> None:
    """Twenty calls wait for one login's time limit together."""
    portal.change(latency_ms=30_000)
    began = time.monotonic()
    errors = await asyncio.gather(*(failure(gateway, hasty, form(f"r{n}")) for n in range(20)))
    assert time.monotonic() - began < 4 * PATIENCE_S
    assert {type(error) for error in errors} == {PortalTimeout}


async def test_a_cancelled_call_does_not_cancel_the_shared_login(
    gateway: HttpPortal, account: Account, portal: Portal
) -> None:
    """The other calls use it."""
    portal.change(latency_ms=50)
    first, second = (asyncio.create_task(gateway.enter(account, form(f"r{n}"))) for n in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).reference == "r1"
    assert first.cancelled()
    assert portal.record.logins == 1


async def test_closing_cancels_a_login(account: Account, portal: Portal) -> None:
    """No call is left."""
    portal.change(latency_ms=30_000)
    gateway = HttpPortal()
    call = asyncio.create_task(gateway.enter(account, form()))
    await asyncio.sleep(0)
    await gateway.aclose()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_refused_connection_entered_nothing(gateway: HttpPortal, account: Account) -> None:
    """It is a transient error."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    error = await failure(gateway, replace(account, base_url=address))
    assert isinstance(error, PortalUnavailable)
    assert not error.maybe_entered


async def test_maintenance_is_transient(gateway: HttpPortal, account: Account, portal: Portal) -> None:
    """At the login nothing was entered; at a lookup there is no answer."""
    portal.change(is_down=True)
    error = await failure(gateway, account)
    assert isinstance(error, PortalUnavailable)
    assert isinstance(error, Transient)
    assert not error.maybe_entered
    with pytest.raises(PortalUnavailable):
        await gateway.find(account, ["r1"])


async def test_too_many_sessions_are_transient(gateway: HttpPortal, account: Account, portal: Portal) -> None:
    """The call entered nothing."""
    portal.change(max_sessions=1, latency_ms=50)
    outcomes = await asyncio.gather(*(gateway.enter(account, form(f"r{n}")) for n in range(3)), return_exceptions=True)
    busy = [outcome for outcome in outcomes if isinstance(outcome, PortalBusy)]
    assert (len(busy), len(portal.record.entries)) == (2, 1)
    assert not any(error.maybe_entered for error in busy)


@pytest.mark.parametrize("path", ["/record", "#"])
async def test_an_answer_of_another_server_is_permanent(gateway: HttpPortal, account: Account, path: str) -> None:
    """No portal answers so."""
    error = await failure(gateway, replace(account, base_url=account.base_url + path))
    assert isinstance(error, PortalProtocolError)
    assert isinstance(error, Permanent)


@pytest.mark.parametrize("address", ["", "portal.example", "ftp://127.0.0.1", "http://127.0.0.1:x"])
async def test_a_bad_address_is_permanent(gateway: HttpPortal, account: Account, address: str) -> None:
    """Nothing was entered."""
    error = await failure(gateway, replace(account, base_url=address))
    assert isinstance(error, PortalProtocolError)
    assert not error.maybe_entered


async def test_a_list_of_any_length_can_be_looked_up(gateway: HttpPortal, account: Account, portal: Portal) -> None:
    """In portions. Unknown references are left out, and an empty list makes no request."""
    assert await gateway.find(account, []) == {}
    assert portal.record.logins == 0
    known = [f"{n:040d}" for n in range(0, 250, 10)]
    await asyncio.gather(*(gateway.enter(account, form(reference)) for reference in known))
    found = await gateway.find(account, [f"{n:040d}" for n in range(250)])
    assert list(found) == known
    assert all(found[reference].reference == reference for reference in known)


async def test_of_two_orders_with_one_reference_the_first_counts(
    gateway: HttpPortal, account: Account, portal: Portal
) -> None:
    """Its tracking number is returned."""
    first = await gateway.enter(account, form())
    await gateway.enter(account, form())
    assert await gateway.find(account, ["r1"]) == {"r1": first}
    assert portal.record.duplicates == ["r1"]


async def test_no_secret_is_shown_or_logged(
    gateway: HttpPortal, account: Account, portal: Portal, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither password nor session is in an account, an error, its stack trace or the log at any level."""
    caplog.set_level(logging.DEBUG)
    wrong = replace(account, credentials=Credentials("demo", SecretStr("pass-that-is-wrong")))
    said = [repr(account), *await _traces(gateway, wrong, account)]
    portal.change(error_rate=1)
    said += await _traces(gateway, account)
    portal.change(error_rate=0, rules=[Rule(field="city", contains="BOGOTA", then="garble")])
    said += await _traces(gateway, account)
    sessions = [door.result() for door in gateway._doors.values() if not door.exception()]  # noqa: SLF001 - what is remembered is the law
    for secret in ("demo-password", "pass-that-is-wrong", "Gracias", *sessions):
        assert not any(secret in text for text in (*said, caplog.text))


async def _traces(gateway: HttpPortal, *accounts: Account) -> list[str]:
    texts = []
    for account in accounts:
        try:
            await gateway.enter(account, form())
        except PortalError as error:
            texts.append("".join(traceback.format_exception(error)))
    return texts
