"""The machine: what anybody may do to the program, in whatever order, as rules for Hypothesis.

Jobs are submitted, results come from robots and from elsewhere, early, late, twice and against each other; workers
take deliveries, die between two statements or in the middle of a call, are rescued, and come back to go on; failed
items are retried, dead letters replayed, queues paused. In the end everything is mended and delivered.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

import events
from app.engine.batches.store import select_items
from app.engine.queue import pauses
from app.engine.queue.publish import publish
from app.errors import Conflict, DuplicateRequest, KeyReused
from app.logistics.jobs import create_robot_job, retry_failed_items, update_job_status
from app.logistics.store import ROBOT_JOBS
from app.logistics.submit import CancelledOrders, CarrierDisabled
from tests.helpers import toy
from tests.helpers.faults.model_comparison import outcome
from tests.helpers.faults.neighbours import Neighbours
from tests.helpers.faults.operators import MOOD, WHICH
from tests.helpers.faults.stage import MOST_RESCUES, QUEUES
from tests.helpers.robot_results import update_job_item_results

ORDERS = 6
MOST_IN_HAND = 3

QUEUE = st.sampled_from(QUEUES)
# Which item, how far the attempt is from the one that it waits for, and whether it succeeded.
RESULTS = st.lists(st.tuples(WHICH, st.sampled_from([0, 0, 0, 0, -1, 1]), st.booleans()), min_size=1, max_size=4)


class Tallyman(Neighbours):
    """The rules. Each does one thing to the program and to the model, and compares them."""

    @initialize(count=st.integers(1, 4), begun=st.booleans(), both=st.booleans(), dead=st.booleans())
    def orders_come_in(self, count: int, *, begun: bool, both: bool = False, dead: bool = False) -> None:
        """A shop has orders, and a job for some of them, which robots may have been asked for.

        `both`: the other shop has a job too, and they share a worker. `dead`: there is a dead word, and its id is used
        again.
        """
        self.orders = self.stage.shop.order(ORDERS)
        self.strange = self.stage.other.order(ORDERS)
        self.submit(0, count, None)
        if begun:
            self.work(["events"], [])
        if both:
            self.submit_in_both_shops(0, [])
        if dead:
            self.reuse_of_a_dead_word(0, broken=False)

    # What producers and robots say ----------------------------------------------------------------

    @rule(
        first=st.integers(0, ORDERS - 1),
        count=st.integers(1, 4),
        key=st.sampled_from([None, None, "K", "L"]),
        elsewhere=st.sampled_from([False, False, True]),
    )
    def submit(self, first: int, count: int, key: str | None, *, elsewhere: bool = False) -> None:
        """A job of some orders, which may have had a job before; under a key, perhaps, or of the other shop."""
        shop, orders, key = (self.stage.other, self.strange, None) if elsewhere else (self.stage.shop, self.orders, key)
        wanted = list(orders[first : first + count])
        if key in self.keys:
            return self._submit_again(wanted, key)
        cancelled = {order for order in wanted if self.model.orders.get(order) == "cancelled"}
        if shop.workspace_id in self.disabled or cancelled:
            with pytest.raises(CarrierDisabled if shop.workspace_id in self.disabled else CancelledOrders):
                create_robot_job(shop.context, wanted, idempotency_key=key)
            return self.check()
        job = create_robot_job(shop.context, wanted, idempotency_key=key)
        if key:
            self.keys[key] = job.id, frozenset(wanted)
        self.home[job.id] = shop
        found = select_items(self.stage.connection, ROBOT_JOBS, job.id, limit=ORDERS)
        self.model.submit(job.id, {item.id: item.order_id for item in found})
        return self.check()

    @precondition(lambda self: self.keys)
    @rule(key=st.sampled_from(["K", "L"]))
    def repeat(self, key: str) -> None:
        """A request that was made under a key is made again."""
        key = key if key in self.keys else next(iter(self.keys))
        self._submit_again(list(self.keys[key][1]), key)

    def _submit_again(self, wanted: list[UUID], key: str | None) -> None:
        made, content = self.keys[key or ""]
        with pytest.raises((DuplicateRequest, KeyReused)) as refused:
            create_robot_job(self.stage.shop.context, wanted, idempotency_key=key)
        error: Any = refused.value
        assert (error.job_id, isinstance(error, DuplicateRequest)) == (made, content == set(wanted))
        self.happened[type(error).__name__] += 1
        self.check()

    @rule(words=st.lists(st.sampled_from(["fine", "fine", "shaky", "broken"]), min_size=1, max_size=4))
    def say(self, words: list[str]) -> None:
        """Words, some of which cannot be heard, or not yet."""
        said = [toy.say(f"{mood} {len(self.model.event_specs)}.{n}") for n, mood in enumerate(words)]
        for n, event in enumerate(said):
            if words[n] == "shaky":
                self.stage.world.shaky[event.data.word] = 1 + n
            elif words[n] == "broken":
                self.stage.world.broken.add(event.data.word)
        self.publish(said, together=len(words) % 2 == 0)

    @precondition(lambda self: self.model.items)
    @rule(results=RESULTS)
    def record(self, results: list[tuple[int, int, bool]]) -> None:
        """Results that somebody records directly: the first for each attempt counts, the others are late."""
        said = [self.result(*result) for result in results]
        shop = self.shop_of(said[0].job_id)
        said = [one for one in said if self.shop_of(one.job_id) is shop]
        applied = update_job_item_results(shop.context, said)
        counted = self.model.record(outcome(one) for one in said)
        assert (applied.counted, applied.late) == (counted, len(said) - counted)
        self.happened["late"] += applied.late
        self.check()

    @precondition(lambda self: self.model.items)
    @rule(results=RESULTS, together=st.booleans())
    def complete(self, results: list[tuple[int, int, bool]], *, together: bool) -> None:
        """Results as events, in one batch or each in a row of its own."""
        said = [self.result(*result) for result in results]
        now, whose = self.stage.shop.context.now, {one.job_id: self.shop_of(one.job_id).workspace_id for one in said}
        self.publish(
            [events.new(one, now=now, subject=one.job_id, tenant=whose[one.job_id]) for one in said], together=together
        )

    @precondition(lambda self: self.raws)
    @rule(which=st.lists(WHICH, min_size=1, max_size=4), together=st.booleans())
    def redeliver(self, which: list[int], *, together: bool) -> None:
        """Events that were said already, whatever has become of them, are said again."""
        known = list(self.raws.values())[::-1]  # the newest first
        again = [events.parse(known[n % len(known)]) for n in which]
        publish(self.stage.connection, *again, batch_size=None if together else 1)
        self.model.early -= {event.id for event in again}
        self.happened["redelivered"] += len(again)
        self.check()

    @precondition(lambda self: not self.paused and not self.disabled)
    @rule(first=st.integers(0, ORDERS - 1), moods=MOOD)
    def submit_in_both_shops(self, first: int, moods: list[Any]) -> None:
        """Both shops submit at once, and one worker shares its deliveries out between their requests."""
        self.submit(first, 1, None)
        self.submit(first, 1, None, elsewhere=True)
        self.work(["events", "events"], [])
        self.take_turns(moods)

    # What workers do ------------------------------------------------------------------------------

    @rule(queues=st.lists(QUEUE, min_size=1, max_size=4), moods=MOOD)
    def work(self, queues: list[str], moods: list[Any]) -> None:
        """Workers take what is due, one after the other, and deliver it."""
        for queue in queues:
            if hand := self.fetch(queue):
                self.deliver(hand, moods)

    @precondition(lambda self: len(self.hands) < MOST_IN_HAND)
    @rule(queue=QUEUE)
    def take(self, queue: str) -> None:
        """A worker takes what is due, and is slow."""
        if hand := self.fetch(queue):
            self.hands.append(hand)
        self.check()

    @precondition(lambda self: self.hands)
    @rule(which=WHICH, moods=MOOD)
    def carry_on(self, which: int, moods: list[Any]) -> None:
        """A slow worker goes on, whatever became of its delivery meanwhile."""
        hand = self.hands.pop(which % len(self.hands))
        self.deliver(hand, moods)

    @rule(queue=QUEUE, statements=st.integers(0, 10))
    def crash(self, queue: str, statements: int) -> None:
        """A worker takes what is due and dies before one of its statements."""
        if hand := self.fetch(queue):
            self.die_at_work(hand, statements)

    @rule(death=st.sampled_from(["die before", "die after"]))
    def crash_in_a_call(self, death: str) -> None:
        """A robot dies around a call."""
        if hand := self.fetch("robots"):
            self.die_at_work(hand, death)

    @rule(queue=QUEUE, statements=st.integers(0, 3))
    def kill(self, queue: str, statements: int) -> None:
        """Every worker that takes what is due dies, until none may take it any more."""
        self.rescue()
        for _ in range(MOST_RESCUES + 1):
            self.crash(queue, statements)
            self.rescue()

    @rule(queue=QUEUE, moods=MOOD, then=st.sampled_from(["silent", "rescued", "taken", "delivered"]))
    def fall_silent(self, queue: str, moods: list[Any], then: str) -> None:
        """A slow worker's heart stops. It goes on all the same, after its delivery was rescued or given to others."""
        hand = self.hands.pop() if self.hands else self.fetch(queue)
        if hand is None:
            return
        self.stage.die(hand)
        self.hands.append(hand)
        if then == "silent":
            return
        self.rescue()
        if then == "taken":
            self.take(hand.job.queue or queue)
        elif then == "delivered":
            self.work([hand.job.queue or queue], moods)
        self.hands.remove(hand)
        self.deliver(hand, moods)

    @rule()
    def later(self) -> None:
        """Everything that waits for its time is due, and the deliveries of the dead wait again."""
        self.pass_time()
        self.rescue()

    # What operators do ----------------------------------------------------------------------------

    @precondition(lambda self: any(job.failed for job in self.model.jobs.values()))
    @rule(which=WHICH, some=st.sampled_from(["failed", "failed", "one of the failed", "any"]))
    def retry(self, which: int, some: str) -> None:
        """All failed items of a job, or one of them, or an item that may not have failed at all."""
        jobs = [id_ for id_, job in self.model.jobs.items() if job.failed]
        job = jobs[which % len(jobs)]
        failed = self.model.failed(job)
        if some == "failed":
            return self._retry(job, failed, None)
        items = failed if some == "one of the failed" else self.model.jobs[job].items
        item = items[which % len(items)]
        if item in failed:
            return self._retry(job, [item], [item])
        with pytest.raises(Conflict):
            retry_failed_items(self.shop_of(job).context, job, [item])
        return self.check()

    def _retry(self, job: UUID, expected: list[UUID], named: list[UUID] | None) -> None:
        assert retry_failed_items(self.shop_of(job).context, job, named).items == len(expected)
        self.model.retry(job, expected)
        self.happened["retried"] += 1
        self.check()

    @precondition(lambda self: self.model.dead)
    @rule(which=WHICH, everything=st.booleans())
    def replay(self, which: int, *, everything: bool) -> None:
        """One dead letter, or all that there are."""
        dead = [event for event in self.model.event_specs if event in self.model.dead]
        self.replay_letters(dead if everything else [dead[which % len(dead)]])

    @rule(queue=QUEUE)
    def pause_or_resume(self, queue: str) -> None:
        """Nobody takes from a queue any more; or everybody does again."""
        if queue in self.paused:
            assert pauses.resume(self.stage.connection, queue, actor="ana") is not None
            self.paused.remove(queue)
        else:
            assert pauses.pause(self.stage.connection, queue, actor="ana", reason="a look").is_new
            self.paused.add(queue)

    @precondition(lambda self: self.stage.world.broken)
    @rule()
    def mend(self) -> None:
        """What could not be heard can be heard."""
        self.stage.world.mend()

    @precondition(lambda self: any(job.status == "pending" for job in self.model.jobs.values()))
    @rule(which=WHICH)
    def begin_by_hand(self, which: int) -> None:
        """Somebody says that a job is processing. What has ended is left alone: the audit would name it."""
        begun = {id_: job for id_, job in self.model.jobs.items() if job.status not in {"completed", "failed"}}
        id_, job = list(begun.items())[which % len(begun)]
        try:
            update_job_status(self.shop_of(id_).context, id_, "processing")
        except Conflict:
            assert job.status == "processing"
        else:
            assert job.status == "pending"
            job.status = "processing"
        self.check()
