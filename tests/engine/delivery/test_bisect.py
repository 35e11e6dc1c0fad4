"""Bisect: a batch that takes too long goes back in parts, and no delivery spends more than about one time-out on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from app.context import Connection, HandlerContext
from app.engine import domain
from app.engine.delivery.engine import Engine
from app.engine.delivery.sibling_limit import FIRST
from app.engine.domain import Wiring
from app.engine.queue.publish import publish
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
    """A handler that sleeps over words with the mood `slow`, and counts how often it does."""

    def __init__(self) -> None:
        self.naps = 0

    def hear(self, context: HandlerContext, said: list[Event[Said]]) -> Iterable[Event[Said]]:
        """Note the words, sleep over the slow ones."""
        for event in said:
            toy.note(context, event.id, event.data.word)
            if event.data.mood == "slow":
                self.naps += 1
                context.connection.execute("SELECT pg_sleep(60)")
        return ()


@pytest.fixture
def slow(database: Database, outside: toy.Outside, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    """The handler, with a time-out that a test can wait for."""
    monkeypatch.setenv("TALLYMAN_HANDLER_TIMEOUT", "0.3")
    settings.cache_clear()
    slow = Slow()
    with domain.use(Wiring(handlers={Said: slow.hear}, effects={})):
        yield slow


@pytest.fixture
def engine(database: Database) -> Iterator[Engine]:
    """An engine whose deliveries the test makes."""
    with sequences.engine(database) as made:
        yield made


@pytest.mark.parametrize("together", [True, False], ids=["batch", "siblings"])
def test_a_batch_that_times_out_goes_back_in_parts(
    connection: Connection, slow: Slow, engine: Engine, *, together: bool
) -> None:
    """One time-out a delivery; the parts are due at once and spend no attempt; the slow event alone spends one."""
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
    """Its attempts are spent one time-out after the other."""
    publish(connection, say("never", "slow"))
    for _ in range(3):
        sequences.deliver(engine, connection)
        sequences.make_due(connection)
    assert scalar(connection, "SELECT error_class FROM engine.failed_jobs") == "QueryCanceled"
    assert slow.naps == 3


def test_a_search_that_takes_too_long_ends_in_parts(connection: Connection, slow: Slow, engine: Engine) -> None:
    """Errors that come slowly: after one time-out's length the rest goes back instead of being halved on."""

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
