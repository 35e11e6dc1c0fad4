"""Handlers and effects with typical mistakes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from app import database as doors
from app.context import HandlerContext
from app.engine.domain import Call, Effect, Prepared
from app.engine.queue.publish import publish
from app.errors import Transient
from events import Event
from tests.helpers.toy import Echo, Made, Said, Wanted, note

_HEARD = "INSERT INTO toy.heard (event_id, word) VALUES (%s, %s)"


def own_connection(context: HandlerContext, said: list[Event[Said]]) -> Iterable[Event[Echo]]:
    """Write through a separate connection, which is not rolled back."""
    with doors.connect(autocommit=True) as connection:
        for event in said:
            connection.execute(_HEARD, [event.id, event.data.word])
    return [event.follow(Echo(word=event.data.word), context.now) for event in said]


def said_elsewhere(context: HandlerContext, said: list[Event[Said]]) -> Iterable[Event[Echo]]:
    """Publish in a separate transaction."""
    for event in said:
        note(context, event.id, event.data.word)
    with doors.connect() as connection:
        publish(connection, *(event.follow(Echo(word=event.data.word), context.now) for event in said))
    return ()


def commits(context: HandlerContext, said: list[Event[Said]]) -> Iterable[Event[Echo]]:
    """Commit inside the delivery."""
    for event in said:
        note(context, event.id, event.data.word)
        context.connection.execute("COMMIT")
        context.connection.execute("BEGIN")
    return [event.follow(Echo(word=event.data.word), context.now) for event in said]


@dataclass(slots=True)
class Counting:
    """Count in the process instead of in the database."""

    heard: int = 0

    def start_over(self) -> None:
        """Reset the count."""
        self.heard = 0

    def __call__(self, context: HandlerContext, said: list[Event[Said]]) -> Iterable[Event[Echo]]:
        """Insert the words, and count them."""
        for event in said:
            note(context, event.id, event.data.word)
            self.heard += 1
        return ()


@dataclass(slots=True)
class Remembering:
    """Remember in the process what was inserted, before it is committed."""

    known: set[str] = field(default_factory=set)

    def __call__(self, context: HandlerContext, said: list[Event[Said]]) -> Iterable[Event[Echo]]:
        """Insert the words that are not remembered."""
        for event in said:
            if event.data.word not in self.known:
                self.known.add(event.data.word)
                note(context, event.id, event.data.word)
        return ()


@dataclass(frozen=True, slots=True)
class Filing:
    """Write a line to a file for each word, outside any transaction."""

    path: Path

    def __call__(self, context: HandlerContext, said: list[Event[Said]]) -> Iterable[Event[Echo]]:
        """Insert the words, and write them to the file."""
        for event in said:
            with self.path.open("a") as file:
                file.write(f"{event.data.word}\n")
            note(context, event.id, event.data.word)
        return ()


@dataclass(slots=True)
class Telegraph:
    """An outside world that sends words, and can be asked what it sent."""

    sent: list[str] = field(default_factory=list)
    asks: bool = True
    """Whether the effect asks when in doubt: the wrong one does not."""

    def prepare(self, _context: HandlerContext, wanted: Sequence[Event[Wanted]]) -> Iterable[Prepared]:
        """Prepare every word."""
        return [Prepared(event, event.data) for event in wanted]

    async def send(self, prepared: Prepared, call: Call) -> Made:
        """Send the word, unless an earlier call did."""
        word = prepared.work.word
        if not (self.asks and call.in_doubt and word in self.sent):
            await call.still_mine()
            self.sent.append(word)
        return Made(word=word, outcome="sent")

    def effect(self) -> Effect:
        """Return the effect."""
        return Effect(queue="toys", prepare=self.prepare, call=self.send)

    def observe(self, _connection: object) -> list[str]:
        """Return the sent words, sorted."""
        return sorted(self.sent)


def fails(_context: HandlerContext, _said: list[Event[Said]]) -> Iterable[Event[Echo]]:
    """Always fail."""
    raise Transient("not today")


def throws_dice(context: HandlerContext, said: list[Event[Said]]) -> Iterable[Event[Echo]]:
    """Write random values, which is no mistake."""
    for event in said:
        note(context, event.id, uuid4().hex)
    return ()
