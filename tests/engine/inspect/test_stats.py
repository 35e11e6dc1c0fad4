"""Stats: rates and durations of a time span, from the ledger and the dead letters."""

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
    """Insert an event that was published and applied a number of seconds ago. Returns its id."""
    event_id = event_id or uuid4()
    connection.execute(
        "INSERT INTO engine.event_log (event_id, type, version, causation_id, data, occurred_at, applied_at)"
        " VALUES (%s, %s, 1, %s, '{}', now() - %s * interval '1 s', now() - %s * interval '1 s')",
        [event_id, kind, cause, said, applied],
    )
    return event_id


def by_type(connection: Connection, since: timedelta = HOUR) -> dict[str, TypeStats]:
    """Return the stats by type."""
    return {one.type: one for one in stats(connection, since)}


def test_waiting_is_from_publication_to_application(connection: Connection, outside: Outside) -> None:
    """A hundred events that waited 1 to 100 seconds. Earlier applications do not count."""
    with connection.transaction():
        for n in range(1, 101):
            ledger(connection, "toy/word.said", said=10 + n, applied=10)
        ledger(connection, "toy/word.said", said=9000, applied=4000)
        found = by_type(connection)["toy/word.said"]
    assert (found.applied, found.applied_a_minute) == pytest.approx((100, 100 / 60))
    assert (found.waiting_p50, found.waiting_p95) == pytest.approx((50.5, 95.05))
    assert (found.handling_p50, found.handling_p95, found.dead) == (None, None, 0)


def test_handling_is_known_for_effects_only(connection: Connection, outside: Outside) -> None:
    """From the request to its result, which is found by its cause."""
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


def test_dead_letters_are_counted_by_their_failure(connection: Connection, outside: Outside) -> None:
    """Also of types without applied events, and whether resolved or not."""
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
    """An event of the future has waited for zero seconds."""
    ledger(connection, "toy/word.said", said=-30, applied=10)
    assert by_type(connection)["toy/word.said"].waiting_p50 == 0


@pytest.mark.parametrize("since", [timedelta(0), timedelta(seconds=-1), timedelta(days=367)])
def test_a_bad_span_is_refused(connection: Connection, outside: Outside, since: timedelta) -> None:
    """It must be positive, and at most as long as the ledger is kept."""
    with pytest.raises(InvalidInput, match="since: must be more than 0 and at most 366 days"):
        stats(connection, since)
