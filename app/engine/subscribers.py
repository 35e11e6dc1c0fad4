"""Subscribers: parts of the program that receive copies of another domain's events.

An event type has one owner, whose handler applies its events, and any number of subscribers, such as an outgoing
webhook or another domain's reaction to a completed job. The commit that applies an event for its owner publishes a copy
for each subscriber. A copy has its own event type (`events.subscriptions`). Each subscriber therefore applies it once,
with its own retries and dead letters. A subscriber that needs few events says which (`interest`): the others are not
copied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.context import Connection
from app.engine.domain import Effect, Handler, Interest, Wiring
from app.errors import SetupError
from events import Event, Payload
from events.subscriptions import copy_for, subscription

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}/[a-z][a-z0-9_.-]{0,59}")


def subscriber(
    name: str,
    *,
    handlers: Mapping[type[Payload], Handler] | None = None,
    effects: Mapping[type[Payload], Effect] | None = None,
    interest: Interest | None = None,
) -> Wiring:
    """Return the wiring of a subscriber, for a domain's `Parts.wirings`.

    `name`: `domain/name`, unique in the program. `handlers`, `effects`: by the payload classes of the subscribed types.
    Their events have the type `NAME:TYPE`, and data of a subclass of the payload class. A handler gets a subject's
    sequenced events in order; an effect does not. `interest`: return the ids of the events to copy; it runs in the
    commit of the events' owner, so one cheap query; default: all events. Raises `SetupError` for an invalid name, for a
    type in both mappings, and without any type.
    """
    handled, performed = handlers or {}, effects or {}
    if not _NAME.fullmatch(name):
        raise SetupError(
            f"subscriber {name!r}: the name must be domain/name, of lower-case letters, digits and _ (the second part"
            " may also have - and .)"
        )
    if twice := [payload.type for payload in handled if payload in performed]:
        raise SetupError(f"subscriber {name}: {twice[0]} has a handler and an effect; remove one")
    if not handled and not performed:
        raise SetupError(f"subscriber {name}: it has no event type; add handlers or effects")
    by_handler = {one: subscription(name, one, sequenced=one.sequenced) for one in handled}
    by_effect = {one: subscription(name, one, sequenced=False) for one in performed}
    copied = {**by_handler, **by_effect}
    return Wiring(
        handlers={by_handler[source]: handler for source, handler in handled.items()},
        effects={by_effect[source]: effect for source, effect in performed.items()},
        subscriptions={source: (copy,) for source, copy in copied.items()},
        interests=dict.fromkeys(copied.values(), interest) if interest else {},
    )


def copies(
    connection: Connection,
    subscriptions: Sequence[type[Payload]],
    interests: Mapping[type[Payload], Interest],
    events: Sequence[Event[Any]],
) -> Iterator[Event[Any]]:
    """Yield a copy of each event for each subscription that wants it.

    `subscriptions`: those to the type of the events. `interests`: by subscription; one without an interest wants all.
    """
    for copied in subscriptions:
        interest = interests.get(copied)
        wanted = interest(connection, events) if interest else None
        yield from (copy_for(copied, event) for event in events if wanted is None or event.id in wanted)
