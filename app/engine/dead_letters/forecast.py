"""Forecast the replay of dead letters: class each letter, and ask the other side about calls in doubt."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

import events
from app.context import Connection
from app.engine.dead_letters import awaited
from app.engine.dead_letters.letters import Dead, DeadLetter
from app.engine.delivery import ledger, reused
from app.engine.domain import Forecast, wiring
from app.engine.effects.calls import live
from app.engine.queue.envelope import QueuedEvent
from events import Event, Unreadable

Class = Literal["already_applied", "valid", "valid_after_upcast", "invalid", "in_doubt", "blocked"]
REPLAYED: tuple[Class, ...] = ("already_applied", "valid", "valid_after_upcast", "in_doubt")
"""The classes that a replay processes. Letters of other classes stay unchanged."""
_NOBODY_KNOWS = (
    "the other side cannot be asked: a replay skips it; `dead replay --again` makes the call again,"
    " `dead resolve --as-done` records its result"
)


@dataclass(frozen=True, slots=True)
class Classified:
    """A letter, its class, the reason for the class, and the changes that a replay would make."""

    letter: Dead
    class_: Class
    detail: str | None = None
    forecast: Forecast = field(default_factory=Forecast)


_BEGUN = "SELECT call_key, event_id FROM engine.calls WHERE call_key = ANY(%(keys)s) OR event_id = ANY(%(events)s)"


def ask(connection: Connection, pages: Iterable[Sequence[Dead]]) -> dict[UUID, str]:
    """Ask the other sides about calls in doubt. Returns their answers as text, by the event's id.

    A call is in doubt if it was begun and has no recorded outcome. The requests run outside any transaction, and no
    time limit applies but those of the effects. The connection must be outside a transaction.
    """
    doubts: list[Event[Any]] = []
    with connection.transaction():
        for page in pages:
            read = events.parse_all([letter.event_data for letter in page])
            doubts += _in_doubt(connection, [event for event in read if isinstance(event, Event)])
    return asyncio.run(_ask(doubts))


async def _ask(doubts: Sequence[Event[Any]]) -> dict[UUID, str]:
    by_kind: dict[type[Any], list[Event[Any]]] = {}
    for event in doubts:
        by_kind.setdefault(type(event.data), []).append(event)
    answers: dict[UUID, str] = {}
    for kind, some in by_kind.items():
        effect = wiring().effects[kind]
        if effect.ask:
            answers |= await effect.ask(some)
        if effect.close:
            await effect.close()
    return answers


def _in_doubt(connection: Connection, read: Sequence[Event[Any]]) -> list[Event[Any]]:
    """Return the events whose calls were begun and have no recorded outcome."""
    keys = wiring().call_keys(read)
    if not keys:
        return []
    begun = connection.execute(_BEGUN, {"keys": list(keys.values()), "events": list(keys)}).fetchall()
    marked = {one for mark in begun for one in mark}
    return [event for event in read if event.id in keys and not marked.isdisjoint({event.id, keys[event.id]})]


def _unasked(event: Event[Any]) -> str:
    effect = wiring().effects[type(event.data)]
    return "the replay asks the other side" if effect.can_be_asked else _NOBODY_KNOWS


def classify(connection: Connection, found: Sequence[Dead], answers: Mapping[UUID, str]) -> list[Classified]:
    """Return the class of each letter, in the order of `found`. Changes nothing.

    `answers`: the result of `ask()`. An event in doubt without an answer gets a standard text.
    """
    read = events.parse_all([letter.event_data for letter in found])
    applied = ledger.applied(connection, [letter.event_id for letter in found])
    events_ = [event for event in read if isinstance(event, Event)]
    forecasts = _forecasts(connection, events_)
    by_letter = {one.id: one.event_id for one in found if one.event_id}
    keys = wiring().call_keys(events_)
    under_way = live(connection, list(keys.values()))
    for event_id in [event_id for event_id, key in keys.items() if key in under_way]:
        forecasts[event_id] = Forecast(blocked="another copy of it is being called at this moment: plan again later")
    for letter_id, plan_id in awaited.in_the_queue(connection, [letter.id for letter in found]).items():
        forecasts[by_letter[letter_id]] = Forecast(blocked=f"replayed, waiting: `dead replay {plan_id}` waits for it")
    said = {event.id: answers.get(event.id) or _unasked(event) for event in _in_doubt(connection, events_)}
    apart = taken(connection, [one for one in zip(found, read, strict=True) if one[0].event_id in applied])
    return [
        _class(letter, event, letter.event_id in applied, letter.id in apart, forecasts, said)
        for letter, event in zip(found, read, strict=True)
    ]


def taken(connection: Connection, applied: Sequence[tuple[Dead | DeadLetter, Event[Any] | Unreadable]]) -> set[UUID]:
    """Return the letters whose id the ledger has for a different event, until the sweep gives them ids of their own."""
    if not applied:
        return set()
    letters = {QueuedEvent(0, 0, letter.event_data, event): letter.id for letter, event in applied}
    others, _ = reused.compare(connection, list(letters))
    return {letters[one.queued] for one in others}


def _forecasts(connection: Connection, read: Sequence[Event[Any]]) -> dict[UUID, Forecast]:
    by_kind: dict[type[Any], list[Event[Any]]] = {}
    for event in read:
        by_kind.setdefault(type(event.data), []).append(event)
    found: dict[UUID, Forecast] = {}
    for kind, some in by_kind.items():
        if (forecaster := wiring().forecasts.get(kind)) is not None:
            found.update(forecaster(connection, some))
    return found


def _class(
    letter: Dead,
    event: Event[Any] | Unreadable,
    is_applied: bool,  # noqa: FBT001 - the verdict of the ledger
    is_taken: bool,  # noqa: FBT001 - the ledger has another event
    forecasts: Mapping[UUID, Forecast],
    answers: Mapping[UUID, str],
) -> Classified:
    if is_taken or (isinstance(event, Event) and letter.event_id != event.id):
        event_id = event.id if isinstance(event, Event) else letter.event_id
        return Classified(
            letter, "invalid", f"its id {event_id} belongs to another event; `dead edit` gives it a new one"
        )
    if is_applied:
        return Classified(letter, "already_applied", "the ledger has it")
    if isinstance(event, Unreadable):
        return Classified(letter, "invalid", event.reason)
    forecast = forecasts.get(event.id, Forecast())
    if forecast.blocked:
        return Classified(letter, "blocked", forecast.blocked)
    if event.id in answers:
        return Classified(letter, "in_doubt", answers[event.id], forecast)
    if forecast.idle:
        return Classified(letter, "already_applied", forecast.idle)
    if event.version != event.data.version:
        return Classified(letter, "valid_after_upcast", f"from version {event.version}", forecast)
    return Classified(letter, "valid", None, forecast)
