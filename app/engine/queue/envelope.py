"""The format of a queue row's arguments, for writing and reading. SQL reads it in the view `engine.queue_rows`.

A row carries one event as it was published (task `consume`), or several: `{"attempt": n, "events": [...]}` (tasks
`consume_parcel` and `perform`). Optional keys: `"error"`, the error for which the row was put back; `"since"`, when
events were first set aside for that error; `"share"`, the share of the deliveries that a row of effects belongs to.
`open_rows` never fails: an unparseable entry becomes `Unreadable`, and the delivery dead-letters it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic_core import from_json, to_json

from app.engine.domain import wiring
from app.engine.routing import Route
from events import KINDS, SIZE_LIMIT, Event, Unreadable, parse_all

_LONGEST_TYPE = 200


@dataclass(frozen=True, slots=True)
class Row:
    """A queue row that a delivery has fetched: its id and its arguments as JSON text."""

    row_id: int
    args: str


@dataclass(frozen=True, slots=True)
class Since:
    """Since when an event is set aside, by the database's clock, and for what error."""

    error: str
    at: datetime


@dataclass(frozen=True, slots=True, eq=False)
class QueuedEvent:
    """One event of a queue row, or an `Unreadable`. `raw` is the JSON that was published, decoded."""

    row_id: int
    attempt: int
    raw: Any
    event: Event[Any] | Unreadable
    since: Since | None = None

    @property
    def type(self) -> str:
        """The event's type; of an unreadable one, the type that it states, cut, or `unknown`."""
        if isinstance(self.event, Event):
            return self.event.type
        stated = self.raw.get("type") if isinstance(self.raw, dict) else None
        return stated[:_LONGEST_TYPE] if isinstance(stated, str) and stated else "unknown"

    @property
    def event_id(self) -> UUID | None:
        """The id of the event, or the id of an unreadable one; None if it has no valid id."""
        if isinstance(self.event, Event):
            return self.event.id
        try:
            return UUID(self.raw["id"])
        except (TypeError, KeyError, ValueError, AttributeError):
            return None


def one_of_each(queued_events: Iterable[QueuedEvent]) -> Iterable[Event[Any] | Unreadable]:
    """Return one event of each type among `queued_events`, for questions that depend on the type alone."""
    return {type(queued.event): queued.event for queued in queued_events}.values()


_ERROR_LIMIT = 300
"""Characters of an error that a put-back row stores."""


def remembered(error: BaseException) -> str:
    """Return the text of an error for a put-back row: its class and message, cut and made storable in PostgreSQL."""
    message = str(error)[:_ERROR_LIMIT].replace("\x00", "")
    return f"{type(error).__name__}: {message}".encode(errors="replace").decode()


def open_rows(rows: Iterable[Row]) -> list[QueuedEvent]:
    """Return the queued events of `rows`, in order. Raises nothing: an unparseable entry becomes `Unreadable`."""
    addressed = [(row, *one) for row in rows for one in _open(row)]
    read = parse_all([raw for _, _, _, raw in addressed])
    return [
        QueuedEvent(row.row_id, attempt, raw, _within_limit(row, raw, event), since)
        for (row, attempt, since, raw), event in zip(addressed, read, strict=True)
    ]


def _open(row: Row) -> list[tuple[int, Since | None, Any]]:
    try:
        value = from_json(row.args)
    except ValueError:
        # PostgreSQL accepts it as JSON and Python does not, for example a number of thousands of digits. Keep the text.
        return [(0, None, row.args)]
    if not isinstance(value, dict) or "events" not in value:
        return [(0, None, value)]
    attempt, events = value.get("attempt", 0), value["events"]
    if not isinstance(events, list) or not isinstance(attempt, int):
        return [(0, None, value)]
    since = _since(value) if "since" in value else None
    return [(attempt, since, raw) for raw in events]


def _since(value: dict[str, Any]) -> Since | None:
    try:
        at = datetime.fromisoformat(value["since"])
    except (TypeError, ValueError):
        return None
    return None if at.tzinfo is None else Since(str(value.get("error")), at)


def _within_limit(row: Row, raw: Any, event: Event[Any] | Unreadable) -> Event[Any] | Unreadable:
    # Measured as published, without the blanks that PostgreSQL adds, and only if the row is long enough to matter.
    if len(row.args) <= SIZE_LIMIT or len(to_json(raw)) <= _limit(event):
        return event
    return Unreadable(raw, f"an event takes at most {SIZE_LIMIT} bytes: send ids, not documents")


def _limit(event: Event[Any] | Unreadable) -> int:
    return KINDS[event.type].size_limit if isinstance(event, Event) else SIZE_LIMIT


def write(
    route: Route, texts: Sequence[str], attempt: int = 0, error: str | None = None, since: Since | None = None
) -> tuple[str, str]:
    """Return the task name and the arguments, as JSON text, of a row that carries the events `texts` (each JSON).

    `attempt`: number of earlier deliveries. A single event without attempts and without an effect is written as it is.
    """
    if len(texts) == 1 and not attempt and not route.effect_of and not since:
        return "consume", texts[0]
    why = f'"error":{to_json(error).decode()},' if error else ""
    why += f'"since":"{since.at.isoformat()}",' if since else ""
    return "perform" if route.effect_of else "consume_parcel", _together(attempt, route.share, why, ",".join(texts))


def write_rest(queued_events: Sequence[QueuedEvent]) -> str:
    """Return the arguments of a row that keeps only `queued_events` (at least one) of its events."""
    first = queued_events[0]
    share = wiring().share(first.event) if isinstance(first.event, Event) else None
    return _together(first.attempt, share, "", ",".join(to_json(queued.raw).decode() for queued in queued_events))


def _together(attempt: int, share: str | None, why: str, events: str) -> str:
    whose = f'"share":{to_json(share).decode()},' if share else ""
    return f'{{"attempt":{attempt},{whose}{why}"events":[{events}]}}'


def may_hold_events(raw: bytes) -> bool:
    """Whether arguments, as JSON text, may have this format. Such arguments are read only where the row is claimed."""
    return raw[:1] != b"{" or b'"specversion"' in raw or b'"events"' in raw
