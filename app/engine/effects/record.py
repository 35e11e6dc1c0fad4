"""Record the outcomes of calls, and hand back (requeue) the events that were not called."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import asdict

import structlog

from app.context import Connection, HandlerContext
from app.engine import metrics
from app.engine.delivery import bury
from app.engine.delivery.ledger import enter as enter_ledger
from app.engine.delivery.retry import Bury, is_disconnect, retry_after_of, spends_nothing
from app.engine.delivery.settle import carry_out
from app.engine.delivery.transactions import retry_on_conflict
from app.engine.domain import ConcurrencyLimit, FailedCall
from app.engine.effects import concurrency, cooldowns, joining
from app.engine.effects.batch import EffectBatch, Task, again
from app.engine.effects.calls import end_calls, lock_calls, rename_call, unmark_calls
from app.engine.effects.verdict import Failure, Result, Verdict, decide_outcome
from app.engine.queue.envelope import write_rest
from app.engine.queue.lease import LeaseLost, acknowledge, lock_delivery, wait_again
from app.engine.queue.publish import publish
from app.engine.routing import MOST_IN_A_ROW
from app.errors import Permanent
from events import Payload

_BEGIN_GRACE_PERIOD = """
UPDATE engine.calls SET ask_after = clock_timestamp() + %(grace_period)s * interval '1 second'
 WHERE call_key = ANY(%(keys)s)
"""
_KEEP = """
SELECT engine.keep_delivery(%(row_id)s, %(attempts)s, %(worker_id)s, %(args)s::jsonb,
                            %(keys)s::text[], %(most)s::integer[], %(wanted)s::integer[])
"""

log = structlog.get_logger(__name__)


class CannotBeRecorded(Permanent):
    """The outcome of an effect cannot be stored. A person must check whether its call happened."""


def record_outcomes(batch: EffectBatch) -> None:
    """Record all available outcomes and remove their events from the queue row. The row is removed if none remain.

    If the delivery has room, the same commit takes more events into it. It sets the delivery's slots to the number that
    it can use, at most the free ones, and wakes the longest parked row if slots remain free. An outcome that cannot be
    stored fails its own task only.
    """
    # Read once: calls continue during the commit, and more outcomes arrive.
    finished = [task for task in batch.tasks if task.outcome is not None]
    if not finished:
        return  # an earlier commit recorded them
    if (more := batch.room) and _commit_with_more(batch, finished, more):
        return
    try:
        _commit(batch, finished)
    except Exception as error:
        if isinstance(error, LeaseLost) or spends_nothing(error):
            raise
        for task in finished:
            _commit_alone(batch, task)


def _commit_with_more(batch: EffectBatch, finished: list[Task], more: int) -> bool:
    """Record outcomes and take up to `more` events. Returns False if that fails: the delivery then takes no more."""
    try:
        _commit(batch, finished, more)
    except Exception as error:
        if isinstance(error, LeaseLost) or is_disconnect(error):
            raise
        log.info("a delivery takes no more events", row=batch.delivery.row_id, why=repr(error))
        batch.takes_more = False
        return False
    return True


def _commit_alone(batch: EffectBatch, task: Task) -> None:
    try:
        _commit(batch, [task])
    except Exception as error:
        if isinstance(error, LeaseLost) or spends_nothing(error):
            raise
        log.warning("an outcome cannot be recorded", event_id=str(task.event.id), why=str(error))
        task.outcome = CannotBeRecorded(f"the outcome of the call cannot be recorded: {error}")
        _commit(batch, [task])


def _commit(batch: EffectBatch, finished: list[Task], more: int = 0) -> None:
    """Record the outcomes of `finished`, and take up to `more` waiting events into the delivery."""
    ended = [(task, _verdict(batch, task, task.outcome)) for task in finished if task.outcome is not None]

    def transaction() -> int:
        rest = [task for task in batch.tasks if task not in finished]
        with batch.engine.transaction() as connection:
            joins = joining.hold(connection, batch, more)
            _record(connection, batch, ended)
            rest += joining.prepare(connection, batch, joins)
            limits = _keep(connection, batch, rest)
        batch.tasks, batch.limits = rest, limits
        batch.takes_more = batch.takes_more and not joins.is_refused
        return len(finished)

    retry_on_conflict(transaction)


def _verdict(batch: EffectBatch, task: Task, outcome: Payload | Exception) -> Verdict:
    return decide_outcome(task, outcome, batch.effect, batch.policy, random.random())


def hand_back(batch: EffectBatch, *, stops: bool = False) -> None:
    """End the delivery early: record available outcomes, and requeue the other events with the same attempt.

    `stops`: the worker fetches no more rows, so the events stay in their row, at its position in the queue.
    """
    batch.takes_more = False
    record_outcomes(batch)
    if not batch.tasks:
        return
    begun = [task for task in batch.tasks if task.begun]
    rest = [task for task in batch.tasks if not task.begun]

    def transaction() -> int:
        with batch.engine.transaction() as connection:
            concurrency.lock_limits(connection, batch.limits)
            lock_delivery(connection, batch.delivery)
            lock_calls(connection, [task.key for task in batch.tasks])
            unmark_calls(connection, [task.key for task in rest])
            _begin_grace_period(connection, batch, begun)
            queued_events = [task.queued for task in rest]
            if stops and queued_events:
                wait_again(connection, batch.delivery, queued_events)
            else:
                acknowledge(connection, batch.delivery, [])
            # Wake first: the longest parked row is older than the events that are requeued here.
            _resize(connection, batch, [])
            if not stops:
                again(connection, queued_events, batch_size=MOST_IN_A_ROW)
            again(
                connection, [task.queued for task in begun], delay=batch.effect.grace_period(), batch_size=MOST_IN_A_ROW
            )
        return len(rest)

    retry_on_conflict(transaction)
    batch.tasks = []


def _begin_grace_period(connection: Connection, batch: EffectBatch, begun: list[Task]) -> None:
    if begun:
        wanted = {"keys": [task.key for task in begun], "grace_period": batch.effect.grace_period()}
        connection.execute(_BEGIN_GRACE_PERIOD, wanted)


def _resize(connection: Connection, batch: EffectBatch, rest: list[Task]) -> dict[ConcurrencyLimit, int]:
    open_ = Counter(task.limit for task in rest if task.begun or not batch.makes_room)
    wanted = {limit: min(open_[limit], batch.effect.at_once) for limit in batch.limits}
    granted = concurrency.take(connection, batch.delivery, wanted)
    for limit in sorted(granted):
        concurrency.wake_parked(connection, limit)
    return granted


def _keep(connection: Connection, batch: EffectBatch, rest: list[Task]) -> dict[ConcurrencyLimit, int]:
    """Keep only the events of `rest` in the delivery, and the slots that they can use. Returns these slots."""
    open_ = Counter(task.limit for task in rest if task.begun or not batch.makes_room)
    limits = sorted(batch.limits)
    wanted = [min(open_[limit], batch.effect.at_once) for limit in limits]
    given = {
        **asdict(batch.delivery),
        "args": write_rest([task.queued for task in rest]) if rest else None,
        "keys": [limit.key for limit in limits],
        "most": [limit.most for limit in limits],
        "wanted": wanted,
    }
    row = connection.execute(_KEEP, given).fetchone()
    return dict(zip(limits, row[0] if row else wanted, strict=True))


def _record(connection: Connection, batch: EffectBatch, ended: list[tuple[Task, Verdict]]) -> None:
    results = [(task, verdict.payload) for task, verdict in ended if isinstance(verdict, Result)]
    queued_events = [task.queued for task, _ in results]
    entered = enter_ledger(connection, queued_events)
    metrics.applied(event.type for event in entered)
    others = {one.queued for one in bury.bury_reused(connection, queued_events, entered)}
    applied, now = {event.id for event in entered}, HandlerContext.begin(connection).now
    publish(connection, *(task.event.follow(payload, now) for task, payload in results if task.event.id in applied))
    end_calls(connection, [task.key for task, _ in results if task.queued not in others])
    _leave_in_doubt(connection, batch, [task for task, _ in results if task.queued in others])
    _fail(connection, batch, [(task, verdict) for task, verdict in ended if isinstance(verdict, Failure)])
    for task, verdict in ended:
        metrics.ended(task.event.type, _outcome(verdict))


def _outcome(verdict: Verdict) -> metrics.Outcome:
    if isinstance(verdict, Result):
        return "result"
    return "dead_lettered" if isinstance(verdict.decision, Bury) else "put_back"


def _leave_in_doubt(connection: Connection, batch: EffectBatch, tasks: list[Task]) -> None:
    """Pass the calls of events that were buried apart to their letters. The calls were made and have no result."""
    _begin_grace_period(connection, batch, tasks)
    for task in tasks:
        letter_event = bury.own_id(task.queued)
        rename_call(connection, task.key, letter_event, task.key if batch.effect.call_key else letter_event)


def _fail(connection: Connection, batch: EffectBatch, failed: list[tuple[Task, Failure]]) -> None:
    unmark_calls(connection, [task.key for task, failure in failed if not failure.may_have_been_made])
    _begin_grace_period(connection, batch, [task for task, failure in failed if failure.may_have_been_made])
    cooldowns.begin(connection, _cooldowns(batch, [task for task, _ in failed]))
    for task, failure in failed:
        carry_out(connection, task.queued, failure.decision, failure.error)
    _tell(connection, batch, [(task, failure) for task, failure in failed if task.begun])


def _tell(connection: Connection, batch: EffectBatch, failed: list[tuple[Task, Failure]]) -> None:
    """Let the effect record begun calls that failed, and publish the events that it returns."""
    if failed and batch.effect.failed:
        ended = [FailedCall(task.event, one.error, is_dead=isinstance(one.decision, Bury)) for task, one in failed]
        publish(connection, *batch.effect.failed(HandlerContext.begin(connection), ended))


def _cooldowns(batch: EffectBatch, tasks: list[Task]) -> dict[str, tuple[float, str]]:
    """Return the longest `retry_after` in seconds, with its reason, by cooldown key."""
    said: dict[str, tuple[float, str]] = {}
    for task in tasks:
        seconds = retry_after_of(task.outcome) if task.begun and isinstance(task.outcome, Exception) else None
        if seconds is not None:
            key = batch.cooldown_key(task)
            said[key] = max(said.get(key, (0.0, "")), (seconds, str(task.outcome)))
    return said
