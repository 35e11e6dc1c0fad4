"""A test domain: words that a handler counts in a table, and calls that an effect makes.

The `mood` of an event decides which fault its handler or call meets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from uuid import UUID

import psycopg

import events
from app.context import Connection, HandlerContext
from app.engine.domain import Call, ConcurrencyLimit, Effect, Prepared, Wiring
from app.errors import FailingEvents, Permanent, Transient
from app.testing.database import Database
from events import Event, Payload
from events.base import event_type

_TABLES = """
CREATE SCHEMA IF NOT EXISTS toy;
CREATE TABLE IF NOT EXISTS toy.heard (id bigserial PRIMARY KEY, event_id uuid, word text);
ALTER TABLE toy.heard ENABLE ROW LEVEL SECURITY;
ALTER TABLE toy.heard FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS heard_service ON toy.heard;
CREATE POLICY heard_service ON toy.heard TO service_role USING (true) WITH CHECK (true);
GRANT USAGE ON SCHEMA toy TO service_role;
GRANT ALL ON toy.heard, toy.heard_id_seq TO service_role;
"""
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@cache
def install(database: Database) -> None:
    """Create the domain's schema and table once in a database, as the owner of the other tables."""
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        connection.execute(_TABLES)


@event_type("toy/word.said")
class Said(Payload):
    """A word for the handler. `mood`: the fault. `echoes`: the number of events that follow."""

    word: str
    mood: str = "fine"
    echoes: int = 0


@event_type("toy/echo.heard")
class Echo(Payload):
    """An event that follows from a word."""

    word: str


@event_type("toy/call.wanted")
class Wanted(Payload):
    """A request for a call. `mood`: the fault. `limit`: the key of its concurrency limit."""

    word: str
    mood: str = "fine"
    limit: str | None = None


@event_type("toy/call.made")
class Made(Payload):
    """The result of a call."""

    word: str
    outcome: str


def hear(context: HandlerContext, said: list[Event[Said]]) -> Iterator[Event[Echo]]:
    """Insert the words into the table, or fail as a mood says."""
    for event in said:
        match event.data.mood:
            case "bad":
                message = f"cannot hear {event.data.word}"
                raise Permanent(message)
            case "bug":
                message = f"bug at {event.data.word}"
                raise RuntimeError(message)
            case "later":
                message = "not now"
                raise Transient(message)
            case "deadlock":
                raise psycopg.errors.DeadlockDetected
            case "named":
                raise FailingEvents({e.id: "named" for e in said if e.data.mood == "named"})
            case _:
                note(context, event.id, event.data.word)
                for n in range(event.data.echoes):
                    yield event.follow(Echo(word=event.data.word), context.now, key=str(n))


def echo(context: HandlerContext, heard: list[Event[Echo]]) -> Iterable[Event[Echo]]:
    """Insert the echoes into the table."""
    for event in heard:
        note(context, event.id, f"echo of {event.data.word}")
    return ()


def made(context: HandlerContext, calls: list[Event[Made]]) -> Iterable[Event[Made]]:
    """Insert the results of calls into the table."""
    for event in calls:
        note(context, event.id, f"{event.data.word}: {event.data.outcome}")
    return ()


def note(context: HandlerContext, event_id: UUID, word: str) -> None:
    """Insert a row into the table."""
    context.connection.execute("INSERT INTO toy.heard (event_id, word) VALUES (%s, %s)", [event_id, word])


class Outside:
    """The outside world of the effect: records each call, and answers as the event's mood says."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Call]] = []
        self.stale: set[str] = set()

    def prepare(self, _context: HandlerContext, wanted: Sequence[Event[Wanted]]) -> Iterator[Prepared]:
        """Prepare every event whose word is not in `stale`."""
        for event in wanted:
            if event.data.word not in self.stale:
                yield Prepared(event, event.data)

    def limits(self, _connection: Connection, wanted: Sequence[Event[Wanted]]) -> dict[UUID, ConcurrencyLimit]:
        """Return a limit of two concurrent calls for each event that names one."""
        return {event.id: ConcurrencyLimit(event.data.limit, 2) for event in wanted if event.data.limit}

    async def call(self, prepared: Prepared, call: Call) -> Payload:
        """Fail as the mood says, or answer."""
        wanted: Wanted = prepared.work
        self.calls.append((wanted.word, call))
        if wanted.mood == "never" or (wanted.mood == "once" and call.attempt == 0):
            message = "no answer"
            raise Transient(message)
        if wanted.mood == "bad":
            message = "it is forbidden"
            raise Permanent(message)
        return Made(word=wanted.word, outcome="asked" if call.in_doubt else "made")

    def wiring(self, *, give_up: bool = False, can_be_asked: bool = True, batch_size: int = 25) -> Wiring:
        """Return the domain's wiring with this outside world."""
        effect = Effect(
            queue="toys",
            limits=self.limits,
            prepare=self.prepare,
            call=self.call,
            give_up=(lambda prepared, _error: Made(word=prepared.work.word, outcome="gave up")) if give_up else None,
            can_be_asked=can_be_asked,
            batch_size=batch_size,
        )
        return Wiring({Said: hear, Echo: echo, Made: made}, {Wanted: effect}, schemas=("tenancy", "logistics"))


def say(word: str, mood: str = "fine", echoes: int = 0) -> Event[Said]:
    """Return the event of a word."""
    return events.new(Said(word=word, mood=mood, echoes=echoes), now=NOW, subject=None, tenant=None)


def want(word: str, mood: str = "fine", limit: str | None = None, tenant: UUID | None = None) -> Event[Wanted]:
    """Return the request for a call."""
    return events.new(Wanted(word=word, mood=mood, limit=limit), now=NOW, subject=None, tenant=tenant)
