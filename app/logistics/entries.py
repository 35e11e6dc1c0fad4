"""What entering an order needs, and the payloads of its results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never
from uuid import UUID

from app.context import Connection
from app.engine.batches.rows import ItemState
from app.logistics import carriers, coverage, orders, rules
from app.logistics.carriers import PortalConfig
from app.logistics.coverage import Ambiguous, Covered, NotCovered
from app.logistics.gateway import Accepted, OrderForm
from app.logistics.orders import Order
from app.logistics.traces import Traces
from events import Event
from events.robot import ErrorType, ItemCompleted, ItemRequested


@dataclass(frozen=True, slots=True)
class Entry:
    """The data for entering one order: the order, its earlier references, the account, and the carrier's city."""

    requested: ItemRequested
    order: Order
    traces: Traces
    config: PortalConfig | None
    city: Covered | Ambiguous | NotCovered


def load(
    connection: Connection,
    wanted: Sequence[Event[ItemRequested]],
    items: Mapping[UUID, ItemState],
    earlier: Mapping[UUID, Traces],
) -> Iterator[Entry]:
    """Yield the data of requests, in their order. `items`: locked. `earlier`: the traces of earlier calls, by item."""
    found = orders.orders_by_id(connection, [event.data.order_id for event in wanted])
    accounts = carriers.portal_configs(
        connection, sorted({(items[event.data.item_id].tenant_id, event.data.carrier) for event in wanted})
    )
    places: dict[str, list[tuple[str, str | None]]] = {}
    for event in wanted:
        order = found[event.data.order_id]
        places.setdefault(event.data.carrier, []).append((order.city, order.department))
    cities = {carrier: iter(coverage.find_cities(connection, carrier, some)) for carrier, some in places.items()}
    for event in wanted:
        asked, workspace_id = event.data, items[event.data.item_id].tenant_id
        config, city = accounts.get((workspace_id, asked.carrier)), next(cities[asked.carrier])
        yield Entry(asked, found[asked.order_id], earlier[asked.item_id], config, city)


def refusal(entry: Entry) -> str | None:
    """Return why an order cannot be entered without a call; None if it can."""
    config, city = entry.config, entry.city
    if config is None or not config.is_ready:
        name = entry.requested.carrier
        return f"carrier {name} is disabled or has no credentials; `carriers show {name}`"
    match city:
        case Covered():
            return None
        case Ambiguous() | NotCovered():
            return city.reason
        case _:
            assert_never(city)


def form(entry: Entry, city: Covered) -> OrderForm:
    """Return the portal's form of an order. `city`: in the carrier's spelling."""
    order = entry.order
    return OrderForm(
        reference=rules.reference(entry.requested.item_id, entry.requested.attempt),
        recipient_name=order.recipient_name,
        recipient_document=order.recipient_document,
        recipient_phone=order.recipient_phone,
        recipient_email=order.recipient_email,
        address=order.address,
        city=city.carrier_city,
        units=order.units,
        weight_kg=float(order.weight_kg),
        declared_value_cents=order.declared_value_cents,
        collect_on_delivery_cents=order.collect_on_delivery_cents,
    )


def succeeded(entry: Entry, accepted: Accepted, form: OrderForm) -> ItemCompleted:
    """Return the payload of an order that the portal accepted."""
    return ItemCompleted(
        **_about(entry),
        status="success",
        tracking_number=accepted.tracking_number,
        validated_city=accepted.city,
        value_sent={**form.model_dump(mode="json"), "reference": accepted.reference},
    )


def failed(entry: Entry, kind: ErrorType, message: str, form: OrderForm | None = None) -> ItemCompleted:
    """Return the payload of an order that was not entered, or of which it is unknown. `form`: what was sent."""
    sent = form.model_dump(mode="json") if form else None
    city = form.city if form else None
    return ItemCompleted(
        **_about(entry), status="error", error_type=kind, error_message=message, validated_city=city, value_sent=sent
    )


def refused(entry: Entry, message: str, *, may_be_there: bool) -> ItemCompleted:
    """Return the payload of an order without a call. `may_be_there`: an earlier call may have entered it."""
    # `validation` means that no call was made, which is wrong if an earlier call may have entered the order.
    if may_be_there:
        return failed(
            entry, "unknown", f"{message}; an earlier call may have entered it, a retry asks the portal first"
        )
    return failed(entry, "validation", message)


def _about(entry: Entry) -> dict[str, Any]:
    asked = entry.requested
    return {"job_id": asked.job_id, "item_id": asked.item_id, "attempt": asked.attempt}
