"""Outcomes: the transactions that write down what came of calls, and hand back what was not called."""

from __future__ import annotations

from collections import Counter

from app.context import Connection, Moment
from app.engine import slots
from app.engine.consume import end
from app.engine.consume import record as enter_ledger
from app.engine.delivery import hold, release
from app.engine.parcel import Parcel, Task, again
from app.engine.publish import publish
from app.engine.registry import PARCEL, Lane
from app.engine.retry import Bury, decide
from app.errors import Transient
from events import Payload

_OVER = "DELETE FROM engine.calls WHERE event_id = ANY(%s)"
_NEVER_BEGUN = "DELETE FROM engine.calls WHERE event_id = ANY(%s) AND tries = 1"


def record(parcel: Parcel) -> None:
    """Write down every outcome that is there; the row shrinks to what is still open, or goes.

    With it shrink its slots to what it can still use, or they grow if there are free ones; and if there are more free
    ones than that, whoever has been parked for longest is woken.
    """
    if all(task.outcome is None for task in parcel.tasks):
        return  # the record before took these along
    with parcel.engine.pool.connection() as connection, connection.transaction():
        hold(connection, parcel.delivery)
        rest = _record(connection, parcel)
        release(connection, parcel.delivery, [task.letter for task in rest])
        lanes = _resize(connection, parcel, rest)
    parcel.tasks, parcel.lanes = rest, lanes


def hand_back(parcel: Parcel) -> None:
    """The delivery ends before its time: record what is there, and let the rest wait again with the same attempt."""
    if not parcel.tasks:
        return
    with parcel.engine.pool.connection() as connection, connection.transaction():
        hold(connection, parcel.delivery)
        rest = _record(connection, parcel)
        connection.execute(_NEVER_BEGUN, [[task.event.id for task in rest if not task.begun]])
        again(connection, [task.letter for task in rest if not task.begun], parcel=PARCEL)
        begun = [task.letter for task in rest if task.begun]
        again(connection, begun, delay=parcel.effect.settle(), parcel=PARCEL)
        release(connection, parcel.delivery, [])
        _resize(connection, parcel, [])
    parcel.tasks = []


def _resize(connection: Connection, parcel: Parcel, rest: list[Task]) -> dict[Lane, int]:
    open_ = Counter(task.lane for task in rest)
    wanted = {lane: min(open_[lane], parcel.effect.at_once) for lane in parcel.lanes}
    granted = slots.take(connection, parcel.delivery, wanted)
    for lane in sorted(granted):
        slots.wake_parked(connection, lane)
    return granted


def _record(connection: Connection, parcel: Parcel) -> list[Task]:
    # Looked at once: while this transaction runs, calls go on and more outcomes come.
    settled = [task for task in parcel.tasks if task.outcome is not None]
    said = [(task, payload) for task in settled if (payload := _said(parcel, task)) is not None]
    applied = {event.id for event in enter_ledger(connection, [task.letter for task, _ in said])}
    now = Moment.begin(connection).now
    publish(connection, *(task.event.follow(payload, now) for task, payload in said if task.event.id in applied))
    connection.execute(_OVER, [[task.event.id for task, _ in said]])
    ended = {task.event.id for task, _ in said}
    _end_unsaid(connection, parcel, [task for task in settled if task.event.id not in ended])
    return [task for task in parcel.tasks if task not in settled]


def _end_unsaid(connection: Connection, parcel: Parcel, tasks: list[Task]) -> None:
    connection.execute(_NEVER_BEGUN, [[task.event.id for task in tasks if not task.begun]])
    for task in tasks:
        if isinstance(task.outcome, Exception):
            settle = parcel.effect.settle() if task.begun else 0.0
            end(connection, parcel.engine.policy, [task.letter], task.outcome, at_least=settle)


def _said(parcel: Parcel, task: Task) -> Payload | None:
    """What is to be said of a task: its result, or what the effect says when it gives up; None: the error decides."""
    outcome = task.outcome
    if not isinstance(outcome, Exception):
        return outcome
    final = isinstance(decide(outcome, task.call.attempt, parcel.engine.policy, 0.0), Bury)
    if final and isinstance(outcome, Transient) and parcel.effect.give_up:
        return parcel.effect.give_up(task.prepared, outcome)
    return None
