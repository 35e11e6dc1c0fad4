"""Statistics by event type: throughput, latency percentiles and dead letters, from the ledger and the dead letters."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from psycopg.rows import class_row

from app.context import Connection
from app.engine.domain import wiring
from app.errors import InvalidInput

LONGEST = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class TypeStats:
    """Statistics of one event type in a time span that ends now. Durations are in seconds, None without measurements.

    `waiting`: from publishing (the event's `time`, by the producer's clock) to the start of the transaction that
    applied the event. It includes failed deliveries. An effect's event is applied when the outcome of its call is
    recorded, so an effect's `waiting` includes its call.

    `handling`: effects only; from the publishing of a request to the start of the transaction that applied the result,
    found by causation. Handlers have none, because the ledger has the start of transactions but not their commit.

    `dead`: dead letters whose last failure is in the span, also if they were resolved since.
    """

    type: str
    applied: int
    applied_a_minute: float
    waiting_p50: float | None
    waiting_p95: float | None
    handling_p50: float | None
    handling_p95: float | None
    dead: int
    dead_a_minute: float


_STATS = Path(__file__).with_name("stats.sql").read_bytes()


def stats(connection: Connection, since: timedelta) -> list[TypeStats]:
    """Return statistics of every type with applied or dead-lettered events in the last `since`.

    Raises `InvalidInput` unless `since` is more than 0 and at most 366 days.
    """
    if not timedelta(0) < since <= LONGEST:
        raise InvalidInput(f"since: must be more than 0 and at most {LONGEST.days} days")
    effects = [kind.type for kind in wiring().effects]
    span = {"since": since, "minutes": since.total_seconds() / 60, "effects": effects}
    return connection.cursor(row_factory=class_row(TypeStats)).execute(_STATS, span).fetchall()
