"""Prepare calls: the task of an event that its effect wants, and the end of one that it does not."""

from __future__ import annotations

from app.context import Connection
from app.engine.delivery.engine import Engine
from app.engine.effects.batch import Lease
from app.engine.effects.prepare import prepare
from app.engine.queue.lease import Delivery
from tests.helpers.queued import queued
from tests.helpers.support import scalar
from tests.helpers.toy import Outside, Wanted, want


def test_an_event_is_prepared_or_applied_at_once(connection: Connection, outside: Outside, engine: Engine) -> None:
    """A task knows whether its call is in doubt and its attempt is the last. An obsolete event needs no call."""
    effect = outside.wiring().effects[Wanted]
    outside.stale.add("obsolete")
    fresh, tried, obsolete = (queued(want(word), attempt=n) for n, word in enumerate(("fresh", "tried", "obsolete")))
    lease = Lease(engine, Delivery(1, 0, None), effect)
    with connection.transaction():
        tasks = prepare(connection, lease, effect, [(fresh, False), (tried, True), (obsolete, False)], {})
    assert [(task.event.data.word, task.call.in_doubt, task.call.attempt) for task in tasks] == [
        ("fresh", False, 0),
        ("tried", True, 1),
    ]
    assert scalar(connection, "SELECT event_id FROM engine.event_log") == obsolete.event_id
