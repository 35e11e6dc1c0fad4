"""Tail the ledger: read events as they are applied, without gaps and without duplicates.

A ledger row has the start of its transaction (`applied_at`) and becomes visible when the transaction commits. A row
can therefore appear after rows with a later `applied_at`, so the last `applied_at` is not a safe position to resume
from. The start of the oldest running transaction is safe: every future row has a later `applied_at`. Each running
transaction holds a lock on its virtual transaction id, which `pg_locks` shows to all logins, but without its start.
Each read therefore stores the ids that it sees. An id that the previous read did not see began after that read. The
reader reads the ledger again from the oldest such time, and leaves out events that it returned before. Writers need
not cooperate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from app.context import Connection

_SLICE = timedelta(seconds=60)
"""The span of the ledger that one query reads."""
_SLACK = timedelta(seconds=5)
"""Allowance for the time between a transaction's start and its lock on its virtual transaction id."""

_SNAPSHOT = """
SELECT clock_timestamp() AS at,
       array(SELECT l.virtualtransaction FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
              WHERE l.locktype = 'virtualxid' AND l.mode = 'ExclusiveLock' AND l.granted
                AND a.datname = current_database() AND l.pid <> pg_backend_pid()) AS running
"""
_FRESH = """
SELECT event_id FROM engine.event_log
 WHERE applied_at >= %(low)s AND applied_at < %(high)s
   AND (%(types)s::text[] IS NULL OR type LIKE ANY(%(types)s))
   AND (%(tenant)s::uuid IS NULL OR tenant_id = %(tenant)s)
   AND (%(subject)s::uuid IS NULL OR subject_id = %(subject)s)
"""
_ROWS = """
SELECT event_id, type, version, tenant_id, subject_id, causation_id, data, occurred_at, applied_at
  FROM engine.event_log WHERE event_id = ANY(%s) ORDER BY applied_at, occurred_at, event_id
"""


@dataclass(frozen=True, slots=True)
class Applied:
    """An event of the ledger. `occurred_at`: by the producer's clock. `applied_at`: start of the transaction."""

    event_id: UUID
    type: str
    version: int
    tenant_id: UUID | None
    subject_id: UUID | None
    causation_id: UUID | None
    data: dict[str, Any]
    occurred_at: datetime
    applied_at: datetime


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions for events, combined with AND. None: no condition. A type may end in `*`, which matches any suffix."""

    types: Sequence[str] | None = None
    tenant: UUID | None = None
    subject: UUID | None = None


@dataclass(frozen=True, slots=True)
class _Snapshot:
    at: datetime
    running: list[str]


@dataclass(slots=True)
class Tail:
    """A reader of the ledger that remembers the events it returned. `low`: the `applied_at` to read from next."""

    connection: Connection
    filters: Filters
    low: datetime
    _seen_at: datetime
    _running: dict[str, datetime] = field(default_factory=dict)
    _given: dict[UUID, datetime] = field(default_factory=dict)

    @classmethod
    def since(cls, connection: Connection, filters: Filters, ago: timedelta) -> Tail:
        """Return a reader of all events whose transaction began at most `ago` before now, or begins later.

        The connection must be in autocommit mode; in a transaction it would not see new events.
        """
        start = _take_snapshot(connection).at - ago
        return cls(connection, filters, start, start)

    def read(self) -> Iterator[list[Applied]]:
        """Yield the events that were committed since the last read, oldest first, in lists of up to a minute."""
        snapshot = _take_snapshot(self.connection)
        running = {name: self._running.get(name, self._seen_at) for name in snapshot.running}
        low = max(self.low, min([snapshot.at, *running.values()]) - _SLACK)
        for begin, end in _slices(self.low, snapshot.at):
            rows = self._fresh(begin, end)
            # The next read starts at `low`: events before it need not be remembered.
            self._given.update({row.event_id: row.applied_at for row in rows if row.applied_at >= low})
            if rows:
                yield rows
        self._given = {event_id: at for event_id, at in self._given.items() if at >= low}
        self.low, self._seen_at, self._running = low, snapshot.at, running

    def _fresh(self, begin: datetime, end: datetime | None) -> list[Applied]:
        wanted = {"low": begin, "high": end or "infinity", **asdict(self.filters), "types": _patterns(self.filters)}
        there = [event_id for (event_id,) in self.connection.execute(_FRESH, wanted)]
        new = [event_id for event_id in there if event_id not in self._given]
        if not new:
            return []
        return self.connection.cursor(row_factory=class_row(Applied)).execute(_ROWS, [new]).fetchall()


def _take_snapshot(connection: Connection) -> _Snapshot:
    row = connection.cursor(row_factory=class_row(_Snapshot)).execute(_SNAPSHOT).fetchone()
    if row is None:
        raise AssertionError
    return row


def _slices(low: datetime, now: datetime) -> Iterator[tuple[datetime, datetime | None]]:
    """Split the time from `low` into slices. The last slice has no end, because transactions begin while it is read."""
    while now - low > _SLICE:
        yield low, low + _SLICE
        low += _SLICE
    yield low, None


def _patterns(filters: Filters) -> list[str] | None:
    if filters.types is None:
        return None
    return [_escaped(name[:-1]) + "%" if name.endswith("*") else _escaped(name) for name in filters.types]


def _escaped(name: str) -> str:
    return name.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
