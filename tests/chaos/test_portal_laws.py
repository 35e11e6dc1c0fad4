"""The laws of the portals' books and of cancelled orders, and late calls of zombies."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest

from app.chaos.fault_context import Freeze
from app.chaos.model import Model
from app.chaos.report import Findings
from app.context import Connection
from app.logistics.fixtures.chaos import order_laws, portal_laws
from app.logistics.fixtures.chaos.books import Books
from app.logistics.fixtures.chaos.order_laws import IN_FLIGHT
from app.logistics.fixtures.chaos.portal_laws import LONG_ENOUGH, Entry
from app.logistics.rules import request_id
from app.simulators.portal import Portal
from tests.chaos.conftest import ORDERS


@pytest.fixture
def entries(portal: Portal, model: Model) -> list[Entry]:
    """The portal's books after the run."""
    found = portal_laws.read_books(portal.url)
    assert len(found) == ORDERS
    return found


def books(
    connection: Connection, model: Model, entries: list[Entry], *freezes: Freeze, account: str = "demo"
) -> Findings:
    """Return the violations in the books if the workspace has this account."""
    ((workspace_id,),) = connection.execute("SELECT id FROM tenancy.workspaces").fetchall()
    return portal_laws.check(connection, Books(), entries, {workspace_id: account}, freezes)


def test_wrong_books_are_found(overlooking: Connection, model: Model, entries: list[Entry]) -> None:
    """An order entered twice, an unknown order, another workspace's order, too many attempts, an unknown number."""
    assert books(overlooking, model, entries) == Findings()
    first, second, third, *rest = entries
    wrong = [
        first,
        replace(first, tracking_number="70000099999"),
        replace(second, item_id=uuid4()),
        replace(third, attempt=1),
        *rest,
    ]
    found = {violation.law for violation in books(overlooking, model, wrong).violations}
    assert found == {
        "an item is entered into the portal once",
        "only items that exist are entered",
        "every attempt was requested",
        "a success has the portal's number",
    }
    ours = books(overlooking, model, entries, account="somebody else").violations
    assert {violation.law for violation in ours} == {"an item is entered in its own workspace's name"}


def test_a_cancelled_order_that_is_entered_is_found(
    overlooking: Connection, model: Model, entries: list[Entry]
) -> None:
    """Not if its call had begun. Always if no robot had begun it. A cancelled order stays cancelled."""
    item_orders = dict(overlooking.execute("SELECT id, order_id FROM logistics.robot_job_items").fetchall())
    in_flight, late, never = entries[:3]
    known = Books()
    overlooking.execute("UPDATE logistics.orders SET status = 'cancelled'")
    known.cancel(item_orders[in_flight.item_id], in_flight.began_at, is_begun=True)
    assert list(order_laws.check(overlooking, known, entries, [])) == []
    known.cancel(item_orders[late.item_id], late.began_at - IN_FLIGHT - timedelta(milliseconds=1), is_begun=True)
    known.cancel(item_orders[never.item_id], never.began_at, is_begun=False)
    overlooking.execute("UPDATE logistics.orders SET status = 'shipped' WHERE id = %s", [item_orders[late.item_id]])
    assert {one.law for one in order_laws.check(overlooking, known, entries, [])} == {
        "a cancelled order stays cancelled",
        "no call for a cancelled order begins",
        "an order that was cancelled before a robot began it is not entered",
    }
    call = frozen(late, LONG_ENOUGH)
    explained = {one.law for one in order_laws.check(overlooking, known, entries, [call])}
    assert "no call for a cancelled order begins" not in explained


def frozen(entry: Entry, lasts: timedelta, calls: frozenset[UUID] | None = None) -> Freeze:
    """Return a freeze that ended right before an entry, of a worker with the call in progress."""
    ended = entry.accepted_at - timedelta(milliseconds=50)
    own = frozenset({request_id(entry.item_id, entry.attempt)})
    return Freeze(4711, own if calls is None else calls, ended - lasts, ended)


def twice(entry: Entry, after: timedelta = timedelta(seconds=4)) -> Entry:
    """Return the books with the same order entered once more."""
    at: datetime = entry.accepted_at + after
    return replace(entry, tracking_number="70000099999", accepted_at=at)


def test_a_zombies_late_call_is_told_apart_from_a_violation(
    overlooking: Connection, model: Model, entries: list[Entry]
) -> None:
    """Only if the freeze was long enough, the worker had this call, and the entry came right after it."""
    again = twice(entries[0])
    doubled = [*entries, again]
    late = books(overlooking, model, doubled, frozen(again, LONG_ENOUGH))
    assert (late.violations, len(late.known_limits)) == ([], 1)
    for innocent in (
        frozen(again, LONG_ENOUGH - timedelta(seconds=0.1)),
        frozen(again, LONG_ENOUGH, calls=frozenset()),
        frozen(twice(again), LONG_ENOUGH),
    ):
        found = books(overlooking, model, doubled, innocent)
        assert (len(found.violations), found.known_limits) == (1, [])
    thrice = books(overlooking, model, [*doubled, twice(again)], frozen(again, LONG_ENOUGH))
    assert (len(thrice.violations), thrice.known_limits) == (1, [])
