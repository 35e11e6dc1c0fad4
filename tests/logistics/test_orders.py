"""Orders: imported once, and visible to their workspace only."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from app.context import Connection, Context
from app.database import as_person, connect
from app.errors import InvalidFile, InvalidInput, NotFound
from app.logistics.order_changes import update_order
from app.logistics.orders import OrderRow, find_order, get_orders, import_orders, list_orders, orders_by_id
from tests.helpers import factories
from tests.helpers.order_rows import make, row, said
from tests.helpers.waits import LIMIT_S, until_somebody_waits


@pytest.fixture
def other(connection: Connection) -> Context:
    """A context of another workspace."""
    return Context.start(connection, factories.make_workspace(connection).id)


def test_an_import_returns_ids_in_the_files_order(context: Context) -> None:
    """Ids are time-ordered, whatever the references are."""
    done = import_orders(context, [row(name) for name in ("b", "c", "a")])
    assert (done.created, done.existing) == (3, 0)
    assert done.order_ids == sorted(done.order_ids)
    assert [order.reference for order in get_orders(context, done.order_ids)] == ["b", "c", "a"]


def test_an_order_is_read_as_it_was_imported(context: Context) -> None:
    """Every field, with defaults."""
    full = row("A", recipient_document="9", recipient_phone="+57 300", recipient_email="a@b.co", department="Valle",
               units=3, weight_kg="2.125", declared_value_cents=10**12, collect_on_delivery_cents=5)  # fmt: skip
    for expected in (full, row("B")):
        (order,) = get_orders(context, import_orders(context, [expected]).order_ids)
        assert {name: getattr(order, name) for name in OrderRow.model_fields} == expected.model_dump()
        assert (order.workspace_id, order.status, order.tracking_number) == (context.tenant_id, "pending", None)


def test_an_import_again_changes_nothing(context: Context) -> None:
    """Existing orders are counted and keep their ids. No event is published."""
    first = import_orders(context, [row("A"), row("B")])
    again = import_orders(context, [row("C"), row("B", city="Tunja"), row("A")])
    assert (again.created, again.existing) == (1, 2)
    assert again.order_ids[1:] == first.order_ids[::-1]
    assert get_orders(context, first.order_ids)[1].city == "Cali"
    assert said(context.connection) == []


def test_workspaces_have_references_of_their_own(context: Context, other: Context) -> None:
    """The same reference in two workspaces is two orders."""
    ids = {import_orders(one, [row("A")]).order_ids[0] for one in (context, other)}
    assert len(ids) == 2


def test_a_failed_import_leaves_nothing(context: Context) -> None:
    """An error in the rows undoes all of it. The next import works."""

    def rows() -> Iterator[OrderRow]:
        yield from (row(f"R-{n}") for n in range(10))
        raise InvalidFile("bad")

    with context.connection.transaction():
        with pytest.raises(InvalidFile):
            import_orders(context, rows())
        assert import_orders(context, [row("A")]).created == 1
        assert import_orders(context, [row("B")]).created == 1
    assert [order.reference for order in list_orders(context)] == ["A", "B"]


def test_two_imports_at_once_make_each_order_once(context: Context) -> None:
    """The same orders in opposite directions: the later import waits, and finds them.

    Both meet an order that a third session inserts and rolls back. If imports inserted in the order of their
    files, each would then wait for the other.
    """
    rows = [row(f"R-{n:03}") for n in range(200)]

    def take_in(rows: list[OrderRow]) -> int:
        with connect() as connection:
            return import_orders(Context.start(connection, context.tenant_id), rows).created

    with connect() as first, connect(autocommit=True) as observer, ThreadPoolExecutor(2) as threads:
        first.execute("SELECT")  # or the import would commit
        import_orders(Context.start(first, context.tenant_id), rows[100:101])
        imports = [threads.submit(take_in, part) for part in (rows, rows[::-1])]
        until_somebody_waits(observer, 2)
        first.rollback()
        assert sorted(done.result(LIMIT_S) for done in imports) == [0, 200]


def test_orders_come_in_pages(context: Context) -> None:
    """Oldest first, each once, and by status."""
    ids = make(context, 5)
    update_order(context, ids[3], status="cancelled")
    first = list_orders(context, limit=3)
    rest = list_orders(context, after=first[-1].id, limit=3)
    assert [order.id for order in first + rest] == ids
    assert [order.id for order in list_orders(context, status="cancelled")] == [ids[3]]
    for wrong in ({"status": "lost"}, {"limit": 0}, {"limit": 1001}):
        with pytest.raises(InvalidInput, match=r"status|limit"):
            list_orders(context, **wrong)


def test_an_order_is_found_by_reference_or_id(context: Context, other: Context) -> None:
    """By its workspace only."""
    (order_id,) = make(context, 1)
    assert find_order(context, "R-0").id == find_order(context, str(order_id)).id == order_id
    for wanted in ("R-0", str(order_id)):
        with pytest.raises(NotFound):
            find_order(other, wanted)


def test_a_person_sees_the_orders_of_their_workspaces(
    connection: Connection, context: Context, other: Context, workspace: Any
) -> None:
    """None of another, whatever context is claimed. Only the orders module can change one."""
    (mine,), (foreign,) = make(context, 1), make(other, 1)
    person = factories.make_member(connection, workspace, "admin")
    with as_person(connection, person):
        assert list(orders_by_id(connection, [mine, foreign])) == [mine]
        assert list_orders(other) == []
    for statement in ("UPDATE logistics.orders SET city = 'x'", "DELETE FROM logistics.orders"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), as_person(connection, person):
            connection.execute(statement)
