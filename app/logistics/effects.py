"""Robot effect: enter orders into the carrier's portal, each at most once.

Each entry has a reference, made of the item and its attempt. If an earlier call may have been made (the call is in
doubt, or this item or another item of the order was begun before), the effect first asks the portal for all references
of the order. If the portal has one of them, that entry is the result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial
from uuid import UUID
from weakref import WeakKeyDictionary

from app.context import Connection, HandlerContext
from app.engine.batches.effects import lock_requested
from app.engine.batches.store import begin_items
from app.engine.domain import Call, ConcurrencyLimit, Prepared
from app.errors import NotCalled, Permanent, SetupError
from app.logistics import carriers, entries, traces, wanted
from app.logistics.carriers import PortalConfig
from app.logistics.coverage import Covered
from app.logistics.entries import Entry
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
from app.logistics.store import ROBOT_JOBS
from app.logistics.wanted import ORDER_CANCELLED, AccountChanged, Unwanted
from app.settings import settings
from events import Event
from events.robot import ErrorType, ItemCompleted, ItemRequested

ROBOTS_QUEUE = "robots"
ACCOUNT = "carrier"
"""The field of a request that names the account. A workspace has one account for each carrier."""


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
    for event, entry in zip(waiting, entries.load(connection, waiting, items, found), strict=True):
        yield Prepared(event, entry)


async def enter_order(prepared: Prepared, call: Call) -> ItemCompleted:
    """Enter one order into the portal. Returns the result's payload.

    Raises the gateway's transient errors; the engine then retries the same attempt.
    """
    entry: Entry = prepared.work
    if (refusal := entries.refusal(entry)) is not None:
        # With a usable account, the cause is the order: no retry will find it entered.
        has_account = entry.config is not None and entry.config.is_ready
        return entries.refused(entry, refusal, may_be_there=not has_account and _may_be_there(entry, call))
    city = entry.city
    if not isinstance(city, Covered) or entry.config is None:
        raise TypeError(city)
    form = entries.form(entry, city)
    try:
        accepted = await _enter_once(portal(), entry, entry.config, form, call)
    except Unwanted as error:
        return entries.refused(entry, str(error), may_be_there=error.may_be_there)
    except OrderRefused as error:
        return entries.failed(entry, "portal", str(error), form)
    except LoginRefused as error:
        return entries.failed(entry, "portal", f"{error}; `carriers set {entry.config.carrier}`", form)
    except PortalProtocolError as error:
        return entries.failed(entry, "unknown", f"{error}; a retry asks the portal before it enters anything", form)
    return entries.succeeded(entry, accepted, form)


def give_up(prepared: Prepared, error: Exception) -> ItemCompleted:
    """Return the result's payload of an order whose last delivery failed with a transient error."""
    kind: ErrorType = "timeout" if isinstance(error, PortalTimeout) else "portal"
    return entries.failed(prepared.work, kind, f"{error}; a retry asks the portal before it enters anything")


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


def account(config: PortalConfig) -> Account:
    """Return the account with its decrypted password. Raises `NotCalled` if the password cannot be decrypted."""
    try:
        credentials = carriers.unsealed(config)
    except (SetupError, Permanent) as error:
        raise NotCalled(str(error)) from error
    return Account(config.id, config.portal_url or "", credentials, settings().portal_timeout)
