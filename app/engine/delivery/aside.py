"""Set aside: requeue events that did not fail, until the obstacle (a lock, an old worker) has passed.

The events keep their attempts and share rows. A row stores the class of error and since when its events wait, by the
database's clock, so that the delay can grow with the time waited.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta

from app.context import Connection
from app.engine.queue.envelope import QueuedEvent, Since, remembered
from app.engine.queue.publish import put_aside
from app.engine.routing import Route

_SHORTEST_S = 1.0


def database_now(connection: Connection) -> datetime:
    """Return the time by the database's clock."""
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    if row is None:
        raise AssertionError
    found: datetime = row[0]
    return found


def waited(queued: QueuedEvent, error: BaseException, now: datetime) -> timedelta:
    """Return for how long an event has been set aside for errors of this class; zero if it has not."""
    if queued.since is None or queued.since.error.partition(":")[0] != type(error).__name__:
        return timedelta()
    return max(timedelta(), now - queued.since.at)


def set_aside(
    connection: Connection, route: Route, queued_events: Sequence[QueuedEvent], error: BaseException, *, longest: float
) -> float:
    """Requeue events under `route`, in new rows. Returns the delay in seconds, at most about `longest`.

    The delay is half of the longest time that one of them has waited for the same class of error: at least a second, at
    most `longest`, and up to a quarter more or less at random.
    """
    now = database_now(connection)
    before = max(waited(queued, error, now) for queued in queued_events)
    since = Since(remembered(error), now - before)
    delay = min(longest, max(_SHORTEST_S, before.total_seconds() / 2)) * random.uniform(0.75, 1.25)
    for attempt in sorted({queued.attempt for queued in queued_events}):
        raws = [queued.raw for queued in queued_events if queued.attempt == attempt]
        put_aside(connection, route, raws, since, delay=delay, attempt=attempt)
    return delay
