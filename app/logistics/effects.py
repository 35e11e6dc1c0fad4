"""Robot effect: enter orders into the carrier's portal, each at most once.

Each entry has a reference, made of the item and its attempt. If an earlier call may have been made (the call is in
doubt, or this item or another item of the order was begun before), the effect first asks the portal for all references
of the order. If the portal has one of them, that entry is the result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, assert_never
from uuid import UUID
from weakref import WeakKeyDictionary

from app.context import Connection, HandlerContext
from app.engine.batches.effects import lock_requested
from app.engine.batches.rows import ItemState
from app.engine.batches.store import begin_items
from app.engine.domain import Call, ConcurrencyLimit, Prepared
from app.errors import NotCalled, Permanent, SetupError
from app.logistics import carriers, coverage, orders, rules, traces, wanted
from app.logistics.carriers import PortalConfig
from app.logistics.coverage import Ambiguous, Covered, NotCovered
from app.logistics.gateway import (
    Accepted,
    Account,
    LoginRefused,
    OrderForm,
    OrderRefused,
    Portal,
    PortalProtocolError,
    PortalTimeout,
)
from app.logistics.http_portal import HttpPortal
from app.logistics.orders import Order
from app.logistics.store import ROBOT_JOBS
from app.logistics.traces import Traces
from app.logistics.wanted import ORDER_CANCELLED, AccountChanged, Unwanted
from app.settings import settings
from events import Event
from events.robot import ErrorType, ItemCompleted, ItemRequested

ROBOTS_QUEUE = "robots"
ACCOUNT = "carrier"
"""The field of a request that names the account. A workspace has one account for each carrier."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The data for entering one order: the order, its earlier references, the account, and the carrier's city."""

    requested: ItemRequested
    order: Order
    traces: Traces
    config: PortalConfig | None
    city: Covered | Ambiguous | NotCovered


def limits(connection: Connection, requested: Sequence[Event[ItemRequested]]) -> dict[UUID, ConcurrencyLimit]:
    """Return the concurrency limit of each request, by event id: `max_sessions` of the account, over all workers."""
    asked = {event.id: (event.tenantid, event.data.carrier) for event in requested if event.tenantid}
    configs = carriers.portal_configs(connection, sorted(set(asked.values())))
    found = {
        key: ConcurrencyLimit(carriers.limit_key(config.id), config.max_sessions) for key, config in configs.items()
    }
    return {event_id: found[key] for event_id, key in asked.items() if key in found}


def prepare(context: HandlerContext, requested: Sequence[Event[ItemRequested]]) -> Iterator[Prepared]:
    """Begin the items that still wait for this attempt, and load the data for their calls.

    Raises `Busy` while the portal may not be asked about an earlier call, and `FailingEvents` for mismatched requests.
    """
    connection = context.connection
    items, waiting = lock_requested(connection, ROBOT_JOBS, requested)
    found = traces.find(connection, [items[event.data.item_id] for event in waiting])
    traces.refuse_in_grace_period(connection, found.values())
    begin_items(connection, ROBOT_JOBS, [event.data.item_id for event in waiting])
    for event, entry in zip(waiting, _entries(connection, waiting, items, found), strict=True):
        yield Prepared(event, entry)


async def enter_order(prepared: Prepared, call: Call) -> ItemCompleted:
    """Enter one order into the portal. Returns the result's payload.

    Raises the gateway's transient errors; the engine then retries the same attempt.
    """
    entry: Entry = prepared.work
    if (refusal := _refusal(entry)) is not None:
        # With a usable account, the cause is the order: no retry will find it entered.
        has_account = entry.config is not None and entry.config.is_ready
        return _refused(entry, refusal, may_be_there=not has_account and _may_be_there(entry, call))
    city = entry.city
    if not isinstance(city, Covered) or entry.config is None:
        raise TypeError(city)
    form = _form(entry, city)
    try:
        accepted = await _enter_once(portal(), entry, entry.config, form, call)
    except Unwanted as error:
        return _refused(entry, str(error), may_be_there=error.may_be_there)
    except OrderRefused as error:
        return _failed(entry, "portal", str(error), form)
    except LoginRefused as error:
        return _failed(entry, "portal", f"{error}; `carriers set {entry.config.carrier}`", form)
    except PortalProtocolError as error:
        return _failed(entry, "unknown", f"{error}; a retry asks the portal before it enters anything", form)
    return _succeeded(entry, accepted, form)


def give_up(prepared: Prepared, error: Exception) -> ItemCompleted:
    """Return the result's payload of an order whose last delivery failed with a transient error."""
    kind: ErrorType = "timeout" if isinstance(error, PortalTimeout) else "portal"
    return _failed(prepared.work, kind, f"{error}; a retry asks the portal before it enters anything")


_portals: WeakKeyDictionary[asyncio.AbstractEventLoop, HttpPortal] = WeakKeyDictionary()


def portal() -> Portal:
    """Return the gateway of the running event loop. All calls share its sessions and connections."""
    loop = asyncio.get_running_loop()
    if loop not in _portals:
        _portals[loop] = HttpPortal()
    return _portals[loop]


async def close() -> None:
    """Close the gateway of the running event loop."""
    if (gateway := _portals.pop(asyncio.get_running_loop(), None)) is not None:
        await gateway.aclose()


async def _enter_once(gateway: Portal, entry: Entry, config: PortalConfig, form: OrderForm, call: Call) -> Accepted:
    if _may_be_there(entry, call):
        config = await _current(call, config, may_be_there=True)
        found = await gateway.find(account(config), entry.traces.references)
        if found:
            # Return it also if the order was cancelled meanwhile: the carrier has the order.
            return next(iter(found.values()))
    elif entry.order.status == "cancelled":
        raise Unwanted(ORDER_CANCELLED)
    if entry.traces.elsewhere is not None:
        raise Unwanted(entry.traces.elsewhere)
    while True:
        try:
            return await gateway.enter(account(config), form, partial(_recheck, call, config))
        except AccountChanged as changed:
            config = changed.config
        except LoginRefused:
            if (current := await _current(call, config)) is config:
                raise
            config = current


async def _recheck(call: Call, config: PortalConfig) -> None:
    wanted.check(await call.still_mine(), config)


async def _current(call: Call, config: PortalConfig, *, may_be_there: bool = False) -> PortalConfig:
    """Return the current account, or `config` itself if its login is unchanged. Raises `Unwanted`."""
    try:
        wanted.check_account(await call.still_mine(), config)
    except AccountChanged as changed:
        return changed.config
    except Unwanted as error:
        raise Unwanted(str(error), may_be_there=may_be_there) from None
    return config


def _may_be_there(entry: Entry, call: Call) -> bool:
    """Whether an earlier call may have entered the order, so that the portal must be asked first."""
    return bool(call.in_doubt or call.attempt or entry.traces.may_be_there)


def _entries(
    connection: Connection,
    wanted: Sequence[Event[ItemRequested]],
    items: dict[UUID, ItemState],
    earlier: dict[UUID, Traces],
) -> Iterator[Entry]:
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


def _refusal(entry: Entry) -> str | None:
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


def account(config: PortalConfig) -> Account:
    """Return the account with its decrypted password. Raises `NotCalled` if the password cannot be decrypted."""
    try:
        credentials = carriers.unsealed(config)
    except (SetupError, Permanent) as error:
        raise NotCalled(str(error)) from error
    return Account(config.id, config.portal_url or "", credentials, settings().portal_timeout)


def _form(entry: Entry, city: Covered) -> OrderForm:
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


def _succeeded(entry: Entry, accepted: Accepted, form: OrderForm) -> ItemCompleted:
    return ItemCompleted(
        **_about(entry),
        status="success",
        tracking_number=accepted.tracking_number,
        validated_city=accepted.city,
        value_sent={**form.model_dump(mode="json"), "reference": accepted.reference},
    )


def _failed(entry: Entry, kind: ErrorType, message: str, form: OrderForm | None = None) -> ItemCompleted:
    sent = form.model_dump(mode="json") if form else None
    city = form.city if form else None
    return ItemCompleted(
        **_about(entry), status="error", error_type=kind, error_message=message, validated_city=city, value_sent=sent
    )


def _refused(entry: Entry, message: str, *, may_be_there: bool) -> ItemCompleted:
    # `validation` means that no call was made, which is wrong if an earlier call may have entered the order.
    if may_be_there:
        return _failed(
            entry, "unknown", f"{message}; an earlier call may have entered it, a retry asks the portal first"
        )
    return _failed(entry, "validation", message)


def _about(entry: Entry) -> dict[str, Any]:
    asked = entry.requested
    return {"job_id": asked.job_id, "item_id": asked.item_id, "attempt": asked.attempt}
