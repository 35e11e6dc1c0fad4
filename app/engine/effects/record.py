"""Outcomes: the transactions that write down what came of calls, and hand back what was not called."""

from __future__ import annotations

import random
from collections import Counter

import structlog

from app.context import Connection, Moment
from app.engine.delivery.ledger import record as enter_ledger
from app.engine.delivery.patience import patiently
from app.engine.delivery.retry import rest, spends_nothing
from app.engine.delivery.settle import carry_out
from app.engine.domain import Lane
from app.engine.effects import concurrency, rests
from app.engine.effects.calls import Parcel, Task, again, end_calls, lock_calls
from app.engine.effects.verdict import Failure, Result, Verdict, decide_outcome
from app.engine.queue.lease import LeaseLost, hold, release, wait_again
from app.engine.queue.publish import publish
from app.engine.routing import PARCEL
from app.errors import Permanent
from events import Payload

_LET_SETTLE = """
UPDATE engine.calls SET ask_after = clock_timestamp() + %(settle)s * interval '1 second'
 WHERE call_key = ANY(%(keys)s)
"""
_GOES_ON = "UPDATE engine.calls SET begun_at = clock_timestamp() WHERE row_id = %s"
_NEVER_BEGUN = "DELETE FROM engine.calls WHERE call_key = ANY(%s) AND tries = 1"
# What an earlier try left in doubt stays so; that one has had its time to settle.
_BEGUN_BEFORE = """
UPDATE engine.calls SET tries = tries - 1, ask_after = clock_timestamp() WHERE call_key = ANY(%s) AND tries > 1
"""

log = structlog.get_logger(__name__)


class CannotBeRecorded(Permanent):
    """An effect came to an outcome that cannot be written down; whether its call happened, a person must see."""


def record(parcel: Parcel) -> None:
    """Write down every outcome that is there; the row shrinks to what is still open, or goes.

    With it shrink its slots to what it can still use, or they grow if there are free ones; and if there are more free
    ones than that, the row that has been parked for longest is woken. An outcome that cannot be written is that task's
    error, and no other's.
    """
    # Looked at once: while this runs, calls go on and more outcomes come.
    settled = [task for task in parcel.tasks if task.outcome is not None]
    if not settled:
        return  # the record before took these along
    try:
        _commit(parcel, settled)
    except Exception as error:
        if isinstance(error, LeaseLost) or spends_nothing(error):
            raise
        for task in settled:
            _commit_alone(parcel, task)


def _commit_alone(parcel: Parcel, task: Task) -> None:
    try:
        _commit(parcel, [task])
    except Exception as error:
        if isinstance(error, LeaseLost) or spends_nothing(error):
            raise
        log.warning("an outcome cannot be recorded", event_id=str(task.event.id), why=str(error))
        task.outcome = CannotBeRecorded(f"what came of the call cannot be written down: {error}")
        _commit(parcel, [task])


def _commit(parcel: Parcel, settled: list[Task]) -> None:
    ended = [(task, _verdict(parcel, task, task.outcome)) for task in settled if task.outcome is not None]

    def transaction() -> int:
        rest = [task for task in parcel.tasks if task not in settled]
        with parcel.engine.pool.connection() as connection, connection.transaction():
            concurrency.lock(connection, parcel.lanes)
            hold(connection, parcel.delivery)
            lock_calls(connection, [task.key for task in parcel.tasks])
            _record(connection, parcel, ended)
            release(connection, parcel.delivery, [task.letter for task in rest])
            lanes = _resize(connection, parcel, rest)
            connection.execute(_GOES_ON, [parcel.delivery.row_id])
        parcel.tasks, parcel.lanes = rest, lanes
        return len(settled)

    patiently(transaction)


def _verdict(parcel: Parcel, task: Task, outcome: Payload | Exception) -> Verdict:
    return decide_outcome(task, outcome, parcel.effect, parcel.policy, random.random())


def hand_back(parcel: Parcel, *, stops: bool = False) -> None:
    """The delivery ends before its time: record what is there, and let the rest wait again with the same attempt.

    `stops`: the worker takes no more rows, so the rest keeps its row and with it its place in the queue.
    """
    record(parcel)
    if not parcel.tasks:
        return
    begun = [task for task in parcel.tasks if task.begun]
    rest = [task for task in parcel.tasks if not task.begun]

    def transaction() -> int:
        with parcel.engine.pool.connection() as connection, connection.transaction():
            concurrency.lock(connection, parcel.lanes)
            hold(connection, parcel.delivery)
            lock_calls(connection, [task.key for task in parcel.tasks])
            _forget(connection, rest)
            _let_settle(connection, parcel, begun)
            letters = [task.letter for task in rest]
            if stops and letters:
                wait_again(connection, parcel.delivery, letters)
            else:
                release(connection, parcel.delivery, [])
            # Wake first: the row that has been parked for longest is older than what goes back now.
            _resize(connection, parcel, [])
            if not stops:
                again(connection, letters, parcel=PARCEL)
            again(connection, [task.letter for task in begun], delay=parcel.effect.settle(), parcel=PARCEL)
        return len(rest)

    patiently(transaction)
    parcel.tasks = []


def _forget(connection: Connection, tasks: list[Task]) -> None:
    """Calls that were marked as begun and not made: another delivery need not ask about them."""
    keys = [task.key for task in tasks]
    if keys:
        connection.execute(_NEVER_BEGUN, [keys])
        connection.execute(_BEGUN_BEFORE, [keys])


def _let_settle(connection: Connection, parcel: Parcel, begun: list[Task]) -> None:
    if begun:
        wanted = {"keys": [task.key for task in begun], "settle": parcel.effect.settle()}
        connection.execute(_LET_SETTLE, wanted)


def _resize(connection: Connection, parcel: Parcel, rest: list[Task]) -> dict[Lane, int]:
    open_ = Counter(task.lane for task in rest if task.begun or not parcel.makes_room)
    wanted = {lane: min(open_[lane], parcel.effect.at_once) for lane in parcel.lanes}
    granted = concurrency.take(connection, parcel.delivery, wanted)
    for lane in sorted(granted):
        concurrency.wake_parked(connection, lane)
    return granted


def _record(connection: Connection, parcel: Parcel, ended: list[tuple[Task, Verdict]]) -> None:
    results = [(task, verdict.payload) for task, verdict in ended if isinstance(verdict, Result)]
    applied = {event.id for event in enter_ledger(connection, [task.letter for task, _ in results])}
    now = Moment.begin(connection).now
    publish(connection, *(task.event.follow(payload, now) for task, payload in results if task.event.id in applied))
    end_calls(connection, [task.key for task, _ in results])
    _fail(connection, parcel, [(task, verdict) for task, verdict in ended if isinstance(verdict, Failure)])


def _fail(connection: Connection, parcel: Parcel, failed: list[tuple[Task, Failure]]) -> None:
    _forget(connection, [task for task, failure in failed if not failure.may_have_been_made])
    _let_settle(connection, parcel, [task for task, failure in failed if failure.may_have_been_made])
    rests.begin(connection, _rests(parcel, [task for task, _ in failed]))
    for task, failure in failed:
        carry_out(connection, task.letter, failure.decision, failure.error)


def _rests(parcel: Parcel, tasks: list[Task]) -> dict[str, tuple[float, str]]:
    """What the other side said of when to come back, by the key that rests: the longest time of each."""
    said: dict[str, tuple[float, str]] = {}
    for task in tasks:
        seconds = rest(task.outcome) if task.begun and isinstance(task.outcome, Exception) else None
        if seconds is not None:
            key = parcel.rest_key(task)
            said[key] = max(said.get(key, (0.0, "")), (seconds, str(task.outcome)))
    return said
