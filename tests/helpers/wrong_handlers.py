"""Handlers and effects that are wrong, in the ways in which people get them wrong."""

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
    """Writes through a connection of its own, which nobody rolls back."""
    with doors.connect(autocommit=True) as connection:
        for event in said:
            connection.execute(_HEARD, [event.id, event.data.word])
    return [event.follow(Echo(word=event.data.word), context.now) for event in said]


def said_elsewhere(context: HandlerContext, said: list[Event[Said]]) -> Iterable[Event[Echo]]:
    """Publishes on a connection of its own, in a transaction of its own."""
    for event in said:
        note(context, event.id, event.data.word)
    with doors.connect() as connection:
        publish(connection, *(event.follow(Echo(word=event.data.word), context.now) for event in said))
    return ()


def commits(context: HandlerContext, said: list[Event[Said]]) -> Iterable[Event[Echo]]:
    """Commits what it has, to be on the safe side."""
    for event in said:
        note(context, event.id, event.data.word)
        context.connection.execute("COMMIT")
        context.connection.execute("BEGIN")
    return [event.follow(Echo(word=event.data.word), context.now) for event in said]


@dataclass(slots=True)
class Counting:
    """Counts in the process what it should count in the database."""

    heard: int = 0

    def start_over(self) -> None:
        """Count from none."""
        self.heard = 0

    def __call__(self, context: HandlerContext, said: list[Event[Said]]) -> Iterable[Event[Echo]]:
        """Note the words, and count them."""
        for event in said:
            note(context, event.id, event.data.word)
            self.heard += 1
        return ()


@dataclass(slots=True)
class Remembering:
    """Remembers in the process what it has noted, before that is committed."""

    known: set[str] = field(default_factory=set)

    def __call__(self, context: HandlerContext, said: list[Event[Said]]) -> Iterable[Event[Echo]]:
        """Note the words that are new."""
        for event in said:
            if event.data.word not in self.known:
                self.known.add(event.data.word)
                note(context, event.id, event.data.word)
        return ()


@dataclass(frozen=True, slots=True)
class Filing:
    """Writes a line to a file for each word: an outside world that no transaction covers."""

    path: Path

    def __call__(self, context: HandlerContext, said: list[Event[Said]]) -> Iterable[Event[Echo]]:
        """Note the words, in the file too."""
        for event in said:
            with self.path.open("a") as file:
                file.write(f"{event.data.word}\n")
            note(context, event.id, event.data.word)
        return ()


@dataclass(slots=True)
class Telegraph:
    """An outside world that sends whatever it is given, and can be asked whether it sent something."""

    sent: list[str] = field(default_factory=list)
    asks: bool = True
    """Whether the effect asks when in doubt: the wrong one does not."""

    def prepare(self, _context: HandlerContext, wanted: Sequence[Event[Wanted]]) -> Iterable[Prepared]:
        """Every word is wanted."""
        return [Prepared(event, event.data) for event in wanted]

    async def send(self, prepared: Prepared, call: Call) -> Made:
        """Send the word, unless an earlier call did."""
        word = prepared.work.word
        if not (self.asks and call.in_doubt and word in self.sent):
            await call.still_mine()
            self.sent.append(word)
        return Made(word=word, outcome="sent")

    def effect(self) -> Effect:
        """The effect around it."""
        return Effect(queue="toys", prepare=self.prepare, call=self.send)

    def observe(self, _connection: object) -> list[str]:
        """What was sent, in no order."""
        return sorted(self.sent)


def fails(_context: HandlerContext, _said: list[Event[Said]]) -> Iterable[Event[Echo]]:
    """Never works."""
    raise Transient("not today")


def throws_dice(context: HandlerContext, said: list[Event[Said]]) -> Iterable[Event[Echo]]:
    """Writes what nobody can foretell; that alone is no fault."""
    for event in said:
        note(context, event.id, uuid4().hex)
    return ()
