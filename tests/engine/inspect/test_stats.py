"""Stats: what the ledger and the dead letters say of a span of time, and nothing that they do not know."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from app.context import Connection
from app.engine.inspect.stats import TypeStats, stats
from app.engine.queue.publish import publish
from app.errors import InvalidInput
from tests.helpers.support import drain_all
from tests.helpers.toy import Outside, say, want

HOUR = timedelta(hours=1)


def ledger(
    connection: Connection,
    kind: str,
    *,
    said: float,
    applied: float,
    event_id: UUID | None = None,
    cause: UUID | None = None,
) -> UUID:
    """An event that was said and applied so many seconds ago; its id."""
    event_id = event_id or uuid4()
    connection.execute(
        "INSERT INTO engine.event_log (event_id, type, version, causation_id, data, occurred_at, applied_at)"
        " VALUES (%s, %s, 1, %s, '{}', now() - %s * interval '1 s', now() - %s * interval '1 s')",
        [event_id, kind, cause, said, applied],
    )
    return event_id


def by_type(connection: Connection, since: timedelta = HOUR) -> dict[str, TypeStats]:
    """The stats by type."""
    return {one.type: one for one in stats(connection, since)}


def test_rates_are_of_the_span_and_waiting_is_from_said_to_applied(connection: Connection, outside: Outside) -> None:
    """A hundred events that waited 1 to 100 seconds; what was applied before the span is not in it."""
    with connection.transaction():
        for n in range(1, 101):
            ledger(connection, "toy/word.said", said=10 + n, applied=10)
        ledger(connection, "toy/word.said", said=9000, applied=4000)
        found = by_type(connection)["toy/word.said"]
    assert (found.applied, found.applied_a_minute) == pytest.approx((100, 100 / 60))
    assert (found.waiting_p50, found.waiting_p95) == pytest.approx((50.5, 95.05))
    assert (found.handling_p50, found.handling_p95, found.dead) == (None, None, 0)


def test_handling_is_from_asked_to_counted_and_known_of_effects_alone(connection: Connection, outside: Outside) -> None:
    """The answer is found by its cause, whenever that was said; what follows from a handler's event is none."""
    with connection.transaction():
        for n in range(1, 101):
            asked = ledger(connection, "toy/call.wanted", said=5000 + n, applied=4000)
            ledger(connection, "toy/call.made", said=3900, applied=1000, cause=asked)
        word = ledger(connection, "toy/word.said", said=60, applied=50)
        ledger(connection, "toy/echo.heard", said=50, applied=40, cause=word)
        found = by_type(connection, 2 * HOUR)
    wanted = found["toy/call.wanted"]
    assert (wanted.handling_p50, wanted.handling_p95) == pytest.approx((4050.5, 4095.05))
    assert wanted.waiting_p50 == pytest.approx(1050.5)
    assert found["toy/call.made"].handling_p50 is None
    assert found["toy/word.said"].handling_p50 is None


def test_the_dead_are_counted_by_when_they_died(connection: Connection, outside: Outside) -> None:
    """Also of a type of which nothing was applied, and whatever became of them since."""
    publish(connection, say("a", "bad"), say("b", "bad"), say("c", "bad"), want("d", "bad"), say("fine"))
    drain_all(connection)
    connection.execute("UPDATE engine.failed_jobs SET resolved_at = now() WHERE event_data->'data'->>'word' = 'a'")
    connection.execute(
        "UPDATE engine.failed_jobs SET failed_at = now() - interval '2 h' WHERE event_data->'data'->>'word' = 'b'"
    )
    found = by_type(connection)
    assert {name: (one.applied, one.dead) for name, one in found.items()} == {
        "toy/call.wanted": (0, 1),
        "toy/word.said": (1, 2),
    }
    assert found["toy/call.wanted"].dead_a_minute == pytest.approx(1 / 60)
    assert found["toy/call.wanted"].waiting_p50 is None


def test_a_producers_clock_that_is_ahead_makes_no_negative_time(connection: Connection, outside: Outside) -> None:
    """What was said in the future has waited for nothing."""
    ledger(connection, "toy/word.said", said=-30, applied=10)
    assert by_type(connection)["toy/word.said"].waiting_p50 == 0


@pytest.mark.parametrize("since", [timedelta(0), timedelta(seconds=-1), timedelta(days=367)])
def test_a_span_must_be_one(connection: Connection, outside: Outside, since: timedelta) -> None:
    """More than nothing, and no more than a ledger keeps."""
    with pytest.raises(InvalidInput, match="since: must be more than 0 and at most 366 days"):
        stats(connection, since)
