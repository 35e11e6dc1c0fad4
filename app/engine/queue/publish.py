"""Publish: enqueue events on the caller's own connection.

Events become visible if and only if the caller's transaction commits. Events that are published together share queue
rows (batches); a single event has its own row. Up to a thousand rows take one round trip, as one jsonb parameter:
psycopg would escape an array of jsonb element by element, which costs more than the database's own work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, LiteralString

import psycopg
from pydantic_core import PydanticSerializationError, to_json

from app import tracing
from app.context import Connection
from app.engine.domain import ConcurrencyLimit, wiring
from app.engine.queue import envelope, ordering
from app.engine.queue.distinct import Ids
from app.engine.queue.envelope import Since
from app.engine.routing import Route
from events import KINDS, SIZE_LIMIT, Event, InvalidEvent

_ROWS_A_ROUND_TRIP = 1000
_EVENTS_A_ROUND_TRIP = 5000
_SHORTEST_DELAY_S = 0.001

_ENQUEUE = "SELECT engine.enqueue(%s::jsonb)"
"""Rows that are not due are inserted into `engine.delayed`, so that no fetch reads past them (`delayed`)."""


def publish(
    connection: Connection,
    *events: Event[Any],
    delay: float = 0,
    batch_size: int | None = None,
) -> None:
    """Enqueue `events` in the caller's transaction. Visible on commit, discarded on rollback.

    `delay`: seconds before they are delivered. `batch_size`: most events in a row; default and upper limit are the
    wiring's (at most 500). Events without a trace get that of the caller (`app.tracing`). The connection must act as
    `service_role`. Raises `InvalidEvent`, before anything is published, for an event that is too large or holds
    characters that PostgreSQL's JSON cannot store (NUL, half a surrogate pair). Raises `ReusedId` for two different
    events with one id.
    """
    for statement, parameters in _statements(events, delay, batch_size, _ids(events)):
        connection.execute(statement, parameters)


def publish_all(
    connection: Connection, events: Iterable[Event[Any]], *, batch_size: int | None = None, ids: Ids | None = None
) -> int:
    """Publish a stream of events as `publish()` does, without holding all of it in memory. Returns how many.

    Raises `ReusedId`, after publishing, for an id that occurs twice in the stream; in a stream of more than 5,000
    events also for an exact repeat. `ids`, if given, is shared with other streams, and the caller checks it.
    """
    count = 0
    stream = iter(events)
    seen = ids or Ids()
    while chunk := list(islice(stream, _EVENTS_A_ROUND_TRIP)):
        for statement, parameters in _statements(chunk, 0, batch_size, seen):
            connection.execute(statement, parameters)
        count += len(chunk)
    if ids is None:
        seen.check()
    return count


def check(event: Event[Any]) -> None:
    """Raise `InvalidEvent` if `publish()` would, for this event."""
    _wire(event)


async def publish_async(connection: psycopg.AsyncConnection[Any], *events: Event[Any], delay: float = 0) -> None:
    """Publish as `publish()` does, on an asynchronous connection."""
    for statement, parameters in _statements(events, delay, None, _ids(events)):
        await connection.execute(statement, parameters)


def put_back(  # noqa: PLR0913 - each parameter is one property of the wait
    connection: Connection,
    events: Sequence[tuple[Event[Any], Any]],
    *,
    delay: float,
    attempt: int,
    batch_size: int = 1,
    error: str | None = None,
    limit: ConcurrencyLimit | None = None,
) -> None:
    """Requeue delivered events, each with its original decoded JSON.

    `delay`: seconds to wait. `attempt`: number of deliveries so far. `batch_size`: most events in a row. `error` is
    stored in the row and shown by `explain`, except for a single event without attempts, which is written as if it was
    never delivered. With a `limit` the rows are parked: `concurrency.wake_parked` makes them due early. Raises
    `ValueError` for parked rows without a delay.
    """
    if limit is not None and delay < _SHORTEST_DELAY_S:
        raise ValueError(delay)
    table = wiring()
    texts = ((table.route(event), to_json(raw).decode()) for event, raw in events)
    for statement, parameters in _round_trips(texts, batch_size, _Wait(delay, attempt, error, limit)):
        connection.execute(statement, parameters)


def put_aside(
    connection: Connection, route: Route, raws: Sequence[Any], since: Since, *, delay: float, attempt: int
) -> None:
    """Requeue events that did not fail, as decoded JSON, under `route`. They may be unreadable by this version.

    Their rows store the error and since when they wait for it.
    """
    texts = ((route, to_json(raw).decode()) for raw in raws)
    for statement, parameters in _round_trips(texts, None, _Wait(delay, attempt, since.error, since=since)):
        connection.execute(statement, parameters)


def _statements(
    events: Sequence[Event[Any]], delay: float, batch_size: int | None, ids: Ids | None
) -> Iterator[tuple[LiteralString, list[str]]]:
    if (here := tracing.current()) is not None:
        events = [tracing.traced(event, here) for event in events]
    route = wiring().route
    routes: list[Route] = []
    texts: list[str] = []
    sequenced: list[Event[Any]] = []
    for event in events:  # One pass: reading the events a second time costs more than the rest.
        routes.append(route(event))
        texts.append(_wire(event))
        if event.data.sequenced:
            sequenced.append(event)
    joining = ordering.joining(sequenced)
    if ids:
        ids.add(events, texts)
    yield from _round_trips(zip(routes, texts, strict=True), batch_size, _Wait(delay))
    # Last, so that a connection in autocommit mode never commits a position for an event that is not enqueued.
    yield from joining


def _ids(events: Sequence[Event[Any]]) -> Ids | None:
    return Ids() if len(events) > 1 else None


@dataclass(frozen=True, slots=True)
class _Wait:
    """How rows wait: `delay` seconds, after `attempt` deliveries, because of an `error`, for a slot of a `limit`.

    `since`: when they were first put aside without a failure.
    """

    delay: float
    attempt: int = 0
    error: str | None = None
    limit: ConcurrencyLimit | None = None
    since: Since | None = None


def _round_trips(
    texts: Iterable[tuple[Route, str]], batch_size: int | None, wait: _Wait
) -> Iterator[tuple[LiteralString, list[str]]]:
    rows = _rows(texts, batch_size, wait)
    while chunk := list(islice(rows, _ROWS_A_ROUND_TRIP)):
        yield _ENQUEUE, ["[" + ",".join(chunk) + "]"]


def _rows(texts: Iterable[tuple[Route, str]], batch_size: int | None, wait: _Wait) -> Iterator[str]:
    routed: dict[Route, list[str]] = {}
    last: Route | None = None
    together: list[str] = []
    for route, text in texts:
        if route is not last:  # hashing a route costs as much as the rest of the loop
            last, together = route, routed.setdefault(route, [])
        together.append(text)
    later = _later(wait)
    for route, together in routed.items():
        size = min(batch_size or route.batch_size, route.batch_size)
        for start in range(0, len(together), size):
            yield _row(route, together[start : start + size], wait, later)


def _later(wait: _Wait) -> str:
    """Return the JSON fields of a row that is not due; empty for a row that is due."""
    parked = f',"key":{to_json(wait.limit.key).decode()},"most":{wait.limit.most}' if wait.limit else ""
    return f',"delay":{wait.delay:.3f}{parked}' if wait.delay >= _SHORTEST_DELAY_S else ""


def _row(route: Route, texts: list[str], wait: _Wait, later: str) -> str:
    task, args = envelope.write(route, texts, wait.attempt, wait.error, wait.since)
    return f'{{"queue":"{route.queue}","task":"{task}","priority":{route.priority},"args":{args}{later}}}'


def _wire(event: Event[Any]) -> str:
    try:
        text = event.json_bytes()
    except PydanticSerializationError as error:
        message = f"{event.type} {event.id}: cannot be written as JSON: {error}"
        raise InvalidEvent(message) from error
    if len(text) > SIZE_LIMIT and len(text) > KINDS[event.type].size_limit:
        message = f"{event.type} {event.id}: takes {len(text)} bytes, at most {SIZE_LIMIT} are allowed"
        raise InvalidEvent(f"{message}: send ids, not documents")
    if b"\\u0000" in text:
        message = (
            f"{event.type} {event.id}: data holds a NUL character, which PostgreSQL's JSON cannot store: remove it"
        )
        raise InvalidEvent(message)
    return text.decode()
