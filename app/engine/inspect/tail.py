"""Tail: what is applied, as it is applied.

A row of the ledger says when its transaction began (`applied_at`), and is seen when that transaction has committed: so
a row may appear long after others that began later, and no position in `applied_at` is ever safe to go on from. What
is safe is the beginning of the oldest transaction that still runs: whatever is yet to appear began after that. Every
running transaction holds a lock on its virtual id, which `pg_locks` shows to everybody, but not since when; so each
look notes which ones it sees, and one that the look before did not see must have begun after that look. From the
oldest such moment on the ledger is read again, and what was given already is left out. Nothing is skipped, nothing is
given twice, and nothing is asked of those who write.
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
"""How much of the ledger is read at once."""
_SLACK = timedelta(seconds=5)
"""How long before a transaction holds the lock on its virtual id its beginning may have been noted."""

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
    """An event of the ledger."""

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
    """Which events are wanted; None is all of them. A type may end in `*`."""

    types: Sequence[str] | None = None
    tenant: UUID | None = None
    subject: UUID | None = None


@dataclass(frozen=True, slots=True)
class _Snapshot:
    at: datetime
    running: list[str]


@dataclass(slots=True)
class Tail:
    """A reader of the ledger who knows what it has given. `low` is the moment from which it reads next."""

    connection: Connection
    filters: Filters
    low: datetime
    _seen_at: datetime
    _running: dict[str, datetime] = field(default_factory=dict)
    _given: dict[UUID, datetime] = field(default_factory=dict)

    @classmethod
    def since(cls, connection: Connection, filters: Filters, ago: timedelta) -> Tail:
        """A reader of everything whose transaction began up to `ago` before now, or begins later.

        The connection must be in autocommit mode, or nothing new would ever be seen.
        """
        start = _take_snapshot(connection).at - ago
        return cls(connection, filters, start, start)

    def read(self) -> Iterator[list[Applied]]:
        """What has been committed since the last time, a minute of the ledger at a time, oldest first."""
        snapshot = _take_snapshot(self.connection)
        running = {name: self._running.get(name, self._seen_at) for name in snapshot.running}
        low = max(self.low, min([snapshot.at, *running.values()]) - _SLACK)
        for begin, end in _slices(self.low, snapshot.at):
            rows = self._fresh(begin, end)
            # What lies before the next reading is never read again, so it need not be remembered.
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
    """From `low` on; the last slice has no end, because transactions begin while it is read."""
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
