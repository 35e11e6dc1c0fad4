"""Doctor, the part of event types: events that nobody serves, and routes that are not those of the code."""

from __future__ import annotations

import pytest

from app.context import Connection
from app.engine import domain
from app.engine.domain import Wiring
from app.engine.queue.publish import publish
from tests.helpers.health_fixtures import enlist, of
from tests.helpers.toy import Outside, Said, say, want

WELL = [("ok", "the routes equal this program, and every event is served")]


@pytest.fixture(autouse=True)
def _worker(connection: Connection, outside: Outside) -> None:
    """A worker that serves every queue, and has registered its types."""
    enlist(connection)


def test_waiting_events_that_no_domain_serves_are_told(connection: Connection, outside: Outside) -> None:
    """By type and number, in whatever queue, due or delayed; not those that a domain serves."""
    publish(connection, say("a"), say("b"), want("call"))
    publish(connection, say("later"), delay=60)
    assert of("event types") == WELL
    served = outside.wiring()
    without = Wiring({kind: one for kind, one in served.handlers.items() if kind is not Said}, {})
    with domain.use(without):
        assert of("event types") == [
            ("warning", "no installed domain serves events that wait: toy/word.said (3); toy/call.wanted (1)")
        ]
    connection.execute("DELETE FROM public.procrastinate_jobs")
    connection.execute("DELETE FROM engine.delayed")
    with domain.use(without):
        assert of("event types") == WELL


def test_a_route_that_is_not_the_codes_is_told(connection: Connection) -> None:
    """Each column that differs, with both values; a type that is missing or retired; not a type of other programs."""
    connection.execute("UPDATE engine.event_types SET queue_name = 'slow', version = 7 WHERE type = 'toy/word.said'")
    connection.execute("UPDATE engine.event_types SET retired_at = now() WHERE type = 'toy/echo.heard'")
    connection.execute("UPDATE engine.event_types SET type = 'bell/rung' WHERE type = 'toy/call.made'")
    ((level, what),) = of("event types")
    assert level == "warning"
    assert what == (
        "engine.event_types differs from this program: toy/call.made is not registered;"
        " toy/echo.heard is not registered; toy/word.said has version 7, not 1, queue_name slow, not events"
    )
