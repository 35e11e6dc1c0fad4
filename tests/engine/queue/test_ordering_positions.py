"""Ordering and operators: the positions of dead, replayed, discarded and replaced events."""

from __future__ import annotations

from psycopg.rows import class_row

from app.context import Connection
from app.engine.dead_letters import plan
from app.engine.dead_letters.letters import Filters
from app.engine.delivery import bury
from app.engine.delivery.engine import Engine
from app.engine.queue import ordering
from app.engine.queue.envelope import Row, open_rows
from app.engine.queue.publish import publish
from app.engine.worker.rescue import KilledItsWorkers
from tests.helpers.sequences import (
    StepFaults,
    deliver,
    deliver_all,
    held,
    paths,
    replay,
    step,
    taken,
)
from tests.helpers.support import scalar


def test_events_wait_behind_a_dead_one_until_it_is_replayed(
    connection: Connection, step_faults: StepFaults, worker: Engine
) -> None:
    """A replay keeps the position: replayed in the wrong order, they are applied in the right one."""
    (path,) = paths(1)
    step_faults.broken = {1, 3}
    steps = [step(path, n) for n in range(5)]
    publish(connection, *steps)
    deliver_all(worker, connection)
    assert taken(connection, path) == [0]
    step_faults.broken.remove(1)
    replay(connection, steps[1].id)
    deliver_all(worker, connection)
    assert taken(connection, path) == [0, 1, 2]
    step_faults.broken.clear()
    replay(connection, steps[3].id)
    deliver_all(worker, connection)
    assert taken(connection, path) == [0, 1, 2, 3, 4]


def test_dead_events_replayed_in_any_order_are_applied_in_theirs(
    connection: Connection, step_faults: StepFaults, worker: Engine
) -> None:
    """A replayed event waits for its predecessors, and `position` names them."""
    (path,) = paths(1)
    steps = [step(path, n) for n in range(2)]
    publish(connection, *steps)
    letters = open_rows(
        connection.cursor(row_factory=class_row(Row)).execute(
            "DELETE FROM public.procrastinate_jobs RETURNING id AS row_id, args::text AS args"
        )
    )
    bury.bury(connection, [(letter, KilledItsWorkers("twice")) for letter in letters])
    alone = plan.make(connection, Filters(ids=[steps[1].id]), actor="ana")
    assert [(one.class_, one.detail) for one in plan.letters(connection, alone.id)] == [
        ("blocked", f"it would wait behind the dead event {steps[0].id}, which is not in the plan")
    ]
    both = plan.make(connection, Filters(), actor="ana")
    assert [one.class_ for one in plan.letters(connection, both.id)] == ["valid", "valid"]
    replay(connection, steps[1].id)
    deliver_all(worker, connection)
    position = ordering.position_of(connection, steps[1].id)
    assert position is not None
    assert (position.is_held, position.ahead, position.first_id) == (True, 1, steps[0].id)
    replay(connection, steps[0].id)
    deliver_all(worker, connection)
    assert taken(connection, path) == [0, 1]


def test_an_event_does_not_overtake_one_that_is_held(
    connection: Connection, step_faults: StepFaults, worker: Engine
) -> None:
    """Delivered together with their predecessor, the later of two still waits for the earlier."""
    (path,) = paths(1)
    step_faults.broken = {0}
    steps = [step(path, n) for n in range(3)]
    publish(connection, *steps[:2])
    deliver_all(worker, connection)
    assert held(connection) == 1
    step_faults.broken.clear()
    replay(connection, steps[0].id)
    publish(connection, steps[2])
    assert deliver(worker, connection)
    assert taken(connection, path) == [0]
    deliver_all(worker, connection)
    assert taken(connection, path) == [0, 1, 2]


def test_a_discarded_event_frees_the_later_ones(
    connection: Connection, step_faults: StepFaults, worker: Engine
) -> None:
    """Its position is removed, and the held events follow."""
    (path,) = paths(1)
    step_faults.broken = {1}
    steps = [step(path, n) for n in range(4)]
    publish(connection, *steps)
    deliver_all(worker, connection)
    with connection.transaction():
        assert ordering.release(connection, [steps[1].id]) == 2
        connection.execute("UPDATE engine.failed_jobs SET resolved_at = now()")
    deliver_all(worker, connection)
    assert taken(connection, path) == [0, 2, 3]


def test_an_edited_event_has_the_position_of_the_old(
    connection: Connection, step_faults: StepFaults, worker: Engine
) -> None:
    """It is applied in its place."""
    (path,) = paths(1)
    step_faults.broken = {1}
    steps = [step(path, n) for n in range(3)]
    publish(connection, *steps)
    deliver_all(worker, connection)
    edited = step(path, 17)
    with connection.transaction():
        assert ordering.take_over(connection, steps[1].id, edited.id)
        publish(connection, edited)
    deliver_all(worker, connection)
    assert taken(connection, path) == [0, 17, 2]


def test_an_event_of_another_program_joins_at_its_first_delivery(
    connection: Connection, step_faults: StepFaults, worker: Engine
) -> None:
    """It has a position from then on, also if that delivery buries it."""
    (path,) = paths(1)
    step_faults.broken = {0}
    for n in range(2):
        connection.execute(
            "INSERT INTO public.procrastinate_jobs (queue_name, task_name, args) VALUES ('events', 'consume', %s)",
            [step(path, n).json_bytes().decode()],
        )
        deliver_all(worker, connection)
    assert (taken(connection, path), held(connection)) == ([], 1)


def test_positions_of_events_that_an_older_program_applied_are_removed(
    connection: Connection, step_faults: StepFaults, worker: Engine
) -> None:
    """It did not know the type as sequenced. The position delays no other event."""
    path, other = paths(2)
    steps = [step(path, 0), step(path, 1), step(other, 0)]
    publish(connection, *steps)
    connection.execute(
        "INSERT INTO engine.event_log (event_id, type, version, data, occurred_at)"
        " SELECT event_id, type, 1, '{}', now() FROM engine.sequence WHERE event_id = ANY(%s)",
        [[steps[0].id, steps[2].id]],
    )
    deliver_all(worker, connection)
    assert taken(connection, path) == [1]
    publish(connection, steps[2])
    assert ordering.sweep(connection, 10) == 1
    assert scalar(connection, "SELECT count(*) FROM engine.sequence") == 0
