"""Bisect a failed batch: end the failing events, apply the others, and requeue a batch that takes too long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from psycopg import errors as pg

from app.context import Connection, HandlerContext
from app.engine import domain
from app.engine.delivery.bisect import Act, Bisect
from app.engine.delivery.engine import Engine
from app.engine.delivery.sibling_limit import FIRST
from app.engine.domain import Wiring
from app.engine.queue.envelope import QueuedEvent, Row, open_rows
from app.engine.queue.publish import publish
from app.errors import FailingEvents
from app.settings import settings
from events import Event
from tests.conftest import Database
from tests.helpers import sequences, toy
from tests.helpers.support import scalar
from tests.helpers.toy import Said, say

_ROWS = """
SELECT (args->>'attempt')::int, jsonb_array_length(args->'events'), place = 'queue'
  FROM engine.waiting() WHERE args ? 'events' ORDER BY place, row_id
"""


class Slow:
    """A handler that sleeps at words with the mood `slow`, and counts how often."""

    def __init__(self) -> None:
        self.naps = 0

    def hear(self, context: HandlerContext, said: list[Event[Said]]) -> Iterable[Event[Said]]:
        """Insert the words, and sleep at the slow ones."""
        for event in said:
            toy.note(context, event.id, event.data.word)
            if event.data.mood == "slow":
                self.naps += 1
                context.connection.execute("SELECT pg_sleep(60)")
        return ()


@pytest.fixture
def slow(database: Database, outside: toy.Outside, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    """The handler, with a short time-out."""
    monkeypatch.setenv("TALLYMAN_HANDLER_TIMEOUT", "0.3")
    settings.cache_clear()
    slow = Slow()
    with domain.use(Wiring(handlers={Said: slow.hear}, effects={})):
        yield slow


@pytest.mark.parametrize("together", [True, False], ids=["batch", "siblings"])
def test_a_batch_that_times_out_is_requeued_in_parts(
    connection: Connection, slow: Slow, engine: Engine, *, together: bool
) -> None:
    """One time-out a delivery. The parts are due at once and spend no attempt; the slow event alone spends one."""
    count = 64 if together else 1 + FIRST
    words = [say(f"{n:02}", "slow" if n == 21 else "fine") for n in range(count)]
    with connection.transaction():
        for batch in [words] if together else [[word] for word in words]:
            publish(connection, *batch)
    sequences.deliver(engine, connection)
    assert slow.naps == 1
    rows = connection.execute(_ROWS).fetchall()
    assert {(attempt, due) for attempt, _, due in rows} == {(0, True)}
    sizes = [size for _, size, _ in rows]
    assert (sum(sizes), max(sizes)) == (count, count // 8)
    sequences.deliver_all(engine, connection)
    assert scalar(connection, "SELECT count(*) FROM toy.heard") == count - 1
    assert slow.naps == 3
    assert connection.execute(_ROWS).fetchall() == [(1, 1, False)]
    assert scalar(connection, "SELECT args->'events'->0->'data'->>'word' FROM engine.delayed") == "21"


def test_an_event_that_always_times_out_is_buried_by_the_policy(
    connection: Connection, slow: Slow, engine: Engine
) -> None:
    """Each delivery spends an attempt."""
    publish(connection, say("never", "slow"))
    for _ in range(3):
        sequences.deliver(engine, connection)
        sequences.make_due(connection)
    assert scalar(connection, "SELECT error_class FROM engine.failed_jobs") == "QueryCanceled"
    assert slow.naps == 3


def test_a_bisection_that_takes_too_long_ends_in_parts(connection: Connection, slow: Slow, engine: Engine) -> None:
    """With slow errors the rest is requeued after one time-out, and not bisected further."""

    def hear(context: HandlerContext, said: list[Event[Said]]) -> Iterable[Event[Said]]:
        context.connection.execute("SELECT pg_sleep(0.2)")
        if any(event.data.mood == "bug" for event in said):
            raise RuntimeError
        for event in said:
            toy.note(context, event.id, event.data.word)
        return ()

    with domain.use(Wiring(handlers={Said: hear}, effects={})):
        publish(connection, *[say(f"{n:02}", "bug" if n == 0 else "fine") for n in range(64)])
        sequences.deliver(engine, connection)
        rows = connection.execute(_ROWS).fetchall()
        assert len(rows) > 1
        assert {attempt for attempt, *_ in rows} == {0}
        sequences.deliver_all(engine, connection)
    assert scalar(connection, "SELECT count(*) FROM toy.heard") == 63
    assert connection.execute(_ROWS).fetchall() == [(1, 1, False)]


@dataclass
class Acts:
    """The acts of a bisection. `bad`: errors by word. `ended`: the error with which each word was ended."""

    bad: dict[str, Exception]
    applied: list[str] = field(default_factory=list)
    ended: dict[str, str] = field(default_factory=dict)
    transactions: int = 0

    def apply(self, _connection: Connection, events: Sequence[QueuedEvent]) -> int:
        """Apply the events, or raise the error of the first bad word."""
        self.transactions += 1
        words = [event.raw["data"]["word"] for event in events]
        for word in words:
            if word in self.bad:
                raise self.bad[word]
        self.applied += words
        return len(words)

    def end(self, error: Exception) -> Act:
        """Return the act that ends events with an error."""

        def act(_connection: Connection, events: Sequence[QueuedEvent]) -> int:
            self.ended.update({event.raw["data"]["word"]: str(error) for event in events})
            return 0

        return act


def bisection(engine: Engine, connection: Connection, count: int, acts: Acts) -> Bisect:
    """Return the bisection of a fetched row of `count` words."""
    publish(connection, *[say(f"{n:02}") for n in range(count)])
    (delivery, _) = sequences.fetch(connection) or (None, False)
    assert delivery is not None
    (row,) = connection.execute("SELECT id, args::text FROM public.procrastinate_jobs").fetchall()
    return Bisect(engine, delivery, open_rows([Row(*row)]), apply=acts.apply, end=acts.end)


def test_the_failing_events_are_ended_and_the_others_applied(
    connection: Connection, outside: toy.Outside, engine: Engine
) -> None:
    """Each failing event is ended with its own error. Halving needs few transactions, and the row is gone."""
    acts = Acts({"03": RuntimeError("a"), "30": RuntimeError("b")})
    search = bisection(engine, connection, 32, acts)
    assert search.run(search.left, RuntimeError("a")) == 30
    assert acts.ended == {"03": "a", "30": "b"}
    assert sorted(acts.applied) == [f"{n:02}" for n in range(32) if n not in {3, 30}]
    assert acts.transactions <= 20
    assert scalar(connection, "SELECT count(*) FROM public.procrastinate_jobs") == 0


def test_events_that_an_error_names_are_not_searched_for(
    connection: Connection, outside: toy.Outside, engine: Engine
) -> None:
    """Only the named events are ended. The others are applied in one transaction."""
    acts = Acts({})
    search = bisection(engine, connection, 32, acts)
    named = search.left[7].event_id
    assert named is not None
    assert search.run(search.left, FailingEvents({named: "no", uuid4(): "elsewhere"})) == 31
    assert (acts.ended, acts.transactions) == ({"07": f"{named}: no"}, 1)


def test_an_error_that_is_not_the_events_ends_them_together(
    connection: Connection, outside: toy.Outside, engine: Engine
) -> None:
    """A conflict that lasts says nothing about single events: they are not tried apart."""
    acts = Acts({})
    search = bisection(engine, connection, 8, acts)
    assert search.run(search.left, pg.DeadlockDetected("conflict")) == 0
    assert (len(acts.ended), acts.transactions) == (8, 0)


def test_a_lost_lease_ends_the_bisection(connection: Connection, outside: toy.Outside, engine: Engine) -> None:
    """Another worker has the row: nothing is applied or ended."""
    acts = Acts({})
    search = bisection(engine, connection, 2, acts)
    connection.execute("UPDATE public.procrastinate_jobs SET attempts = attempts + 1")
    assert search.run(search.left, RuntimeError()) == 0
    assert (acts.applied, acts.ended) == ([], {})
    assert scalar(connection, "SELECT jsonb_array_length(args->'events') FROM public.procrastinate_jobs") == 2
