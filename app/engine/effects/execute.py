"""Perform: carry events to the outside world, and record what came of each once.

One short transaction claims the batch's events; the calls run in no transaction, as many at once as the effect, its
limits and the other workers allow; each outcome is recorded as it comes, together with those that came while the one
before was being written. The queue row goes in the commit that leaves nothing of it undone.

A call that was begun and has no recorded outcome is in doubt: the next delivery of its event asks the other side for
its reference before submitting. Where the other side cannot be asked, a person decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import structlog
from pydantic import ValidationError

from app.engine.delivery.engine import Engine
from app.engine.delivery.retry import retry_after_of
from app.engine.domain import ConcurrencyLimit, QueuePaused
from app.engine.effects import claim, record
from app.engine.effects.calls import EffectBatch, Task
from app.engine.queue.fair_share import RunningDelivery
from app.engine.queue.lease import Delivery, LeaseLost
from app.errors import BadAnswer, InDoubt
from events import Payload

_NAMED = 5
"""Fields of an answer that an error names."""

log = structlog.get_logger(__name__)


async def perform(engine: Engine, delivery: Delivery, running: RunningDelivery | None = None) -> int:
    """Deliver a batch of effects. Returns how many events ended in it.

    Once `running` must yield, it begins no further call and hands back what it has not begun. Returns quietly when the
    row is no longer this delivery's. Cancelled, it hands back what is not recorded and raises `CancelledError`.
    """
    try:
        batch = await _claim(engine, delivery)
        if batch is None:
            return 0
        batch.running = running
        return await _run(batch)
    except LeaseLost:
        log.info("lease lost", row=delivery.row_id)
        return 0


async def _claim(engine: Engine, delivery: Delivery) -> EffectBatch | None:
    claiming = asyncio.ensure_future(asyncio.to_thread(claim.claim, engine, delivery))
    try:
        return await asyncio.shield(claiming)
    except asyncio.CancelledError:
        # What is claimed by now has not been called: it must not stay behind as in doubt.
        batch = await claiming
        if batch is not None:
            await _whole(asyncio.to_thread(record.hand_back, batch, stops=True))
        raise


async def _run(batch: EffectBatch) -> int:
    gates = _Gates(batch)
    calls = {asyncio.create_task(_carry(batch, task, gates)) for task in batch.tasks}
    count = len(calls)
    try:
        while calls:
            done, calls = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            for call in done:
                call.result()  # LeaseLost surfaces here; an effect's own errors are outcomes
            await _whole(asyncio.to_thread(record.record_outcomes, batch))
            gates.widen(batch)
        left = len(batch.tasks)
        if left:  # not called: the queue was paused, or others wait for their share
            await _whole(asyncio.to_thread(record.hand_back, batch))
            log.info("handed back", row=batch.delivery.row_id, events=left)
    except asyncio.CancelledError:
        # The worker stops and will wait no longer: what is in the air stays in doubt, the rest simply waits again.
        await _stop(calls)
        await _whole(asyncio.to_thread(record.hand_back, batch, stops=True))
        raise
    except BaseException:
        await _stop(calls)
        raise
    return count - left


class _Gates:
    """How many calls may run: `at_once` of the batch, and per concurrency limit as many as it has slots."""

    def __init__(self, batch: EffectBatch) -> None:
        self.width = asyncio.Semaphore(batch.effect.at_once)
        self.limits = {limit: asyncio.Semaphore(count) for limit, count in batch.limits.items()}
        self.slots = dict(batch.limits)

    def of(self, limit: ConcurrencyLimit | None) -> AbstractAsyncContextManager[object]:
        """The gate of a concurrency limit; always open without a limit."""
        return self.limits[limit] if limit in self.limits else nullcontext()

    def widen(self, batch: EffectBatch) -> None:
        """Let more calls through for slots that were won. Slots are lost only when there are no calls left for them."""
        for limit, count in batch.limits.items():
            for _ in range(count - self.slots[limit]):
                self.limits[limit].release()
            self.slots[limit] = max(count, self.slots[limit])


async def _carry(batch: EffectBatch, task: Task, gates: _Gates) -> None:
    if task.call.in_doubt and not batch.effect.can_be_asked:
        task.outcome = InDoubt("the call was begun before and may have happened; the other side cannot be asked")
        return
    # An effect that rechecks does so right before its last step; for the others this is that moment.
    check = batch.lease.still_mine if batch.effect.recheck else task.call.still_mine
    async with gates.of(task.limit), gates.width:
        if batch.makes_room:
            return
        try:
            await check()
        except QueuePaused:
            return
        if (pause := batch.lease.cooling_down(batch.cooldown_key(task))) is not None:
            task.outcome = pause
            return
        task.begun = batch.has_begun = True
        try:
            outcome: object = await batch.effect.call(task.prepared, task.call)
            task.outcome = outcome if isinstance(outcome, Payload) else _no_payload(outcome)
        except LeaseLost:
            raise
        except QueuePaused:
            task.begun = False
        except ValidationError as error:
            task.outcome = _bad_answer(error)
        except Exception as error:  # noqa: BLE001 - whatever an effect raises decides what becomes of its event
            task.outcome = error
        if isinstance(task.outcome, Exception) and (seconds := retry_after_of(task.outcome)):
            batch.lease.cool_down(batch.cooldown_key(task), seconds, task.outcome)


def _bad_answer(error: ValidationError) -> BadAnswer:
    # Without the input: it may hold what must not be stored.
    wrong = "; ".join(
        f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_input=False)[:_NAMED]
    )
    return BadAnswer(f"the other side's answer is no {error.title}: {wrong}")


def _no_payload(outcome: object) -> Exception:
    return TypeError(f"an effect must return what is to be said, a payload, and this returned {type(outcome).__name__}")


async def _stop(calls: set[asyncio.Task[None]]) -> None:
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


async def _whole(work: Coroutine[Any, Any, None]) -> None:
    """Await something that must not be left half way; a cancellation is raised once it is over."""
    running = asyncio.ensure_future(work)
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await running
        raise
