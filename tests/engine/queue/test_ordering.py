"""Ordering: events of a subject are applied in the order of publication."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest

import events
from app.context import Connection, HandlerContext
from app.engine import domain
from app.engine.delivery.consume import consume
from app.engine.delivery.engine import Engine
from app.engine.domain import Effect, Wiring
from app.engine.queue import ordering
from app.engine.queue.envelope import QueuedEvent
from app.engine.queue.publish import publish
from app.program import WIRING
from events import Event, InvalidEvent
from tests.helpers import toy
from tests.helpers.sequences import (
    Step,
    StepFaults,
    deliver_all,
    fetch,
    held,
    make_due,
    paths,
    replay,
    step,
    taken,
)
from tests.helpers.support import drain, scalar, waiting
from tests.helpers.waits import LIMIT_S, until_somebody_waits


def heard(connection: Connection) -> list[str]:
    """Return the applied words."""
    return [word for (word,) in connection.execute("SELECT word FROM toy.heard WHERE word !~ ':' ORDER BY word")]


def test_a_subjects_events_wait_behind_one_that_was_put_back(
    connection: Connection, step_faults: StepFaults, worker: Engine
) -> None:
    """Later events are held until it is applied. Other subjects and types are not."""
    path, other = paths(2)
    step_faults.shaky[2] = 1
    publish(connection, *[step(path, n) for n in range(5)], *[step(other, n) for n in range(10, 13)], toy.say("word"))
    deliver_all(worker, connection)
    assert (taken(connection, path), taken(connection, other)) == ([0, 1], [10, 11, 12])
    assert (heard(connection), held(connection)) == (["word"], 2)
    publish(connection, step(path, 5))
    deliver_all(worker, connection)
    assert taken(connection, path) == [0, 1]
    make_due(connection)
    deliver_all(worker, connection)
    assert taken(connection, path) == [0, 1, 2, 3, 4, 5]
    assert scalar(connection, "SELECT count(*) FROM engine.sequence") == 0


@pytest.mark.parametrize("batch_size", [1, None])
def test_a_failing_event_holds_the_later_ones_of_its_subject(
    connection: Connection, step_faults: StepFaults, worker: Engine, batch_size: int | None
) -> None:
    """In a batch and among siblings, wherever the bisection splits."""
    some = paths(3)
    step_faults.broken = {7}
    step_faults.shaky = {13: 2}
    publish(connection, *[step(some[n % 3], n) for n in range(30)], batch_size=batch_size)
    deliver_all(worker, connection)
    assert [taken(connection, path) for path in some] == [
        list(range(0, 30, 3)),
        [1, 4],
        [2, 5, 8, 11, 14, 17, 20, 23, 26, 29],
    ]
    step_faults.broken.clear()
    replay(connection, scalar(connection, "SELECT event_id FROM engine.failed_jobs"))
    for _ in range(3):
        deliver_all(worker, connection)
        make_due(connection)
    assert taken(connection, some[1]) == list(range(1, 30, 3))


def test_events_of_one_delivery_are_applied_in_order(
    connection: Connection, step_faults: StepFaults, worker: Engine
) -> None:
    """Whatever the order of their rows: an event that was put back has a newer row."""
    (path,) = paths(1)
    publish(connection, step(path, 0), step(path, 1), step(path, 2), batch_size=1)
    connection.execute(
        "UPDATE public.procrastinate_jobs j SET args = other.args FROM public.procrastinate_jobs other"
        " WHERE j.id + other.id = (SELECT min(id) + max(id) FROM public.procrastinate_jobs)"
    )
    deliver_all(worker, connection)
    assert taken(connection, path) == [0, 1, 2]
    assert scalar(connection, "SELECT count(DISTINCT applied_at) FROM engine.event_log") == 1


def test_hundreds_of_held_events_follow_in_order(
    connection: Connection, step_faults: StepFaults, worker: Engine
) -> None:
    """In batches, each after its predecessor."""
    (path,) = paths(1)
    step_faults.shaky = {0: 1}
    publish(connection, *[step(path, n) for n in range(1, 1201)], step(path, 1201))
    deliver_all(worker, connection)
    assert taken(connection, path) == list(range(1, 1202))
    publish(connection, step(path, 0), *[step(path, n) for n in range(2000, 3100)])
    deliver_all(worker, connection)
    assert held(connection) == 1100
    make_due(connection)
    deliver_all(worker, connection)
    assert taken(connection, path)[1201:] == [0, *range(2000, 3100)]


def test_an_event_does_not_overtake_one_that_another_worker_has(
    connection: Connection, step_faults: StepFaults, worker: Engine
) -> None:
    """While the first is fetched and not delivered, or its worker crashed, the second is held."""
    (path,) = paths(1)
    publish(connection, step(path, 0), batch_size=1)
    first = fetch(connection)
    assert first is not None
    publish(connection, step(path, 1))
    deliver_all(worker, connection)
    assert (taken(connection, path), held(connection)) == ([], 1)
    consume(worker, first[0], siblings=True)
    deliver_all(worker, connection)
    assert taken(connection, path) == [0, 1]


def test_two_deliveries_of_one_subject_decide_one_after_the_other(
    connection: Connection, step_faults: StepFaults, worker: Engine
) -> None:
    """The second waits for the commit of the first, and is then next in order."""
    (path,) = paths(1)
    entered, go = threading.Event(), threading.Event()

    def slowly(context: HandlerContext, steps: list[Event[Step]]) -> Iterable[Event[Step]]:
        if steps[0].data.n == 0:
            entered.set()
            assert go.wait(20)
        return step_faults.walk(context, steps)

    publish(connection, step(path, 0))
    first = fetch(connection)
    publish(connection, step(path, 1))
    second = fetch(connection)
    assert first
    assert second
    with domain.use(Wiring({Step: slowly}, {})), ThreadPoolExecutor(2) as threads:
        one = threads.submit(consume, worker, first[0], siblings=True)
        assert entered.wait(20)
        two = threads.submit(consume, worker, second[0], siblings=True)
        until_somebody_waits(connection)
        go.set()
        assert (one.result(LIMIT_S), two.result(LIMIT_S)) == (1, 1)
    assert taken(connection, path) == [0, 1]


def test_many_workers_keep_every_subjects_order(
    connection: Connection, step_faults: StepFaults, worker: Engine
) -> None:
    """Single events and batches, four deliveries at once."""
    some = paths(5)
    for n in range(0, 300, 6):
        publish(connection, *[step(some[m % 5], m) for m in range(n, n + 6)], batch_size=None if n % 4 else 1)
    drain(concurrency=4)
    assert [taken(connection, path) for path in some] == [list(range(first, 300, 5)) for first in range(5)]
    assert waiting(connection) == 0


def test_the_order_is_that_of_the_commits_of_one_producer_after_the_other(
    connection: Connection, step_faults: StepFaults, worker: Engine
) -> None:
    """Priorities and delays of rows do not change it."""
    (path,) = paths(1)
    publish(connection, step(path, 0), delay=60)
    publish(connection, step(path, 1))
    connection.execute("UPDATE public.procrastinate_jobs SET priority = 90")
    publish(connection, step(path, 2))
    deliver_all(worker, connection)
    assert taken(connection, path) == []
    make_due(connection)
    deliver_all(worker, connection)
    assert taken(connection, path) == [0, 1, 2]


def test_a_repeated_event_has_one_position(connection: Connection, step_faults: StepFaults, worker: Engine) -> None:
    """Copies of an applied event are acknowledged; copies of a held event are held."""
    (path,) = paths(1)
    step_faults.shaky = {0: 2}
    steps = [step(path, n) for n in range(2)]
    publish(connection, *steps)
    publish(connection, *steps)
    deliver_all(worker, connection)
    assert held(connection) == 1
    make_due(connection)
    deliver_all(worker, connection)
    publish(connection, *steps)
    deliver_all(worker, connection)
    assert taken(connection, path) == [0, 1]
    assert scalar(connection, "SELECT count(*) FROM engine.sequence") == 0


def test_other_events_cost_no_query(connection: Connection, outside: toy.Outside) -> None:
    """No statement is sent for them."""
    connection.close()
    event = toy.say("word")
    letters = [QueuedEvent(1, 0, None, event)]
    assert ordering.take_next(connection, letters) is letters
    ordering.leave(connection, letters)
    ordering.keep_positions(connection, letters)
    assert ordering.joining([event]) == []


def test_a_sequenced_event_needs_a_subject_and_a_handler(connection: Connection, step_faults: StepFaults) -> None:
    """It is not published without a subject, and an effect cannot be sequenced."""
    with pytest.raises(InvalidEvent, match="subject"):
        publish(connection, events.new(Step(n=1), now=toy.NOW, subject=None, tenant=None))
    assert waiting(connection) == 0
    outside = toy.Outside()
    with pytest.raises(TypeError, match=r"toy/step\.taken"):
        Wiring({}, {Step: Effect(queue="toys", prepare=outside.prepare, call=outside.call)})
    assert not [payload for payload in WIRING.effects if payload.sequenced]
