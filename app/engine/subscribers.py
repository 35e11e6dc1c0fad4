"""Subscribers: who else is given the events of a type, beside its owner.

An event type has one owner, whose handler applies its events, and any number of subscribers: an outgoing webhook, or
another domain's reaction to a completed job. The commit that applies an event for its owner publishes a copy of it for
each subscriber. A copy is an event of a type of its own (`events.subscriptions`), so each subscriber applies it once,
with retries and dead letters of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from app.engine.domain import Effect, Handler, Wiring
from app.errors import SetupError
from events import Event, Payload
from events.subscriptions import copy_for, subscription

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}/[a-z][a-z0-9_.-]{0,59}")


def subscriber(
    name: str,
    *,
    handlers: Mapping[type[Payload], Handler] | None = None,
    effects: Mapping[type[Payload], Effect] | None = None,
) -> Wiring:
    """The wiring of a subscriber: a domain lists it among its `Parts.wirings`.

    `name` is `domain/name`, and unique in the program. `handlers` and `effects` are keyed by the payload classes of the
    types that it subscribes to. They get events whose data are of a subclass of those, and whose type is
    `NAME:TYPE`. A handler gets a subject's sequenced events in order; an effect does not. Raises `SetupError` for a
    name that cannot be used, a type that is in both, or no type.
    """
    handled, performed = handlers or {}, effects or {}
    if not _NAME.fullmatch(name):
        raise SetupError(
            f"subscriber {name!r}: a name is domain/name, of lower-case letters, digits and _ (part two: - and . too)"
        )
    if twice := [payload.type for payload in handled if payload in performed]:
        raise SetupError(f"subscriber {name}: {twice[0]} has a handler and an effect; give it one of them")
    if not handled and not performed:
        raise SetupError(f"subscriber {name}: it subscribes to no event type; give it handlers or effects")
    by_handler = {one: subscription(name, one, sequenced=one.sequenced) for one in handled}
    by_effect = {one: subscription(name, one, sequenced=False) for one in performed}
    return Wiring(
        handlers={by_handler[source]: handler for source, handler in handled.items()},
        effects={by_effect[source]: effect for source, effect in performed.items()},
        subscriptions={source: (copied,) for source, copied in {**by_handler, **by_effect}.items()},
    )


def copies(subscriptions: Sequence[type[Payload]], events: Iterable[Event[Any]]) -> Iterator[Event[Any]]:
    """A copy of each event for each of the subscriptions to its type."""
    return (copy_for(copied, event) for copied in subscriptions for event in events)
