"""Locked rows: find rows that another session has locked, and the events that wait for them.

A delivery waits up to `TALLYMAN_LOCK_PATIENCE` for a lock. Then the events whose rows cannot be locked are set aside
together, and the others are applied. A process remembers locked rows for 30 seconds: deliveries first check, without
waiting, whether those rows are free again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from psycopg import errors as pg
from psycopg import sql

from app.context import Connection
from app.engine.domain import Lockable, wiring
from app.engine.queue.envelope import QueuedEvent
from app.errors import Busy
from events import Event

LONGEST_DELAY_S = 10.0
_REMEMBERED_S = 30.0

_REMEMBERED = re.compile(r"RowLocked: (?P<table>[\w.]+) (?P<id>[0-9a-f-]{36}) is locked")

# A row that does not exist is not locked.
_LOCKED = sql.SQL("""
WITH free AS MATERIALIZED (SELECT id FROM {table} WHERE id = ANY(%(ids)s) ORDER BY id FOR UPDATE SKIP LOCKED)
SELECT t.id FROM {table} t WHERE t.id = ANY(%(ids)s) AND NOT EXISTS (SELECT FROM free WHERE free.id = t.id)
""")


class RowLocked(Busy):
    """Another session has locked a row that the events need."""


@dataclass(frozen=True, slots=True, order=True)
class LockTarget:
    """The row to lock for an event: of a declared table; its subject, without a table, if none is declared."""

    table: str
    id: UUID | None

    @property
    def error(self) -> RowLocked:
        """The error stored in the rows of events that wait for this lock."""
        return RowLocked(f"{self.table} {self.id} is locked by another session")


def place_in(error: str) -> LockTarget | None:
    """Parse a stored error. Returns the locked row that its events wait for; None if the error is no lock error."""
    found = _REMEMBERED.match(error)
    if found is None or found["table"] not in {one.name for one in wiring().lockables}:
        return None
    return LockTarget(found["table"], UUID(found["id"]))


def lock_target(queued: QueuedEvent) -> LockTarget:
    """Return the row that is locked first for an event."""
    event = queued.event
    if not isinstance(event, Event):
        return LockTarget("", queued.event_id)
    return next(iter(_named(event)), LockTarget("", event.subject or event.id))


def by_lock_target(queued_events: Iterable[QueuedEvent]) -> dict[LockTarget, list[QueuedEvent]]:
    """Group events by the row that is locked first for them."""
    groups: dict[LockTarget, list[QueuedEvent]] = {}
    for queued in queued_events:
        groups.setdefault(lock_target(queued), []).append(queued)
    return groups


@dataclass(frozen=True, slots=True)
class Found:
    """Rows that another session has locked, each with the events that need it, and all rows that were checked.

    An event that needs several locked rows is listed under the first.
    """

    locked: dict[LockTarget, list[QueuedEvent]]
    looked_at: set[LockTarget]

    def free(self, queued_events: Iterable[QueuedEvent]) -> list[QueuedEvent]:
        """Return the events that need none of the locked rows, in their order."""
        waiting = {queued for some in self.locked.values() for queued in some}
        return [queued for queued in queued_events if queued not in waiting]


def find_locked(connection: Connection, queued_events: Sequence[QueuedEvent]) -> Found:
    """Find the rows of these events that another session has locked now.

    Waits for no lock, and leaves no row locked.
    """
    found = Found({}, set())
    for one in wiring().lockables:
        needed = _needed(connection, one, found.free(queued_events))
        locked = _locked(connection, one.schema, one.table, set(needed.values()))
        for queued, target in needed.items():
            if target in locked:
                found.locked.setdefault(target, []).append(queued)
        found.looked_at.update(needed.values())
    return found


def _needed(
    connection: Connection, one: Lockable, queued_events: Iterable[QueuedEvent]
) -> dict[QueuedEvent, LockTarget]:
    events = {queued: queued.event for queued in queued_events if isinstance(queued.event, Event)}
    looked_up: Mapping[UUID, UUID] = {}
    if one.look_up is not None:
        try:
            with connection.transaction():
                looked_up = one.look_up(connection, list(events.values()))
        except pg.LockNotAvailable:
            pass  # a table that it reads is locked, so single rows cannot be checked
    ids = {queued: one.id_of(event) or looked_up.get(event.id) for queued, event in events.items()}
    return {queued: LockTarget(one.name, row) for queued, row in ids.items() if row is not None}


def _named(event: Event[Any]) -> list[LockTarget]:
    ids = ((one.name, one.id_of(event)) for one in wiring().lockables)
    return [LockTarget(name, row) for name, row in ids if row is not None]


def _locked(connection: Connection, schema: str, table: str, targets: Iterable[LockTarget]) -> set[LockTarget]:
    name = f"{schema}.{table}"
    ids = sorted({target.id for target in targets if target.id is not None})
    if not ids:
        return set()
    query = _LOCKED.format(table=sql.Identifier(schema, table))
    try:
        with connection.transaction(force_rollback=True):
            return {LockTarget(name, row) for (row,) in connection.execute(query, {"ids": ids})}
    except pg.LockNotAvailable:
        # The table itself is locked.
        return {LockTarget(name, row) for row in ids}


@dataclass(slots=True)
class RecentlyLocked:
    """Rows that deliveries of this process found locked in the last 30 seconds. Safe to share among threads."""

    _until: dict[LockTarget, float] = field(default_factory=dict)

    def concerns(self, queued_events: Iterable[QueuedEvent]) -> bool:
        """Whether a row that these events need may still be locked. Returns at once while none is remembered."""
        until = self._until
        if not until:
            return False
        if {target.table for target in list(until)} & {one.name for one in wiring().lockables if one.look_up}:
            return True
        now = time.monotonic()
        events = (queued.event for queued in queued_events if isinstance(queued.event, Event))
        return any(until.get(target, 0.0) > now for event in events for target in _named(event))

    def update(self, found: Found) -> None:
        """Remember the locked rows of `found`, and forget the others."""
        now = time.monotonic()
        for target in found.looked_at:
            if target in found.locked:
                self._until[target] = now + _REMEMBERED_S
            else:
                self._until.pop(target, None)
        for target in [target for target, until in list(self._until.items()) if until <= now]:
            self._until.pop(target, None)
