"""Checkup of event types: the table of routes equals this program, and a domain serves every waiting event."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from psycopg.rows import class_row

from app.context import Connection
from app.engine.domain import wiring
from app.engine.event_types import EventType, declared, registered
from app.engine.health.doctor import CheckContext, Checkup, Finding
from app.settings import settings

_NAMED = 5

_WAITING = """
SELECT e.event ->> 'type' AS type, count(*) AS events
  FROM engine.queue_rows r CROSS JOIN LATERAL jsonb_array_elements(r.events) AS e (event)
 WHERE r.status IN ('todo', 'doing') AND (r.place = 'delayed' OR engine.is_ours(r.task_name, r.queue_name, %(queues)s))
   AND e.event ->> 'type' <> ALL (%(served)s)
 GROUP BY 1 ORDER BY 2 DESC, 1
"""


@dataclass(frozen=True, slots=True)
class _Waiting:
    type: str
    events: int


def check_event_types(context: CheckContext) -> Iterator[Finding]:
    """Report waiting events of types that no installed domain serves, and routes that differ from the code."""
    if waiting := _unserved(context.service):
        what = (
            f"no installed domain serves events that wait: {_list([f'{one.type} ({one.events})' for one in waiting])}"
        )
        remedy = (
            "start workers whose TALLYMAN_DOMAINS names the domain, or of the program that knows the type; such events"
            f" become dead letters after {settings().unknown_patience:.0f} s (TALLYMAN_UNKNOWN_PATIENCE)"
        )
        yield Finding("warning", "event types", what, remedy)
    if different := list(_different(context.service)):
        what = f"engine.event_types differs from this program: {_list(different)}"
        remedy = "run `db migrate` with the newest program; engine.publish() routes by this table"
        yield Finding("warning", "event types", what, remedy)


def _unserved(connection: Connection) -> list[_Waiting]:
    wanted = {"served": list(wiring().served()), "queues": wiring().queues()}
    return connection.cursor(row_factory=class_row(_Waiting)).execute(_WAITING, wanted).fetchall()


def _different(connection: Connection) -> Iterator[str]:
    table = {one.type: one for one in registered(connection)}
    for own in declared():
        row = table.get(own.type)
        if row is None:
            yield f"{own.type} is not registered"
        elif columns := _columns(own, row):
            yield f"{own.type} has {', '.join(columns)}"


def _columns(own: EventType, row: EventType) -> list[str]:
    names = [field.name for field in fields(EventType) if getattr(own, field.name) != getattr(row, field.name)]
    return [f"{name} {getattr(row, name)}, not {getattr(own, name)}" for name in names]


def _list(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
    return "; ".join(texts[:_NAMED]) + more


EVENT_TYPES = (Checkup("event types", check_event_types, "the routes equal this program, and every event is served"),)
