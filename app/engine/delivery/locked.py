"""Locked: rows that another session holds, and the events that wait for them.

A delivery waits `TALLYMAN_LOCK_PATIENCE` for a lock. After that the events whose rows cannot be locked are set aside
together, and the others go on. A process remembers for a while which rows were locked: deliveries look first, without
waiting, whether those are free again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from psycopg import errors as pg
from psycopg import sql

from app.context import Connection
from app.engine.domain import wiring
from app.engine.queue.envelope import Letter
from app.errors import Busy
from events import Event

LONGEST_DELAY_S = 10.0
_REMEMBERED_S = 30.0

# A row that does not exist is not locked.
_LOCKED = sql.SQL("""
WITH free AS MATERIALIZED (SELECT id FROM {table} WHERE id = ANY(%(ids)s) ORDER BY id FOR UPDATE SKIP LOCKED)
SELECT t.id FROM {table} t WHERE t.id = ANY(%(ids)s) AND NOT EXISTS (SELECT FROM free WHERE free.id = t.id)
""")


class RowLocked(Busy):
    """Another session holds a lock on a row that the events' handler must lock."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """What an event's handler locks first: a row of a declared table; or, where none is known, just its subject."""

    table: str
    id: UUID | None

    @property
    def error(self) -> RowLocked:
        """What the events of the row remember."""
        return RowLocked(f"{self.table} {self.id} is locked by another session")


def is_locked(error: str) -> bool:
    """Whether a row's remembered error says that its events wait for a lock."""
    return error.startswith(f"{RowLocked.__name__}: ")


def place_of(letter: Letter) -> Place:
    """What a letter's handler locks first."""
    event = letter.event
    if not isinstance(event, Event):
        return Place("", letter.event_id)
    for one in wiring().lockables:
        if (row := one.id_of(event)) is not None:
            return Place(one.name, row)
    return Place("", event.subject or event.id)


def by_place(letters: Iterable[Letter]) -> dict[Place, list[Letter]]:
    """Letters by what their handlers lock first."""
    groups: dict[Place, list[Letter]] = {}
    for letter in letters:
        groups.setdefault(place_of(letter), []).append(letter)
    return groups


def find_locked(connection: Connection, places: Iterable[Place]) -> set[Place]:
    """Which rows somebody else has locked now. Waits for none, and leaves none locked."""
    wanted = list(places)
    return {place for one in wiring().lockables for place in _locked(connection, one.schema, one.table, wanted)}


def _locked(connection: Connection, schema: str, table: str, places: Sequence[Place]) -> set[Place]:
    name = f"{schema}.{table}"
    ids = sorted({place.id for place in places if place.table == name and place.id is not None})
    if not ids:
        return set()
    query = _LOCKED.format(table=sql.Identifier(schema, table))
    try:
        with connection.transaction(force_rollback=True):
            return {Place(name, row) for (row,) in connection.execute(query, {"ids": ids})}
    except pg.LockNotAvailable:
        # The table itself is locked.
        return {Place(name, row) for row in ids}


@dataclass(slots=True)
class Memory:
    """The rows that deliveries of this process found locked not long ago. Safe to share among threads."""

    _until: dict[Place, float] = field(default_factory=dict)

    def among(self, letters: Iterable[Letter]) -> set[Place]:
        """The rows of these letters that were locked a while ago. Costs nothing while none is remembered."""
        if not self._until:
            return set()
        now = time.monotonic()
        return {place for letter in letters if self._until.get(place := place_of(letter), 0.0) > now}

    def note(self, looked_at: Iterable[Place], locked: set[Place]) -> None:
        """Remember which of the rows that were looked at are locked, and forget the others."""
        now = time.monotonic()
        for place in looked_at:
            if place in locked:
                self._until[place] = now + _REMEMBERED_S
            else:
                self._until.pop(place, None)
        for place in [place for place, until in list(self._until.items()) if until <= now]:
            self._until.pop(place, None)
