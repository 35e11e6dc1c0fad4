"""Sequence: a subject's events are applied in the order of their publication, whatever happens to them."""

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
    """The words that were heard."""
    return [word for (word,) in connection.execute("SELECT word FROM toy.heard WHERE word !~ ':' ORDER BY word")]


def test_a_subjects_events_wait_behind_one_that_was_put_back(
    connection: Connection, step_faults: StepFaults, worker: Engine
) -> None:
    """Its later events are held, those of other subjects and types are not; when it is applied, they follow."""
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
def test_one_that_fails_among_many_holds_those_behind_it(
    connection: Connection, step_faults: StepFaults, worker: Engine, batch_size: int | None
) -> None:
    """In a batch and among siblings, wherever the bisect splits: a subject's order holds."""
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


def test_what_is_delivered_together_is_applied_in_order(
    connection: Connection, step_faults: StepFaults, worker: Engine
) -> None:
    """Whatever the order of their rows: an event that was put back has a younger row than those behind it."""
    (path,) = paths(1)
    publish(connection, step(path, 0), step(path, 1), step(path, 2), batch_size=1)
    connection.execute(
        "UPDATE public.procrastinate_jobs j SET args = other.args FROM public.procrastinate_jobs other"
        " WHERE j.id + other.id = (SELECT min(id) + max(id) FROM public.procrastinate_jobs)"
    )
    deliver_all(worker, connection)
    assert taken(connection, path) == [0, 1, 2]
    assert scalar(connection, "SELECT count(DISTINCT applied_at) FROM engine.event_log") == 1


def test_hundreds_that_were_held_follow_in_order(
    connection: Connection, step_faults: StepFaults, worker: Engine
) -> None:
    """They come out in batches, each when the one before it is applied."""
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
    """Fetched and not delivered yet, or lost with its worker: the second is held until the first is applied."""
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
    """While one is being applied, the other waits for its commit; then its turn has come."""
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
    """Singles and batches, delivered four at once by a real worker."""
    some = paths(5)
    for n in range(0, 300, 6):
        publish(connection, *[step(some[m % 5], m) for m in range(n, n + 6)], batch_size=None if n % 4 else 1)
    drain(concurrency=4)
    assert [taken(connection, path) for path in some] == [list(range(first, 300, 5)) for first in range(5)]
    assert waiting(connection) == 0


def test_the_order_is_that_of_the_commits_of_one_producer_after_the_other(
    connection: Connection, step_faults: StepFaults, worker: Engine
) -> None:
    """Rows of the queue have other priorities and delays: neither changes the order of a subject."""
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


def test_an_event_that_is_published_or_delivered_twice_has_one_place(
    connection: Connection, step_faults: StepFaults, worker: Engine
) -> None:
    """Copies of an applied event are acknowledged at once, copies of a held one are held with it."""
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


def test_what_is_not_sequenced_costs_no_query(connection: Connection, outside: toy.Outside) -> None:
    """Not one statement is sent: a connection that is closed will do."""
    connection.close()
    event = toy.say("word")
    letters = [QueuedEvent(1, 0, None, event)]
    assert ordering.take_next(connection, letters) is letters
    ordering.leave(connection, letters)
    ordering.keep_positions(connection, letters)
    assert ordering.joining([event]) == []


def test_a_sequenced_event_needs_a_subject_and_a_handler(connection: Connection, step_faults: StepFaults) -> None:
    """Without a subject it is not published, and no effect is carried out in order."""
    with pytest.raises(InvalidEvent, match="subject"):
        publish(connection, events.new(Step(n=1), now=toy.NOW, subject=None, tenant=None))
    assert waiting(connection) == 0
    outside = toy.Outside()
    with pytest.raises(TypeError, match=r"toy/step\.taken"):
        Wiring({}, {Step: Effect(queue="toys", prepare=outside.prepare, call=outside.call)})
    assert not [payload for payload in WIRING.effects if payload.sequenced]
