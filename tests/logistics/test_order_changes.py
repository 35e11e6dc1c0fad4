"""Changes of orders: one module makes them, and publishes an event with each commit."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

import pytest

import events
from app.context import Connection, Context
from app.engine.queue.publish import publish
from app.errors import InvalidInput, NotFound
from app.logistics.order_changes import OrderChange, Tracking, set_tracking_numbers, update_order, update_orders
from app.logistics.orders import get_orders, orders_by_id
from events.order import OrderUpdated
from tests.helpers import factories
from tests.helpers.order_rows import make, said
from tests.helpers.support import drain, scalar


@pytest.fixture
def other(connection: Connection) -> Context:
    """A context of another workspace."""
    return Context.start(connection, factories.make_workspace(connection).id)


def test_a_change_is_published_with_before_and_after(context: Context) -> None:
    """Only the changed fields, as JSON types."""
    (order_id,) = make(context, 1)
    order = update_order(context, order_id, city=" Tunja ", weight_kg="2.5", units=1, department="")
    assert (order.city, str(order.weight_kg), order.units, order.department) == ("Tunja", "2.500", 1, None)
    before, after = {"city": "Cali", "weight_kg": 1.0}, {"city": "Tunja", "weight_kg": 2.5}
    assert said(context.connection) == [{"order_id": str(order_id), "before": before, "after": after}]


def test_an_unchanged_order_has_no_event(context: Context) -> None:
    """Its row is not updated, also beside one that changes."""
    first, second = get_orders(context, make(context, 2))
    changes = [
        OrderChange(context.tenant_id, first.id, {"city": "Cali", "weight_kg": "1.000"}),
        OrderChange(context.tenant_id, second.id, {"city": "Tunja"}),
    ]
    with context.connection.transaction():
        assert [event.subject for event in update_orders(context, changes)] == [second.id]
    assert get_orders(context, [first.id]) == [first]


def test_a_rolled_back_change_has_no_event(context: Context) -> None:
    """Order and event are one commit."""
    (order_id,) = make(context, 1)
    with context.connection.transaction(force_rollback=True):
        update_order(context, order_id, city="Tunja")
    assert get_orders(context, [order_id])[0].city == "Cali"
    assert said(context.connection) == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"units": "0", "city": ""}, "units: must be greater than 0; city: must not be empty"),
        ({"status": "lost"}, "status: must be 'pending', 'shipped' or 'cancelled'"),
        ({"reference": "B"}, "reference: cannot be changed; recipient_name"),
        ({"workspace_id": str(uuid4())}, "workspace_id: cannot be changed"),
        ({"context": "x", "order_id": "y"}, "context: cannot be changed.*order_id: cannot be changed"),
    ],
)
def test_a_wrong_change_is_refused(context: Context, fields: dict[str, Any], words: str) -> None:
    """Every wrong field is named, and nothing is stored."""
    (order_id,) = make(context, 1)
    with pytest.raises(InvalidInput, match=words):
        update_order(context, order_id, **{"address": "Calle 2", **fields})
    assert get_orders(context, [order_id])[0].address == "Calle 1"


def test_an_order_of_another_workspace_is_not_found(context: Context, other: Context) -> None:
    """Nothing of the same list is changed either."""
    (mine,), (foreign,) = make(context, 1), make(other, 1)
    with pytest.raises(NotFound, match=str(foreign)):
        get_orders(context, [mine, foreign])
    with pytest.raises(NotFound, match=str(foreign)):
        update_order(context, foreign, city="Tunja")
    changes = [OrderChange(context.tenant_id, order_id, {"city": "Tunja"}) for order_id in (mine, foreign, uuid4())]
    with pytest.raises(NotFound, match=str(foreign)), context.connection.transaction():
        update_orders(context, changes)
    assert {order.city for order in orders_by_id(context.connection, [mine, foreign]).values()} == {"Cali"}


def test_tracking_numbers_of_many_workspaces_are_set_at_once(context: Context, other: Context) -> None:
    """In two statements, with an event for each order."""
    shipped = [
        Tracking(one.tenant_id, order_id, f"T-{order_id}") for one in (context, other) for order_id in make(one, 20)
    ]
    with context.connection.transaction():
        follow = set_tracking_numbers(context, shipped)
    assert [(event.tenantid, event.subject) for event in follow] == [
        (one.workspace_id, one.order_id) for one in shipped
    ]
    assert follow[0].data == OrderUpdated(
        order_id=shipped[0].order_id,
        before={"tracking_number": None, "status": "pending"},
        after={"tracking_number": shipped[0].tracking_number, "status": "shipped"},
    )
    found = orders_by_id(context.connection, [one.order_id for one in shipped])
    assert all(found[one.order_id].tracking_number == one.tracking_number for one in shipped)
    assert {order.status for order in found.values()} == {"shipped"}
    assert set_tracking_numbers(context, []) == []


def test_two_changes_of_one_order_are_made_in_their_order(context: Context) -> None:
    """The second starts from the result of the first. A change back is stored too."""
    (order_id,) = make(context, 1)
    changes = [OrderChange(context.tenant_id, order_id, {"city": city}) for city in ("Tunja", "Pasto", "Pasto", "Cali")]
    with context.connection.transaction():
        steps = [(event.data.before["city"], event.data.after["city"]) for event in update_orders(context, changes)]
    assert steps == [("Cali", "Tunja"), ("Tunja", "Pasto"), ("Pasto", "Cali")]
    assert get_orders(context, [order_id])[0].city == "Cali"


def because(context: Context, order_id: UUID) -> events.Event[OrderUpdated]:
    """Return an event as the cause of changes."""
    said = OrderUpdated(order_id=order_id, before={}, after={})
    return events.new(said, now=context.now, subject=uuid4(), tenant=context.tenant_id)


def test_a_change_follows_from_its_cause(context: Context) -> None:
    """Its id is derived from cause and change, so a repetition has the same id."""
    (order_id,) = make(context, 1)
    cause = because(context, order_id)
    found = []
    for _ in range(2):
        with context.connection.transaction(force_rollback=True):
            found += update_orders(context, [OrderChange(context.tenant_id, order_id, {"city": "Tunja"}, cause)])
    first, second = found
    assert (first.causationid, first.subject, first.tenantid) == (cause.id, order_id, context.tenant_id)
    assert second.id == first.id
    assert json.loads(first.json_bytes())["data"]["after"] == {"city": "Tunja"}


def test_every_change_because_of_one_event_is_an_event(context: Context) -> None:
    """Of one or two orders, together or one after the other, there and back."""
    one, two = make(context, 2)
    cause = because(context, one)

    def change(*wanted: tuple[UUID, str]) -> None:
        changes = [OrderChange(context.tenant_id, order_id, {"city": city}, cause) for order_id, city in wanted]
        with context.connection.transaction():
            publish(context.connection, *update_orders(context, changes))

    change((one, "Tunja"), (two, "Tunja"), (one, "Pasto"), (one, "Tunja"), (one, "Cali"))
    change((one, "Pasto"))
    drain(queues=["events"])
    ledger = "SELECT data->>'order_id', data->'after'->>'city' FROM engine.event_log WHERE causation_id = %s"
    assert sorted(context.connection.execute(ledger, [cause.id]).fetchall()) == sorted(
        [(str(one), city) for city in ("Tunja", "Pasto", "Tunja", "Cali", "Pasto")] + [(str(two), "Tunja")]
    )
    assert scalar(context.connection, "SELECT count(*) FROM engine.failed_jobs") == 0
