"""Perform: carry events to the outside world, and record what came of each once.

One short transaction claims the parcel's events; the calls run in no transaction, so many at once as the effect, its
lanes and the other workers allow; each outcome is recorded as it comes, together with those that came while the one
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
from app.engine.delivery.retry import rest
from app.engine.domain import Lane, QueuePaused
from app.engine.effects import claim, record
from app.engine.effects.calls import Parcel, Task
from app.engine.queue.lease import Delivery, LeaseLost
from app.engine.queue.turns import Turn
from app.errors import BadAnswer, InDoubt
from events import Payload

_NAMED = 5
"""Fields of an answer that an error names."""

log = structlog.get_logger(__name__)


async def perform(engine: Engine, delivery: Delivery, turn: Turn | None = None) -> int:
    """Deliver a parcel of effects; returns how many events came to an end in it.

    Once its `turn` is over it begins no further call, and hands back what it has not begun. Returns quietly when the
    row is no longer this delivery's. Cancelled, it hands back what is not recorded and raises `CancelledError`.
    """
    try:
        parcel = await _claim(engine, delivery)
        if parcel is None:
            return 0
        parcel.turn = turn
        return await _run(parcel)
    except LeaseLost:
        log.info("lease lost", row=delivery.row_id)
        return 0


async def _claim(engine: Engine, delivery: Delivery) -> Parcel | None:
    claiming = asyncio.ensure_future(asyncio.to_thread(claim.claim, engine, delivery))
    try:
        return await asyncio.shield(claiming)
    except asyncio.CancelledError:
        # What is claimed by now has not been called: it must not stay behind as in doubt.
        parcel = await claiming
        if parcel is not None:
            await _whole(asyncio.to_thread(record.hand_back, parcel, stops=True))
        raise


async def _run(parcel: Parcel) -> int:
    gates = _Gates(parcel)
    calls = {asyncio.create_task(_carry(parcel, task, gates)) for task in parcel.tasks}
    count = len(calls)
    try:
        while calls:
            done, calls = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            for call in done:
                call.result()  # LeaseLost surfaces here; an effect's own errors are outcomes
            await _whole(asyncio.to_thread(record.record, parcel))
            gates.widen(parcel)
        left = len(parcel.tasks)
        if left:  # not called: the queue was paused, or others wait for a turn
            await _whole(asyncio.to_thread(record.hand_back, parcel))
            log.info("handed back", row=parcel.delivery.row_id, events=left)
    except asyncio.CancelledError:
        # The worker stops and will wait no longer: what is in the air stays in doubt, the rest simply waits again.
        await _stop(calls)
        await _whole(asyncio.to_thread(record.hand_back, parcel, stops=True))
        raise
    except BaseException:
        await _stop(calls)
        raise
    return count - left


class _Gates:
    """How many calls may run: `at_once` of the parcel, and of each lane as many as it has slots."""

    def __init__(self, parcel: Parcel) -> None:
        self.width = asyncio.Semaphore(parcel.effect.at_once)
        self.lanes = {lane: asyncio.Semaphore(count) for lane, count in parcel.lanes.items()}
        self.slots = dict(parcel.lanes)

    def of(self, lane: Lane | None) -> AbstractAsyncContextManager[object]:
        """The gate of a lane; an open door for what is bounded by nothing."""
        return self.lanes[lane] if lane in self.lanes else nullcontext()

    def widen(self, parcel: Parcel) -> None:
        """Let more calls through for slots that were won. Slots are lost only when there are no calls left for them."""
        for lane, count in parcel.lanes.items():
            for _ in range(count - self.slots[lane]):
                self.lanes[lane].release()
            self.slots[lane] = max(count, self.slots[lane])


async def _carry(parcel: Parcel, task: Task, gates: _Gates) -> None:
    if task.call.in_doubt and not parcel.effect.can_be_asked:
        task.outcome = InDoubt("the call was begun before and may have happened; the other side cannot be asked")
        return
    # An effect that looks by itself does so right before its last step; for the others this is that moment.
    look = parcel.lease.still_mine if parcel.effect.look else task.call.still_mine
    async with gates.of(task.lane), gates.width:
        if parcel.makes_room:
            return
        try:
            await look()
        except QueuePaused:
            return
        if (pause := parcel.lease.resting(parcel.rest_key(task))) is not None:
            task.outcome = pause
            return
        task.begun = parcel.has_begun = True
        try:
            outcome: object = await parcel.effect.call(task.prepared, task.call)
            task.outcome = outcome if isinstance(outcome, Payload) else _no_payload(outcome)
        except LeaseLost:
            raise
        except QueuePaused:
            task.begun = False
        except ValidationError as error:
            task.outcome = _bad_answer(error)
        except Exception as error:  # noqa: BLE001 - whatever an effect raises decides what becomes of its event
            task.outcome = error
        if isinstance(task.outcome, Exception) and (seconds := rest(task.outcome)):
            parcel.lease.rest(parcel.rest_key(task), seconds, task.outcome)


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
