"""Find published events (waiting, held in a sequence, applied or dead) and assert on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

from psycopg.rows import class_row

from app.context import Connection
from app.engine.queue.envelope import QueuedEvent, Row, open_rows
from events import Event, Payload

P = TypeVar("P", bound=Payload)

Place = Literal["waiting", "applied", "dead"]

_WAITING = """
SELECT row_id, args::text AS args FROM engine.waiting()
 UNION ALL SELECT position, held::text FROM engine.sequence WHERE held IS NOT NULL
 ORDER BY row_id
"""
_APPLIED = """
SELECT 'applied' AS place, event_id AS id, type, causation_id, data FROM engine.event_log ORDER BY applied_at, event_id
"""
_DEAD = """
SELECT event_id, event_data::text FROM engine.failed_jobs WHERE resolved_at IS NULL ORDER BY failed_at, id
"""


@dataclass(frozen=True, slots=True)
class Found:
    """A published event and its place. Of an unreadable event, `data` is its raw content, `causation_id` is None."""

    place: Place
    id: UUID | None
    type: str
    causation_id: UUID | None
    data: Any


@dataclass(frozen=True, slots=True)
class Published(Generic[P]):
    """A published event: its payload and its current place."""

    id: UUID | None
    place: Place
    causation_id: UUID | None
    data: P


def assert_published(
    connection: Connection, payload: type[P], *, count: int | None = None, **fields: object
) -> list[Published[P]]:
    """Assert that `count` events (None: at least one) of this type with these payload fields were published.

    Returns the events. Counted are events that wait in the queue (single, in a batch or held in a sequence), applied
    events and unresolved dead letters. Several copies of an event count once.
    Raises `AssertionError` with the published events, and `TypeError` for an unknown field.
    """
    if unknown := fields.keys() - payload.model_fields.keys():
        raise TypeError(f"{payload.type} has no field {', '.join(sorted(unknown))}")
    found = everything(connection)
    same = {one.id: one for one in found if one.type == payload.type}
    read = [Published(i, one.place, one.causation_id, payload.model_validate(one.data)) for i, one in same.items()]
    fitting = [one for one in read if all(getattr(one.data, name) == value for name, value in fields.items())]
    if len(fitting) == count or (count is None and fitting):
        return fitting
    wanted = ", ".join([payload.type, *(f"{name}={value!r}" for name, value in fields.items())])
    number = "at least one" if count is None else count
    raise AssertionError(f"{wanted}: {number} expected, {len(fitting)} published\n{_instead(payload, read, found)}")


def everything(connection: Connection) -> list[Found]:
    """Return all events of the database, one entry for each place. Includes unreadable ones."""
    waiting = connection.cursor(row_factory=class_row(Row)).execute(_WAITING).fetchall()
    dead = connection.execute(_DEAD).fetchall()
    buried = zip(dead, open_rows([Row(0, text) for _, text in dead]), strict=True)
    return [
        *(_found("waiting", queued) for queued in open_rows(waiting)),
        *connection.cursor(row_factory=class_row(Found)).execute(_APPLIED),
        # A letter whose event reuses the id of another event has an id of its own.
        *(replace(_found("dead", queued), id=event_id) for (event_id, _), queued in buried),
    ]


def _found(place: Place, queued: QueuedEvent) -> Found:
    event = queued.event
    if isinstance(event, Event):
        return Found(place, event.id, event.type, event.causationid, queued.raw["data"])
    return Found(place, queued.event_id, "unreadable", None, queued.raw)


def _instead(payload: type[Payload], same: Sequence[Published[Any]], found: Sequence[Found]) -> str:
    lines = [f"  {one.place}: {one.data!r}" for one in same]
    others = Counter((one.type, one.place) for one in found if one.type != payload.type)
    lines += [f"  {kind}: {count} {place}" for (kind, place), count in sorted(others.items())]
    return "\n".join(["published instead:", *lines] if lines else ["nothing was published"])
