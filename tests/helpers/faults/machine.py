"""The state machine: operations on the program in any order, as rules for Hypothesis.

Jobs are submitted. Results come from robots and others: early, late, twice and contradictory. Workers take deliveries,
crash between statements or in a call, are rescued, and go on as zombies. Failed items are retried, dead letters
replayed, queues paused. At the end every fault is mended and everything is delivered.
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
    """The rules. Each does one operation to the program and to the model, and compares them."""

    @initialize(count=st.integers(1, 4), begun=st.booleans(), both=st.booleans(), dead=st.booleans())
    def orders_come_in(self, count: int, *, begun: bool, both: bool = False, dead: bool = False) -> None:
        """Create the orders of a shop and a job for some of them, perhaps with requests.

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
        """Submit a job of some orders, which may have had a job: perhaps with a key, perhaps for the other shop."""
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
        """Repeat a request with its key."""
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
        """Publish words, some of which fail, permanently or for some deliveries."""
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
        """Record results directly: the first for each attempt counts, the others are late."""
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
        """Publish results as events, in one batch or in rows of their own."""
        said = [self.result(*result) for result in results]
        now, whose = self.stage.shop.context.now, {one.job_id: self.shop_of(one.job_id).workspace_id for one in said}
        self.publish(
            [events.new(one, now=now, subject=one.job_id, tenant=whose[one.job_id]) for one in said], together=together
        )

    @precondition(lambda self: self.raws)
    @rule(which=st.lists(WHICH, min_size=1, max_size=4), together=st.booleans())
    def redeliver(self, which: list[int], *, together: bool) -> None:
        """Publish known events again, whatever their state."""
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
        """Let workers take what is due, one after the other, and deliver it."""
        for queue in queues:
            if hand := self.fetch(queue):
                self.deliver(hand, moods)

    @precondition(lambda self: len(self.hands) < MOST_IN_HAND)
    @rule(queue=QUEUE)
    def take(self, queue: str) -> None:
        """Let a slow worker take what is due."""
        if hand := self.fetch(queue):
            self.hands.append(hand)
        self.check()

    @precondition(lambda self: self.hands)
    @rule(which=WHICH, moods=MOOD)
    def carry_on(self, which: int, moods: list[Any]) -> None:
        """Let a slow worker go on, whatever happened to its delivery."""
        hand = self.hands.pop(which % len(self.hands))
        self.deliver(hand, moods)

    @rule(queue=QUEUE, statements=st.integers(0, 10))
    def crash(self, queue: str, statements: int) -> None:
        """Let a worker take what is due and crash before one of its statements."""
        if hand := self.fetch(queue):
            self.die_at_work(hand, statements)

    @rule(death=st.sampled_from(["die before", "die after"]))
    def crash_in_a_call(self, death: str) -> None:
        """Let a worker crash before or after a call."""
        if hand := self.fetch("robots"):
            self.die_at_work(hand, death)

    @rule(queue=QUEUE, statements=st.integers(0, 3))
    def kill(self, queue: str, statements: int) -> None:
        """Let every worker that takes what is due crash, until the row is buried."""
        self.rescue()
        for _ in range(MOST_RESCUES + 1):
            self.crash(queue, statements)
            self.rescue()

    @rule(queue=QUEUE, moods=MOOD, then=st.sampled_from(["silent", "rescued", "taken", "delivered"]))
    def fall_silent(self, queue: str, moods: list[Any], then: str) -> None:
        """Stop the heartbeats of a slow worker. It goes on after its delivery was rescued or given to others."""
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
        """Make everything due that waits for its time, and rescue the deliveries of dead workers."""
        self.pass_time()
        self.rescue()

    # What operators do ----------------------------------------------------------------------------

    @precondition(lambda self: any(job.failed for job in self.model.jobs.values()))
    @rule(which=WHICH, some=st.sampled_from(["failed", "failed", "one of the failed", "any"]))
    def retry(self, which: int, some: str) -> None:
        """Retry all failed items of a job, or one of them, or an item that may not have failed."""
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
        """Replay one dead letter, or all."""
        dead = [event for event in self.model.event_specs if event in self.model.dead]
        self.replay_letters(dead if everything else [dead[which % len(dead)]])

    @rule(queue=QUEUE)
    def pause_or_resume(self, queue: str) -> None:
        """Pause a queue, or resume it."""
        if queue in self.paused:
            assert pauses.resume(self.stage.connection, queue, actor="ana") is not None
            self.paused.remove(queue)
        else:
            assert pauses.pause(self.stage.connection, queue, actor="ana", reason="a look").is_new
            self.paused.add(queue)

    @precondition(lambda self: self.stage.world.broken)
    @rule()
    def mend(self) -> None:
        """Let the words that failed permanently succeed."""
        self.stage.world.mend()

    @precondition(lambda self: any(job.status == "pending" for job in self.model.jobs.values()))
    @rule(which=WHICH)
    def begin_by_hand(self, which: int) -> None:
        """Set a job to processing. Skips jobs that have ended: the audit would report them."""
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
