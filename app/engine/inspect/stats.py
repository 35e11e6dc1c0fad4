"""Stats: how much was applied lately, how long it took, and how much died; from the ledger and the dead letters."""

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
    """One type of event in a span of time that ends now. Durations are seconds, None where there are none to measure.

    `waiting` runs from when an event was said (by the producer's clock) to the beginning of the transaction that
    applied it: its time in the queue, with every delivery that failed before. An effect's event is applied when the
    outcome of its call is recorded, so an effect's waiting contains its call.

    `handling` is known of effects alone: from when a call was asked for to the beginning of the transaction that
    counted the answer, found by causation. A handler's own time is in no table: the ledger notes when transactions
    begin, and nobody when they commit.

    `dead` counts the dead letters that died in the span, whatever became of them since.
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
    """Every type of which something was applied or died in the last `since`. Raises `InvalidInput` for no such span."""
    if not timedelta(0) < since <= LONGEST:
        raise InvalidInput(f"since: must be more than nothing and at most {LONGEST.days} days")
    effects = [kind.type for kind in wiring().effects]
    span = {"since": since, "minutes": since.total_seconds() / 60, "effects": effects}
    return connection.cursor(row_factory=class_row(TypeStats)).execute(_STATS, span).fetchall()
