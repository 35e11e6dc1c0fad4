"""Viewers of rows: who watches which row, and the newest state of each that its viewer has not taken yet.

A viewer that is slow misses states in between and never holds more than one. Pure asyncio: `app.engine.hub` reads the
rows. Use it in the thread of one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar
from uuid import UUID

import psycopg

from app.engine.progress import Change


class Watched(Protocol):
    """The state of a watched row."""

    @property
    def id(self) -> UUID:
        """The row's id."""


StateT = TypeVar("StateT", bound=Watched)
StateT_co = TypeVar("StateT_co", bound=Watched, covariant=True)


@dataclass(frozen=True, slots=True, eq=False)
class Source(Generic[StateT_co]):
    """A table whose rows can be watched. It notifies of its changes (`engine.notify_progress`).

    `table`: its qualified name. `read`: return the states of the rows with these ids, as the role of workers.
    """

    table: str
    read: Callable[[psycopg.AsyncConnection[Any], Sequence[UUID]], Awaitable[Iterable[StateT_co]]]


@dataclass(frozen=True, slots=True)
class Closed:
    """There will be no further state. `reason`: one word, for the client."""

    reason: str


class Viewer(Generic[StateT]):
    """A viewer of one row. Holds the newest state until `next()` takes it."""

    def __init__(self) -> None:
        self._news: StateT | Closed | None = None
        self._arrived = asyncio.Event()

    def show(self, news: StateT | Closed) -> None:
        """Replace the state that was not taken. Nothing replaces `Closed`."""
        if not isinstance(self._news, Closed):
            self._news = news
            self._arrived.set()

    async def next(self) -> StateT | Closed:
        """Wait for a state that was not taken yet. Returns `Closed` at the end, and again at each further call."""
        while (news := self._news) is None:
            await self._arrived.wait()
        if not isinstance(news, Closed):
            self._news = None
            self._arrived.clear()
        return news


Audience: TypeAlias = Mapping[UUID, Sequence[Viewer[Any]]]
"""The viewers of the rows of one source."""


class Viewers:
    """All viewers of a process, and the rows to read for them."""

    def __init__(self) -> None:
        self._rows: dict[Source[Any], dict[UUID, set[Viewer[Any]]]] = {}
        self._stale: dict[Source[Any], set[UUID]] = {}
        self._closed: Closed | None = None

    def __len__(self) -> int:
        return sum(len(viewers) for rows in self._rows.values() for viewers in rows.values())

    @property
    def has_stale(self) -> bool:
        """Whether there are rows to read."""
        return bool(self._stale)

    @contextmanager
    def join(self, source: Source[StateT], row_id: UUID) -> Iterator[Viewer[StateT]]:
        """Watch a row within a block.

        The row is read once more after the beginning, so a change since the caller's own read is not missed.
        """
        viewer: Viewer[StateT] = Viewer()
        if self._closed:
            viewer.show(self._closed)
        self._rows.setdefault(source, {}).setdefault(row_id, set()).add(viewer)
        self._stale.setdefault(source, set()).add(row_id)
        try:
            yield viewer
        finally:
            self._leave(source, row_id, viewer)

    def mark(self, change: Change) -> None:
        """Mark the changed rows that have viewers for reading."""
        for source, rows in self._rows.items():
            if source.table == change.table and (
                ids := rows.keys() if change.ids is None else rows.keys() & change.ids
            ):
                self._stale.setdefault(source, set()).update(ids)

    def mark_all(self) -> None:
        """Mark every watched row for reading: notifications may have been lost."""
        self._stale = {source: set(rows) for source, rows in self._rows.items()}

    def take_stale(self) -> dict[Source[Any], Audience]:
        """Return the rows to read, with their viewers of this moment, and unmark them.

        A viewer that joins later marks its row again: a read that began before may be older than what it knows.
        """
        stale, self._stale = self._stale, {}
        taken: dict[Source[Any], Audience] = {}
        for source, ids in stale.items():
            rows = self._rows.get(source, {})
            taken[source] = {row_id: tuple(rows[row_id]) for row_id in ids if row_id in rows}
        return taken

    def close(self, reason: str) -> None:
        """Close all viewers, and those that join from now on."""
        self._closed = Closed(reason)
        for rows in self._rows.values():
            for viewers in rows.values():
                for viewer in viewers:
                    viewer.show(self._closed)

    def _leave(self, source: Source[Any], row_id: UUID, viewer: Viewer[Any]) -> None:
        rows = self._rows[source]
        rows[row_id].discard(viewer)
        if not rows[row_id]:
            del rows[row_id]
        if not rows:
            del self._rows[source]


def show(audience: Audience, states: Iterable[Watched]) -> None:
    """Show each viewer the state of its row, or that the row is gone."""
    found = {state.id: state for state in states}
    for row_id, viewers in audience.items():
        for viewer in viewers:
            viewer.show(found.get(row_id) or Closed("gone"))
