"""Metrics of deliveries: what was committed is counted, once, by the type of the event."""

from __future__ import annotations

import json
from contextlib import suppress

from app.context import Connection
from app.engine import metrics
from app.engine.queue.publish import publish
from app.engine.worker.rescue import rescue
from app.settings import settings, using
from app.testing import worker
from tests.helpers.metrics import grown
from tests.helpers.support import drain
from tests.helpers.toy import Outside, say, want

APPLIED, DEAD, PUT_BACK, OUTCOMES = (
    f"tallyman_{name}_total"
    for name in ("events_applied", "events_dead_lettered", "events_put_back", "effect_outcomes")
)
SAID, ECHO, WANTED, MADE = "toy/word.said", "toy/echo.heard", "toy/call.wanted", "toy/call.made"


def counters(found: dict[tuple[str, tuple[str, ...]], float]) -> dict[tuple[str, ...], float]:
    """Return the counters of a growth, by name and labels."""
    return {(name, *labels): value for (name, labels), value in found.items() if name.endswith("_total")}


def test_handlers_are_counted(connection: Connection, outside: Outside) -> None:
    """A batch with failing events is bisected: parts that were rolled back do not count, each event counts once."""
    with using(retry_base=100.0), grown() as found:
        publish(connection, *(say(f"{n}", echoes=1) for n in range(5)), say("no", "bad"), say("wait", "later"))
        drain(concurrency=1)
    assert counters(found) == {
        (APPLIED, SAID): 5,
        (APPLIED, ECHO): 5,
        (DEAD, SAID): 1,
        (PUT_BACK, "failed", SAID): 1,
    }
    for name in ("tallyman_event_handling_seconds", "tallyman_event_waiting_seconds"):
        deliveries = found[f"{name}_count", (SAID,)]
        assert 1 <= deliveries <= 5, "a delivery is observed once for each type"
        assert found[f"{name}_sum", (SAID,)] > 0


def test_effects_are_counted(connection: Connection, outside: Outside) -> None:
    """By what became of the event; each call is timed, whatever its outcome. An obsolete event is applied uncalled."""
    outside.stale.add("old")
    with using(retry_base=100.0), grown() as found:
        for word, mood in {"fine": "fine", "old": "fine", "no": "bad", "wait": "never"}.items():
            publish(connection, want(word, mood))
        drain()
    assert counters(found) == {
        (APPLIED, WANTED): 2,
        (APPLIED, MADE): 1,
        (DEAD, WANTED): 1,
        (PUT_BACK, "failed", WANTED): 1,
        (OUTCOMES, "result", WANTED): 1,
        (OUTCOMES, "dead_lettered", WANTED): 1,
        (OUTCOMES, "put_back", WANTED): 1,
    }
    assert found["tallyman_effect_call_seconds_count", (WANTED,)] == 3
    assert found["tallyman_event_waiting_seconds_count", (WANTED,)] == 3


def test_names_that_producers_choose_are_no_labels(connection: Connection, outside: Outside) -> None:
    """Or a producer could create any number of series: unknown types count as `unknown`."""
    raw = {**json.loads(say("x").json_bytes()), "type": "made/up", "dataschema": "made/up/1"}
    for patience, expected in ((600, (PUT_BACK, "unknown", "unknown")), (0, (DEAD, "unknown"))):
        connection.execute(
            "SELECT engine.enqueue(%s)",
            [json.dumps([{"queue": "events", "task": "consume", "priority": 0, "args": raw}])],
        )
        with using(unknown_patience=patience), grown() as found:
            drain()
        assert counters(found) == {expected: 1}


def test_rescues_are_counted(connection: Connection, outside: Outside) -> None:
    """And the events that are buried because they crash their workers."""
    publish(connection, say("killer"))
    with using(most_rescues=1), grown() as found:
        for _ in range(2):
            worker.fetch(connection, worker.register(connection))
            connection.execute("UPDATE public.procrastinate_workers SET last_heartbeat = now() - interval '1 hour'")
            rescue(connection, settings())
    assert counters(found) == {("tallyman_deliveries_rescued_total",): 2, (DEAD, SAID): 1}


def test_what_is_rolled_back_is_not_counted() -> None:
    """Nor what is counted outside of a transaction, as by a command that buries an event."""
    with grown() as found:
        metrics.rescued(1)
        with suppress(ZeroDivisionError), metrics.counted_on_commit():
            metrics.rescued(2)
            raise ZeroDivisionError
        with metrics.counted_on_commit():
            metrics.rescued(4)
    assert counters(found) == {("tallyman_deliveries_rescued_total",): 4}


def test_series_exist_before_their_first_event() -> None:
    """`increase()` sees nothing of the first event of a series that begins with 1."""
    metrics.expect(["toy/first.handled"], ["toy/first.called"])
    for kind in ("toy/first.handled", "toy/first.called"):
        assert metrics.REGISTRY.get_sample_value(APPLIED, {"type": kind}) == 0
        assert metrics.REGISTRY.get_sample_value(DEAD, {"type": kind}) == 0
    assert metrics.REGISTRY.get_sample_value(OUTCOMES, {"type": "toy/first.called", "outcome": "result"}) == 0
