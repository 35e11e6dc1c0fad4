"""The books of a run: what is reserved, charged and overrun, by the statements that change them."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from uuid import UUID

import psycopg
import pytest

from app import database as doors
from app.collection import budget, page_ids, pages, runs
from app.collection.budget import Booked, Entry
from app.collection.runs import Run
from app.collection.settings import set_settings
from app.context import Connection
from app.simulators.marketplace import Category
from tests.conftest import Database
from tests.helpers.collecting import Desk, imbalances

CATEGORIES = ("a", "b", "c", "d")


def priced(desk: Desk, cap: int | None, *prices: int) -> tuple[Run, list[UUID]]:
    """A running run with a first page for each price, and the pages' ids."""
    names = CATEGORIES[: len(prices)]
    desk.sells(**{name: Category(price_cents=price) for name, price in zip(names, prices, strict=True)})
    run = desk.start(*names, cap_cents=cap)
    return run, [page_ids.page_id(run.id, name, "") for name in names]


def reserve(connection: Connection, ids: Sequence[UUID]) -> set[UUID]:
    """Reserve as a claim does: under the locks of runs and pages."""
    with connection.transaction():
        pages.lock(connection, ids)
        return budget.reserve(connection, ids)


def book(desk: Desk, run: Run, page: UUID, charged: int) -> Booked:
    """Settle one page's money: its charge, and the release of its reservation."""
    with desk.connection.transaction():
        locked = pages.lock(desk.connection, [page])[page]
        pages.write(desk.connection, [pages.Outcome(page, "completed", locked.attempt, charged)], [])
        return budget.book(desk.connection, [Entry(run.id, charged, locked.reserved_cents, 0, 0, 0, {})])[run.id]


# Reserving ----------------------------------------------------------------------------------------


def test_pages_are_reserved_in_the_order_given(desk: Desk) -> None:
    """Those before the first that does not fit, even if a later and cheaper one would fit."""
    run, (a, b, c) = priced(desk, 10, 6, 5, 1)
    assert reserve(desk.connection, [a, b, c]) == {a}
    assert desk.books(run.id) == (0, 6, 0)
    assert reserve(desk.connection, [c]) == {c}
    assert desk.books(run.id) == (0, 7, 0)


def test_the_last_cent_can_be_reserved(desk: Desk) -> None:
    """A price fits if it is equal to what is left."""
    run, ids = priced(desk, 11, 6, 5)
    assert reserve(desk.connection, ids) == set(ids)
    assert desk.books(run.id) == (0, 11, 0)


def test_a_page_without_a_price_always_fits(desk: Desk) -> None:
    """Also in a run without a cent left."""
    run, (a,) = priced(desk, 0, 0)
    assert reserve(desk.connection, [a]) == {a}
    assert desk.books(run.id) == (0, 0, 0)


def test_a_run_that_is_not_running_reserves_nothing(desk: Desk) -> None:
    """Whatever its cap leaves."""
    run, ids = priced(desk, 100, 6)
    runs.pause_run(desk.context, run.id, actor="test")
    assert reserve(desk.connection, ids) == set()
    assert desk.books(run.id) == (0, 0, 0)


@pytest.mark.parametrize("locks", [True, False], ids=["as a claim does", "without the lock before"])
def test_two_workers_cannot_both_reserve_the_last_cents(desk: Desk, database: Database, *, locks: bool) -> None:
    """The second waits for the first to commit, and then finds no room: the UPDATE has the condition itself."""
    run, (a, b) = priced(desk, 9, 5, 5)
    got: dict[UUID, set[UUID]] = {}
    both = threading.Barrier(2)

    def work(page: UUID) -> None:
        with doors.connect(database.url) as connection:
            connection.execute("SELECT 1")
            both.wait(10)
            if locks:
                pages.lock(connection, [page])
            got[page] = budget.reserve(connection, [page])
            connection.commit()

    threads = [threading.Thread(target=work, args=[page]) for page in (a, b)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(map(len, got.values())) == [0, 1]
    assert desk.books(run.id) == (0, 5, 0)


def test_a_budget_that_is_read_and_then_written_is_found_out(desk: Desk, database: Database) -> None:
    """The wrong version: each worker reads, decides, and writes what it has computed. One reservation is lost."""
    run, (a, b) = priced(desk, 9, 5, 5)
    both = threading.Barrier(2)

    def work(page: UUID) -> None:
        with doors.connect(database.url) as connection:
            row = connection.execute("SELECT reserved_cost_cents FROM collection.collection_runs").fetchone()
            assert row is not None
            both.wait(10)
            connection.execute("UPDATE collection.collection_runs SET reserved_cost_cents = %s", [row[0] + 5])
            statement = "UPDATE collection.collection_pages SET status = 'processing', reserved_cents = 5 WHERE id = %s"
            connection.execute(statement, [page])
            connection.commit()

    threads = [threading.Thread(target=work, args=[page]) for page in (a, b)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert imbalances(desk.connection) != []
    statement = "UPDATE collection.collection_pages SET status = 'pending', reserved_cents = 0 WHERE id = %s"
    desk.connection.execute(statement, [a])
    assert desk.books(run.id) == (0, 5, 0)


def test_the_table_itself_refuses_to_exceed_the_cap(desk: Desk) -> None:
    """A statement that forgets the condition fails."""
    run, _ = priced(desk, 9, 5)
    with pytest.raises(psycopg.errors.CheckViolation):
        desk.connection.execute(
            "UPDATE collection.collection_runs SET reserved_cost_cents = 10 WHERE id = %s", [run.id]
        )


# Booking ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("charged", "expected"),
    [
        pytest.param(5, (5, 4, 0), id="as reserved"),
        pytest.param(2, (2, 4, 0), id="lower"),
        pytest.param(0, (0, 4, 0), id="nothing"),
        pytest.param(8, (8, 4, 0), id="higher, and it just fits"),
        pytest.param(9, (8, 4, 1), id="higher by a cent than fits"),
        pytest.param(30, (8, 4, 22), id="much higher"),
    ],
)
def test_a_charge_is_booked_as_far_as_it_fits(desk: Desk, charged: int, expected: tuple[int, int, int]) -> None:
    """The page's own reservation is released, the other page's stays, and the rest is the overrun."""
    run, (a, b) = priced(desk, 12, 5, 4)
    reserve(desk.connection, [a, b])
    book(desk, run, a, charged)
    assert desk.books(run.id) == expected


def test_an_overrun_is_booked_as_soon_as_it_fits(desk: Desk) -> None:
    """A lower charge of another page leaves room for it."""
    run, (a, b) = priced(desk, 12, 5, 4)
    reserve(desk.connection, [a, b])
    book(desk, run, a, 9)
    book(desk, run, b, 1)
    assert desk.books(run.id) == (10, 0, 0)


def test_the_end_does_not_depend_on_the_order(desk: Desk) -> None:
    """Each order of the same charges comes to the same books."""
    ends = set()
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
        run, ids = priced(desk, 15, 5, 5, 5)
        reserve(desk.connection, ids)
        for n in order:
            book(desk, run, ids[n], (9, 1, 6)[n])
        ends.add(desk.books(run.id))
        runs.cancel_run(desk.context, run.id, actor="test")
    assert ends == {(15, 0, 1)}


def test_no_cent_is_lost_in_any_history(desk: Desk) -> None:
    """After each step: actual + reserved ≤ cap, and actual + overrun is the sum of all charges."""
    dice = random.Random(10)
    for _ in range(15):
        cap = dice.randrange(40)
        run, ids = priced(desk, cap, *(dice.randrange(15) for _ in CATEGORIES))
        charged, begun = 0, list[UUID]()
        while ids or begun:
            if ids and dice.random() < 0.5:
                begun += reserve(desk.connection, [page := ids.pop()]) & {page}
            elif begun:
                charged += (cents := dice.randrange(25))
                book(desk, run, begun.pop(dice.randrange(len(begun))), cents)
            spent, reserved, overrun = desk.books(run.id)
            assert spent + reserved <= cap
            assert spent + overrun == charged
            assert not overrun or spent + reserved == cap
        runs.cancel_run(desk.context, run.id, actor="test")


# The warning --------------------------------------------------------------------------------------


def test_the_entry_that_crosses_the_line_must_warn(desk: Desk) -> None:
    """At 80 of 100 by default, or at the organisation's own percentage."""
    run, (a, b) = priced(desk, 10, 5, 5)
    reserve(desk.connection, [a, b])
    assert not book(desk, run, a, 7).must_warn
    assert book(desk, run, b, 1).must_warn
    runs.cancel_run(desk.context, run.id, actor="test")
    set_settings(desk.context, actor="test", soft_warning_percent=50)
    run, (a,) = priced(desk, 10, 5)
    reserve(desk.connection, [a])
    assert book(desk, run, a, 5).must_warn


# A cap that is lowered ----------------------------------------------------------------------------


def test_a_lowered_cap_follows_as_reservations_are_released(desk: Desk) -> None:
    """It cannot fall below what is spent and reserved at once."""
    set_settings(desk.context, actor="test", budget_cap_cents=100)
    run, (a, b) = priced(desk, None, 5, 4)
    reserve(desk.connection, [a, b])
    set_settings(desk.context, actor="test", budget_cap_cents=3)
    assert desk.run(run.id).budget_cap_cents == 9
    book(desk, run, a, 2)
    assert desk.run(run.id).budget_cap_cents == 6
    book(desk, run, b, 0)
    assert desk.run(run.id).budget_cap_cents == 3


def test_a_cap_of_its_own_does_not_follow(desk: Desk) -> None:
    """The organisation's settings do not concern it."""
    set_settings(desk.context, actor="test", budget_cap_cents=3)
    run, (a,) = priced(desk, 100, 5)
    reserve(desk.connection, [a])
    book(desk, run, a, 5)
    assert desk.run(run.id).budget_cap_cents == 100
