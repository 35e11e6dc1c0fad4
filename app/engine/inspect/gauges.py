"""Gauges: the state of the queue at one moment, for a metrics system. One statement of bounded cost."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from psycopg.rows import class_row

from app.context import Connection
from app.engine.domain import wiring
from app.engine.routing import EFFECTS_PRIORITY, EVENTS_PRIORITY
from app.settings import settings
from events import KINDS

MOST_ROWS = 5_000
"""Rows that are read of each queue. Above it the counts of events are lower bounds."""
MOST_BYTES = 2_000_000
"""Stored bytes of the rows that are opened of each queue, to count their events by type."""
_OLDEST = 1_000
"""Rows among which the oldest of a longer queue is found."""
_OTHER = "unknown"
"""The type of events that this program does not know."""

Name: TypeAlias = Literal["waiting", "capped", "rows", "oldest", "in_hand", "paused", "serving", "workers", "dead"]


@dataclass(frozen=True, slots=True)
class Gauge:
    """One reading.

    waiting   events of `type` in `queue`, by `state`: due, later (not due yet), parked (waits for a slot of its
              concurrency limit)
    capped    1 if counts of `waiting` are lower bounds, by `state`: queue (those due), delayed (the others)
    rows      rows by PostgreSQL's statistics, by `state`: queue, delayed; an estimate at any length, of all programs
    oldest    seconds since the oldest due row of `queue` became due, by the database's clock; 0: none is due
    in_hand   rows of `queue` in delivery
    paused    1 if `queue` is paused
    serving   live workers that serve `queue`
    workers   registered workers, by `state`: live, stalled
    dead      open dead letters of `type`, at most `MOST_ROWS` in all

    Sequenced events that are held for an earlier one are not counted as waiting.
    """

    name: Name
    queue: str | None
    type: str | None
    state: str | None
    value: float


_GAUGES = Path(__file__).with_name("gauges.sql").read_bytes()
_LIMITS = """
SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off; SET LOCAL jit = off;
SET LOCAL statement_timeout = '2s'
"""


def gauges(connection: Connection, *, most: int = MOST_ROWS, most_bytes: int = MOST_BYTES) -> list[Gauge]:
    """Return all gauges. Of each queue `most` rows are read, and rows of `most_bytes` are opened.

    Every queue and event type of this program has its gauges, also if their value is 0. Raises `QueryCanceled` after
    two seconds.
    """
    given = {
        "queues": wiring().queues(),
        "priorities": [EVENTS_PRIORITY, EFFECTS_PRIORITY],
        "stalled_after": settings().stalled_after,
        "most": most,
        "bytes": most_bytes,
        "oldest": _OLDEST,
    }
    with connection.transaction():
        connection.execute(_LIMITS)
        found = connection.cursor(row_factory=class_row(Gauge)).execute(_GAUGES, given).fetchall()
    return [*_by_type(found), *(one for one in found if one.type is None and one.name not in _TYPED)]


_TYPED = ("waiting", "dead")


def _by_type(found: list[Gauge]) -> list[Gauge]:
    """Add up the unknown types, whose names are the producers' choice, and add the known types that have no events."""
    values: dict[tuple[Name, str | None, str, str | None], float] = defaultdict(float)
    for kind, served in wiring().served().items():
        values["waiting", served.queue, kind, "due"] = values["dead", None, kind, None] = 0
    for one in found:
        if one.name in _TYPED:
            values[one.name, one.queue, one.type if one.type in KINDS else _OTHER, one.state] += one.value
    return [Gauge(name, queue, kind, state, value) for (name, queue, kind, state), value in values.items()]
