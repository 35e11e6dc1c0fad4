"""Effects of the toy domain with other properties: calls that cannot be asked about, and calls with keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

from app.context import Connection, HandlerContext
from app.engine.domain import Call, Effect, Prepared, Wiring
from events import Event, Payload
from tests.helpers.toy import Made, Outside, Wanted

_DEAD = "SELECT error_class FROM engine.failed_jobs WHERE resolved_at IS NULL"


@dataclass
class Mail:
    """An outside world that cannot be asked. Calls raise `errors`, one each, and then succeed."""

    outside: Outside
    errors: list[Exception | Callable[[], object]] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)

    async def send(self, prepared: Prepared, call: Call) -> Payload:
        """Raise the next error, or send."""
        await call.still_mine()
        if self.errors:
            error = self.errors.pop(0)
            if isinstance(error, Exception):
                raise error
            error()
        self.sent.append(prepared.work.word)
        return Made(word=prepared.work.word, outcome="sent")

    def wiring(self, **options: Any) -> Wiring:
        """Return the toy domain's wiring with this effect. `options`: fields of the `Effect`."""
        options = {"can_be_asked": False, "limits": self.outside.limits, "result": Made, "at_once": 1, **options}
        effect = Effect(queue="toys", prepare=self.outside.prepare, call=self.send, **options)
        return Wiring(self.outside.wiring().handlers, {Wanted: effect})


def deaths(connection: Connection) -> list[str]:
    """Return the error classes of the open dead letters."""
    return [name for (name,) in connection.execute(_DEAD)]


def word_key(event: Event[Wanted]) -> UUID:
    """Return the key of a call: events with the same word request the same call."""
    return uuid5(NAMESPACE_OID, event.data.word)


def keyed(outside: Outside) -> Wiring:
    """Return the toy domain's wiring with `word_key`: one call for all events with the same word."""

    def prepare(context: HandlerContext, wanted: Sequence[Event[Wanted]]) -> Iterator[Prepared]:
        done = {word for (word,) in context.connection.execute("SELECT split_part(word, ':', 1) FROM toy.heard")}
        return (Prepared(event, event.data) for event in wanted if event.data.word not in done)

    effect = Effect(queue="toys", prepare=prepare, call=outside.call, call_key=word_key)
    return Wiring(outside.wiring().handlers, {Wanted: effect})
