"""Live check: test before a deployment whether this code can parse and route every waiting, held and dead event.

The check reads one snapshot through server-side cursors, so it needs little memory and is safe beside running workers.
It does not run handlers: an event that passes can still fail in its handler.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, LiteralString
from uuid import UUID

from psycopg import IsolationLevel
from psycopg.rows import class_row

from app.context import Connection
from app.engine.delivery.bury import fingerprint
from app.engine.domain import wiring
from app.engine.queue.envelope import QueuedEvent, Row, open_rows
from app.settings import settings
from events import Event, Unreadable

Where = Literal["waiting", "held", "dead"]

_ROWS_AT_ONCE = 50
"""Rows per page of the server-side cursor. A row may be a batch of 500 events."""
_MOST_FINDINGS = 1_000

_SOURCES: Mapping[Where, LiteralString] = {
    "waiting": """
        SELECT CASE place WHEN 'queue' THEN row_id::text ELSE 'delayed/' || row_id END AS place, args::text AS args
          FROM engine.waiting() WHERE status IN ('todo', 'doing')
        """,
    "held": "SELECT event_id::text AS place, held::text AS args FROM engine.sequence WHERE held IS NOT NULL",
    "dead": "SELECT id::text AS place, event_data::text AS args FROM engine.failed_jobs WHERE resolved_at IS NULL",
}


@dataclass(frozen=True, slots=True)
class Invalid:
    """An event that this code cannot parse or route.

    `place`: the id of its queue row, `delayed/` and the id of its delayed row, the id of its dead letter, or the
    event's own id if it is held.
    """

    where: Where
    place: str
    event_id: UUID | None
    why: str


@dataclass(slots=True)
class Finding:
    """A problem that many events share: the count of events, and the first of them."""

    type: str
    dataschema: str
    why: str
    events: int = 0
    first: list[Invalid] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """The result of a live check: events checked by place, count of invalid events, and findings, most frequent first.

    After a thousand findings, all further ones are counted as one.
    """

    looked_at: dict[str, int] = field(default_factory=lambda: {"waiting": 0, "held": 0, "dead": 0})
    invalid: int = 0
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Source:
    place: str
    args: str


def check(connection: Connection, *, examples: int = 20) -> Report:
    """Check every waiting, held and dead event. Each finding lists up to `examples` events.

    The connection must be outside a transaction, and is outside one afterwards.
    """
    report = Report()
    found: dict[str, Finding] = {}
    connection.isolation_level, connection.read_only = IsolationLevel.REPEATABLE_READ, True
    try:
        with connection.transaction():
            for where in _SOURCES:
                for queued_events in _letters(connection, where):
                    report.looked_at[where] += len(queued_events)
                    _note(report, found, where, queued_events, examples)
    finally:
        connection.isolation_level = connection.read_only = None
    report.findings = sorted(found.values(), key=lambda finding: (-finding.events, finding.type, finding.why))
    return report


def _letters(connection: Connection, where: Where) -> Iterator[list[tuple[str, QueuedEvent]]]:
    with connection.cursor(name=f"check_{where}", row_factory=class_row(_Source)) as cursor:
        cursor.execute(_SOURCES[where])
        while sources := cursor.fetchmany(_ROWS_AT_ONCE):
            opened = open_rows(Row(number, source.args) for number, source in enumerate(sources))
            yield [(sources[queued.row_id].place, queued) for queued in opened]


def _note(
    report: Report,
    found: dict[str, Finding],
    where: Where,
    queued_events: Iterable[tuple[str, QueuedEvent]],
    examples: int,
) -> None:
    for place, queued in queued_events:
        why = _trouble(queued.event)
        if why is None:
            continue
        report.invalid += 1
        finding = _finding(found, queued, why)
        finding.events += 1
        if len(finding.first) < examples:
            finding.first.append(Invalid(where, place, queued.event_id, why))


def _finding(found: dict[str, Finding], queued: QueuedEvent, why: str) -> Finding:
    raw = queued.raw if isinstance(queued.raw, dict) else {}
    kind, schema = str(raw.get("type"))[:200], str(raw.get("dataschema"))[:200]
    key = fingerprint(f"{kind} {schema}", "", why)
    if key not in found and len(found) >= _MOST_FINDINGS:
        return found.setdefault("", Finding("(other)", "", "further problems, which are not listed separately"))
    return found.setdefault(key, Finding(kind, schema, why))


def _trouble(event: Event[Any] | Unreadable) -> str | None:
    """Return why this code cannot deliver the event; None if it can be parsed and routed.

    An event of an unknown type or version waits for `unknown_patience` seconds before it is dead-lettered.
    """
    waits = f"; it waits for a worker that knows it, {settings().unknown_patience:g} s"
    if isinstance(event, Unreadable):
        return event.reason + waits if event.is_unknown else event.reason
    try:
        wiring().route(event)
    except LookupError as error:
        return str(error) + waits
    return None
