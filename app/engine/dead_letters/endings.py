"""Resolve or discard dead letters of effects while an object, such as an item, still waits for the outcome."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from app.context import Connection, HandlerContext
from app.engine.domain import Effect, wiring
from app.engine.queue.publish import publish_all
from app.errors import Conflict
from events import Event, Unreadable, parse_all

if TYPE_CHECKING:
    from app.engine.dead_letters.letters import DeadLetter

_NAMED = 5


def waiting(connection: Connection, letters: Sequence[DeadLetter]) -> dict[UUID, UUID]:
    """Return the ids of objects, such as items, that wait for the outcome of dead effects, by the event's id."""
    return {
        event_id: one for effect, events in _by_effect(letters) for event_id, one in _open(effect, connection, events)
    }


def end_waiting(connection: Connection, letters: Sequence[DeadLetter], action: str, why: str) -> None:
    """End the objects that wait for the outcome of letters, in the caller's transaction.

    `action` "discard": publish the events that the effects return for `why`. Any other action changes nothing and
    raises `Conflict` if an object still waits, because the object needs a result.
    """
    if action == "discard":
        context = HandlerContext.begin(connection)
        for effect, events in _by_effect(letters):
            if effect.discard is not None:
                publish_all(connection, effect.discard(context, events, why))
    elif found := waiting(connection, letters):
        named = ", ".join(str(one) for one in list(found.values())[:_NAMED])
        raise Conflict(
            f"dead letters: {len(found)} of them are requests whose item still waits for a result: {named};"
            " record it with `jobs record ITEM`, or `dead resolve --as-done`, or discard the letter"
        )


def _open(effect: Effect, connection: Connection, events: Sequence[Event[Any]]) -> Iterator[tuple[UUID, UUID]]:
    if effect.open_ is not None:
        yield from effect.open_(connection, events).items()


def _by_effect(letters: Sequence[DeadLetter]) -> Iterator[tuple[Effect, list[Event[Any]]]]:
    read = [
        event for event in parse_all([letter.event_data for letter in letters]) if not isinstance(event, Unreadable)
    ]
    for payload, effect in wiring().effects.items():
        if events := [event for event in read if type(event.data) is payload]:
            yield effect, events
