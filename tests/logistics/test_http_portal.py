"""The way to a portal over HTTP: what is entered, what is known of it, and what each failure says."""

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

PATIENCE_S = 0.2
"""The limit of a call that will not be answered."""


@pytest.fixture(scope="module")
def running_portal() -> Iterator[Portal]:
    """One portal for the module: stopping one takes a fifth of a second."""
    with serve() as portal:
        yield portal


@pytest.fixture
def portal(running_portal: Portal) -> Portal:
    """A portal with empty books that does what it is asked."""
    running_portal.start_over()
    return running_portal


@pytest.fixture
async def gateway() -> AsyncIterator[HttpPortal]:
    """The way there."""
    gateway = HttpPortal()
    yield gateway
    await gateway.aclose()


@pytest.fixture
def account(portal: Portal) -> Account:
    """An account that the portal knows."""
    return Account(uuid4(), portal.url, Credentials("demo", SecretStr("demo-password")), timeout=5)


@pytest.fixture
def hasty(account: Account) -> Account:
    """The same account, with a limit that is soon over."""
    return replace(account, timeout=PATIENCE_S)


def form(reference: str = "r1", **fields: Any) -> OrderForm:
    """An order form; each reference is an order of its own."""
    order = {
        "reference": reference,
        "recipient_name": "Ana Ruiz",
        "recipient_document": f"document of {reference}",
        "address": "Calle 1 # 2-3",
        "city": "BOGOTA (C/MARCA)",
        "units": 1,
        "weight_kg": 1.5,
        "declared_value_cents": 50_000_00,
        "collect_on_delivery_cents": 0,
    }
    return OrderForm.model_validate(order | fields)


async def failure(gateway: HttpPortal, account: Account, order: OrderForm | None = None) -> PortalError:
    """Enter an order, which must fail, and within its limits; gives how."""
    with pytest.raises(PortalError) as caught:
        async with asyncio.timeout(3):
            await gateway.enter(account, order or form())
    return caught.value


async def test_an_order_is_entered_with_all_that_it_says(gateway: HttpPortal, account: Account, portal: Portal) -> None:
    """The portal receives the form as it is, and its tracking number and city come back."""
    sent = form(recipient_phone="+573001112233", collect_on_delivery_cents=100)
    accepted = await gateway.enter(account, sent)
    (entry,) = portal.record.entries
    assert entry.form.model_dump() == sent.model_dump()
    assert (accepted.reference, accepted.tracking_number, accepted.city) == ("r1", entry.tracking_number, sent.city)


async def test_the_gateway_is_a_portal_that_can_be_asked(gateway: HttpPortal) -> None:
    """What speaks HTTP fulfils the protocol, and its orders in doubt need no person."""
    portal: AnyPortal = gateway
    assert portal.can_be_asked


async def test_many_calls_share_one_login(gateway: HttpPortal, account: Account, portal: Portal) -> None:
    """Twenty calls at once log in once, and those that follow use the same session."""
    await asyncio.gather(*(gateway.enter(account, form(f"r{n}")) for n in range(20)))
    await gateway.find(account, ["r1"])
    assert (portal.record.logins, len(portal.record.entries)) == (1, 20)


async def test_an_expired_session_is_renewed(gateway: HttpPortal, account: Account, portal: Portal) -> None:
    """A session that ended is opened anew and the order entered, once."""
    portal.change(session_uses=1)
    for n in range(3):
        await gateway.enter(account, form(f"r{n}"))
    assert await gateway.find(account, ["r0"])
    record = portal.record.summary()
    assert (record.logins, record.accepted, record.duplicates) == (4, 3, [])


async def test_calls_that_meet_the_same_end_of_a_session_share_its_renewal(gateway: HttpPortal) -> None:
    """Twenty calls whose session has ended open one new session between them."""
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
    """A fresh session that the portal refuses is not renewed for ever, and certainly nothing was entered."""
    portal.change(session_lifetime_s=0)
    error = await failure(gateway, account)
    assert isinstance(error, PortalUnavailable)
    assert not error.maybe_entered
    assert (portal.record.logins, len(portal.record.entries)) == (2, 0)


async def test_a_wrong_password_is_tried_once_for_all_who_wait(
    gateway: HttpPortal, account: Account, portal: Portal
) -> None:
    """Twenty calls with a wrong password knock once, so that no account is locked; all hear that it is wrong."""
    wrong = replace(account, credentials=Credentials("demo", SecretStr("wrong")))
    errors = await asyncio.gather(*(failure(gateway, wrong, form(f"r{n}")) for n in range(20)))
    assert {type(error) for error in errors} == {LoginRefused}
    assert portal.record.wrong_logins == 1


async def test_new_credentials_count_at_once(gateway: HttpPortal, account: Account, portal: Portal) -> None:
    """An account whose username was changed does not enter orders under the session of the old one."""
    portal.change(accounts={"demo": "demo-password", "new": "new-password"})
    await gateway.enter(account, form("r1"))
    await gateway.enter(replace(account, credentials=Credentials("new", SecretStr("new-password"))), form("r2"))
    assert [entry.account for entry in portal.record.entries] == ["demo", "new"]


async def test_a_refusal_says_why_in_printable_words(gateway: HttpPortal, account: Account, portal: Portal) -> None:
    """The portal's reason is handed on, without control characters and cut to 500."""
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
    """Where an order may have been entered the error says so, and asking for its reference tells whether it was."""
    account = replace(hasty, timeout=5)
    assert await gateway.find(account, ["r1"]) == {}
    portal.change(**behaviour)
    error = await failure(gateway, hasty)
    assert type(error) is kind
    assert error.maybe_entered
    found = await gateway.find(account, ["r1"])
    assert ("r1" in found) == was_entered == bool(portal.record.entries)


async def test_an_answer_without_end_is_not_read(gateway: HttpPortal, account: Account, portal: Portal) -> None:
    """A mebibyte of it is read and no more; the order may have been entered, so the portal can be asked."""
    portal.change(rules=[Rule(field="city", contains="BOGOTA", then="flood")])
    error = await failure(gateway, account)
    assert isinstance(error, PortalProtocolError)
    assert str(error) == "the portal: the answer is larger than 1048576 bytes"
    assert error.maybe_entered
    # What left the portal and was not read stands in the buffers of both sockets: some megabytes at most.
    assert 1 << 20 <= portal.record.flooded < 32 << 20
    assert list(await gateway.find(account, ["r1"])) == ["r1"]


async def test_a_login_without_an_answer_enters_nothing(gateway: HttpPortal, hasty: Account, portal: Portal) -> None:
    """A call that cannot enter an order never says that it may have."""
    portal.change(latency_ms=30_000)
    error = await failure(gateway, hasty)
    assert isinstance(error, PortalTimeout)
    assert not error.maybe_entered
    with pytest.raises(PortalTimeout) as caught:
        await gateway.find(hasty, ["r1"])
    assert not caught.value.maybe_entered


async def test_a_slow_login_is_waited_for_once(gateway: HttpPortal, hasty: Account, portal: Portal) -> None:
    """Twenty calls that wait for one login which times out wait for its limit together, not one after another."""
    portal.change(latency_ms=30_000)
    began = time.monotonic()
    errors = await asyncio.gather(*(failure(gateway, hasty, form(f"r{n}")) for n in range(20)))
    assert time.monotonic() - began < 4 * PATIENCE_S
    assert {type(error) for error in errors} == {PortalTimeout}


async def test_who_is_cancelled_does_not_take_the_login_along(
    gateway: HttpPortal, account: Account, portal: Portal
) -> None:
    """The call that began the login may be cancelled: the others get in, with that same login."""
    portal.change(latency_ms=50)
    first, second = (asyncio.create_task(gateway.enter(account, form(f"r{n}"))) for n in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).reference == "r1"
    assert first.cancelled()
    assert portal.record.logins == 1


async def test_closing_breaks_a_login_off(account: Account, portal: Portal) -> None:
    """A gateway that closes leaves no call behind."""
    portal.change(latency_ms=30_000)
    gateway = HttpPortal()
    call = asyncio.create_task(gateway.enter(account, form()))
    await asyncio.sleep(0)
    await gateway.aclose()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_nobody_there_means_nothing_entered(gateway: HttpPortal, account: Account) -> None:
    """Where no connection comes about it is certain that nothing was entered, and worth another try."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    error = await failure(gateway, replace(account, base_url=address))
    assert isinstance(error, PortalUnavailable)
    assert not error.maybe_entered


async def test_a_portal_that_is_down_is_worth_another_try(
    gateway: HttpPortal, account: Account, portal: Portal
) -> None:
    """Maintenance is transient; met at the login, it entered nothing; met when asking, it is no answer."""
    portal.change(is_down=True)
    error = await failure(gateway, account)
    assert isinstance(error, PortalUnavailable)
    assert isinstance(error, Transient)
    assert not error.maybe_entered
    with pytest.raises(PortalUnavailable):
        await gateway.find(account, ["r1"])


async def test_too_many_sessions_are_worth_another_try(gateway: HttpPortal, account: Account, portal: Portal) -> None:
    """A call that is turned away for being one too many entered nothing."""
    portal.change(max_sessions=1, latency_ms=50)
    outcomes = await asyncio.gather(*(gateway.enter(account, form(f"r{n}")) for n in range(3)), return_exceptions=True)
    busy = [outcome for outcome in outcomes if isinstance(outcome, PortalBusy)]
    assert (len(busy), len(portal.record.entries)) == (2, 1)
    assert not any(error.maybe_entered for error in busy)


@pytest.mark.parametrize("path", ["/record", "#"])
async def test_what_is_no_portal_is_not_tried_again(gateway: HttpPortal, account: Account, path: str) -> None:
    """An answer that no portal gives is permanent."""
    error = await failure(gateway, replace(account, base_url=account.base_url + path))
    assert isinstance(error, PortalProtocolError)
    assert isinstance(error, Permanent)


@pytest.mark.parametrize("address", ["", "portal.example", "ftp://127.0.0.1", "http://127.0.0.1:x"])
async def test_what_is_no_address_is_not_tried_again(gateway: HttpPortal, account: Account, address: str) -> None:
    """An address that cannot be called is permanent, and nothing was entered."""
    error = await failure(gateway, replace(account, base_url=address))
    assert isinstance(error, PortalProtocolError)
    assert not error.maybe_entered


async def test_a_list_of_any_length_can_be_looked_up(gateway: HttpPortal, account: Account, portal: Portal) -> None:
    """References are asked for in portions; the unknown are left out; nobody is asked about nothing."""
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
    """A reference that was entered twice has the tracking number of the first."""
    first = await gateway.enter(account, form())
    await gateway.enter(account, form())
    assert await gateway.find(account, ["r1"]) == {"r1": first}
    assert portal.record.duplicates == ["r1"]


async def test_no_secret_is_said_or_logged(
    gateway: HttpPortal, account: Account, portal: Portal, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the password nor a session stands in an account, an error, its stack trace or a log of any level."""
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
