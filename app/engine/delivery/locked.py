"""Locked: rows that another session holds, and the events that wait for them.

A delivery waits `TALLYMAN_LOCK_PATIENCE` for a lock. After that the events whose rows cannot be locked are set aside
together, and the others go on. A process remembers for a while which rows were locked: deliveries look first, without
waiting, whether those are free again.
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
from app.engine.queue.envelope import Letter
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
    """Another session holds a lock on a row that must be locked for the events."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """What is locked for an event: a row of a declared table; or, where none is known, just its subject."""

    table: str
    id: UUID | None

    @property
    def error(self) -> RowLocked:
        """What the events of the row remember."""
        return RowLocked(f"{self.table} {self.id} is locked by another session")


def place_in(error: str) -> Place | None:
    """The row that a row's remembered error says its events wait for; None if it says nothing of a lock."""
    found = _REMEMBERED.match(error)
    if found is None or found["table"] not in {one.name for one in wiring().lockables}:
        return None
    return Place(found["table"], UUID(found["id"]))


def place_of(letter: Letter) -> Place:
    """What is locked first for a letter."""
    event = letter.event
    if not isinstance(event, Event):
        return Place("", letter.event_id)
    return next(iter(_named(event)), Place("", event.subject or event.id))


def by_place(letters: Iterable[Letter]) -> dict[Place, list[Letter]]:
    """Letters by what is locked first for them."""
    groups: dict[Place, list[Letter]] = {}
    for letter in letters:
        groups.setdefault(place_of(letter), []).append(letter)
    return groups


@dataclass(frozen=True, slots=True)
class Found:
    """The rows that another session has locked, each with the letters that need it, and all that were looked at.

    A letter that needs several locked rows is with the first.
    """

    locked: dict[Place, list[Letter]]
    looked_at: set[Place]

    def free(self, letters: Iterable[Letter]) -> list[Letter]:
        """Those of some letters that need none of the locked rows, in their order."""
        waiting = {letter for some in self.locked.values() for letter in some}
        return [letter for letter in letters if letter not in waiting]


def find_locked(connection: Connection, letters: Sequence[Letter]) -> Found:
    """Which rows that these letters need somebody else has locked now. Waits for none, and leaves none locked."""
    found = Found({}, set())
    for one in wiring().lockables:
        needed = _needed(connection, one, found.free(letters))
        locked = _locked(connection, one.schema, one.table, set(needed.values()))
        for letter, place in needed.items():
            if place in locked:
                found.locked.setdefault(place, []).append(letter)
        found.looked_at.update(needed.values())
    return found


def _needed(connection: Connection, one: Lockable, letters: Iterable[Letter]) -> dict[Letter, Place]:
    events = {letter: letter.event for letter in letters if isinstance(letter.event, Event)}
    looked_up: Mapping[UUID, UUID] = {}
    if one.look_up is not None:
        try:
            with connection.transaction():
                looked_up = one.look_up(connection, list(events.values()))
        except pg.LockNotAvailable:
            pass  # a table that it reads is locked: nothing can be said of single rows
    ids = {letter: one.id_of(event) or looked_up.get(event.id) for letter, event in events.items()}
    return {letter: Place(one.name, row) for letter, row in ids.items() if row is not None}


def _named(event: Event[Any]) -> list[Place]:
    ids = ((one.name, one.id_of(event)) for one in wiring().lockables)
    return [Place(name, row) for name, row in ids if row is not None]


def _locked(connection: Connection, schema: str, table: str, places: Iterable[Place]) -> set[Place]:
    name = f"{schema}.{table}"
    ids = sorted({place.id for place in places if place.id is not None})
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

    def concerns(self, letters: Iterable[Letter]) -> bool:
        """Whether a row that these letters need may be locked still. Costs nothing while none is remembered."""
        until = self._until
        if not until:
            return False
        if {place.table for place in list(until)} & {one.name for one in wiring().lockables if one.look_up}:
            return True
        now = time.monotonic()
        events = (letter.event for letter in letters if isinstance(letter.event, Event))
        return any(until.get(place, 0.0) > now for event in events for place in _named(event))

    def note(self, found: Found) -> None:
        """Remember which of the rows that were looked at are locked, and forget the others."""
        now = time.monotonic()
        for place in found.looked_at:
            if place in found.locked:
                self._until[place] = now + _REMEMBERED_S
            else:
                self._until.pop(place, None)
        for place in [place for place, until in list(self._until.items()) if until <= now]:
            self._until.pop(place, None)
