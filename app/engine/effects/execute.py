"""Execute effects: make the calls of a batch to the outside world, and record each outcome once.

One short transaction claims the batch. The calls run outside any transaction, with the parallelism that the effect, its
limits and fair sharing allow. Outcomes are recorded as they arrive; those that arrive during one commit share the next.
The same commit takes more waiting events of the share, so that slots go from call to call (`joining`).
The queue row is removed in the commit after which none of its events is open.

A call without a recorded outcome is in doubt: the next delivery asks the other side for the reference before it submits
again. If the other side cannot be asked, a person decides.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import structlog
from pydantic import ValidationError

from app import tracing
from app.engine import metrics
from app.engine.delivery.engine import Engine
from app.engine.delivery.retry import retry_after_of
from app.engine.domain import ConcurrencyLimit, QueuePaused
from app.engine.effects import claim, record
from app.engine.effects.batch import EffectBatch, Task
from app.engine.queue.fair_share import RunningDelivery
from app.engine.queue.lease import Delivery, LeaseLost
from app.errors import BadAnswer, InDoubt
from events import Payload

_LINGER_S = 0.01
"""Seconds to wait for more outcomes before a commit, while other calls of the delivery can begin."""
_NAMED = 5
"""Most fields of an answer that an error names."""

log = structlog.get_logger(__name__)


async def perform(engine: Engine, delivery: Delivery, running: RunningDelivery | None = None) -> int:
    """Deliver a batch of effects. Returns how many events were recorded in it; 0 if the lease is lost.

    Once `running` must yield, no further call begins and the remaining events are requeued. If cancelled, it requeues
    all events without a recorded outcome and raises `CancelledError`.
    """
    try:
        batch = await _claim(engine, delivery)
        if batch is None:
            return 0
        batch.running = running
        events = [task.event for task in batch.tasks]
        with tracing.delivery(events[0].type, batch.effect.queue, events):
            return await _run(batch)
    except LeaseLost:
        log.info("lease lost", row=delivery.row_id)
        return 0


async def _claim(engine: Engine, delivery: Delivery) -> EffectBatch | None:
    claiming = asyncio.ensure_future(asyncio.to_thread(claim.claim, engine, delivery))
    try:
        return await asyncio.shield(claiming)
    except asyncio.CancelledError:
        # Claimed calls have not been made yet. They must not stay marked, or they would be in doubt.
        batch = await claiming
        if batch is not None:
            await _whole(asyncio.to_thread(record.hand_back, batch, stops=True))
        raise


async def _run(batch: EffectBatch) -> int:
    gates = _Gates(batch)
    begun: set[Task] = set()
    calls: set[asyncio.Task[None]] = set()
    try:
        while True:
            batch.note_saturation()
            new = [task for task in batch.tasks if task not in begun]
            begun.update(new)
            calls |= {asyncio.create_task(_carry(batch, task, gates)) for task in new}
            if not calls:
                break
            calls = await _some_end(batch, calls)
            await _whole(asyncio.to_thread(record.record_outcomes, batch))
            gates.widen(batch)
        left = len(batch.tasks)
        if left:  # not called: the queue is paused, or the delivery must yield
            await _whole(asyncio.to_thread(record.hand_back, batch))
            log.info("handed back", row=batch.delivery.row_id, events=left)
    except asyncio.CancelledError:
        # The worker stops: calls in progress stay in doubt, the other events are requeued.
        await _stop(calls)
        await _whole(asyncio.to_thread(record.hand_back, batch, stops=True))
        raise
    except BaseException:
        await _stop(calls)
        raise
    return len(begun) - left


async def _some_end(batch: EffectBatch, calls: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    """Wait until some calls end. Returns the others. Raises `LeaseLost`; other errors of effects are outcomes."""
    done, calls = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    if calls and batch.spare:
        # Other calls use the slots meanwhile, so nothing waits for this commit.
        more, calls = await asyncio.wait(calls, timeout=_LINGER_S)
        done |= more
    for call in done:
        call.result()
    return calls


class _Gates:
    """Limits of parallel calls: `at_once` for the batch, and the slots held for each concurrency limit."""

    def __init__(self, batch: EffectBatch) -> None:
        self.width = asyncio.Semaphore(batch.effect.at_once)
        self.limits = {limit: asyncio.Semaphore(count) for limit, count in batch.limits.items()}
        self.slots = dict(batch.limits)

    def of(self, limit: ConcurrencyLimit | None) -> AbstractAsyncContextManager[object]:
        """Return the semaphore of a concurrency limit; without a limit, a context that never waits."""
        return self.limits[limit] if limit in self.limits else nullcontext()

    def widen(self, batch: EffectBatch) -> None:
        """Allow more calls for slots gained. Slots are lost only if no calls are left for them."""
        for limit, count in batch.limits.items():
            for _ in range(count - self.slots[limit]):
                self.limits[limit].release()
            self.slots[limit] = max(count, self.slots[limit])


async def _carry(batch: EffectBatch, task: Task, gates: _Gates) -> None:
    if task.call.in_doubt and not batch.effect.can_be_asked:
        task.outcome = InDoubt("the call was begun before and may have happened; the other side cannot be asked")
        return
    # An effect that rechecks does so right before its last step: a recent check of the lease is enough here. For the
    # others this is the last moment, so check now.
    check = batch.lease.still_mine if batch.effect.recheck else task.call.still_mine
    async with gates.of(task.limit), gates.width:
        if batch.makes_room:
            return
        try:
            await check()
        except QueuePaused:
            batch.takes_more = False
            return
        if (pause := batch.lease.cooling_down(batch.cooldown_key(task))) is not None:
            task.outcome = pause
            return
        task.begun = batch.has_begun = True
        try:
            outcome: object = await _call(batch, task)
            task.outcome = outcome if isinstance(outcome, Payload) else _no_payload(outcome)
        except LeaseLost:
            raise
        except QueuePaused:
            batch.takes_more = task.begun = False
        except ValidationError as error:
            task.outcome = _bad_answer(error)
        except Exception as error:  # noqa: BLE001 - any error of an effect is an outcome of its event
            task.outcome = error
        if isinstance(task.outcome, Exception) and (seconds := retry_after_of(task.outcome)):
            batch.lease.cool_down(batch.cooldown_key(task), seconds, task.outcome)


async def _call(batch: EffectBatch, task: Task) -> object:
    kind, began = task.event.type, time.perf_counter()
    metrics.waited(kind, time.time() - task.event.time.timestamp())
    try:
        with tracing.span(f"call {kind}", "internal", parents=[task.event.traceparent]) as span:
            tracing.identify(span, task.event.id)
            return await batch.effect.call(task.prepared, task.call)
    finally:
        metrics.called(kind, time.perf_counter() - began)


def _bad_answer(error: ValidationError) -> BadAnswer:
    # Without the input, which may hold personal data or secrets.
    wrong = "; ".join(
        f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_input=False)[:_NAMED]
    )
    return BadAnswer(f"the other side's answer is no {error.title}: {wrong}")


def _no_payload(outcome: object) -> Exception:
    return TypeError(f"an effect must return a payload, and this one returned {type(outcome).__name__}")


async def _stop(calls: set[asyncio.Task[None]]) -> None:
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


async def _whole(work: Coroutine[Any, Any, None]) -> None:
    """Await `work` to its end. A cancellation is re-raised afterwards."""
    running = asyncio.ensure_future(work)
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await running
        raise
