"""The machine of collection: what may happen to runs in any order, as rules for Hypothesis, beside a model.

Runs are created, paused, resumed and cancelled, and caps change. Requests are claimed, called and settled step by step,
twice, late and out of order, and workers die between the steps. After each step the program and the model agree. In the
end every run is brought to its end.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.collection import effects, market, runs
from app.collection.settings import set_settings
from app.context import HandlerContext
from app.engine.domain import Call, Prepared
from app.engine.queue.envelope import Row, open_rows
from app.engine.queue.publish import publish
from app.errors import Conflict
from app.simulators.marketplace import Behaviour, Category
from events import Event
from events.collection import PageCompleted
from tests.helpers.collecting import Desk, imbalances
from tests.helpers.run_model import ENDED, PAGES, PRICE, Model, Place

PLACES = 2
_REQUESTS = "SELECT row_id, args::text FROM engine.waiting() WHERE queue_name = 'marketplaces' ORDER BY row_id"
_CLEAN = ("DELETE FROM public.procrastinate_jobs", "DELETE FROM engine.delayed")
"""A way that failed leaves events behind, which would reach the next one."""
_DROP = "DELETE FROM public.procrastinate_jobs WHERE queue_name = 'marketplaces'"
WHICH = st.integers(0, 10)
CAPS = st.sampled_from([12, 20, 33, 0, 50, 200])


@dataclass
class Hand:
    """A request in the hand of a worker. `result`: of its call, not settled yet."""

    event: Event[Any]
    prepared: Prepared
    result: PageCompleted | None = None


class Runs(RuleBasedStateMachine):
    """The rules. Each does one thing to the program and to the model."""

    desk: Desk
    happened: Counter[str]
    """What has happened in all ways."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Event[Any]] = []
        self.hands: list[Hand] = []
        self.lost: list[Event[Any]] = []
        self.said: list[PageCompleted] = []
        self.asked: list[Event[Any]] = []

    @initialize(cap=CAPS, seed=st.integers(0, 5))
    def an_organisation(self, cap: int, seed: int) -> None:
        """It has two places, and a marketplace that charges any call, with bills from half to three times the price."""
        for statement in _CLEAN:
            self.desk.connection.execute(statement)
        sold = {name: Category(pages=PAGES, items=2, price_cents=PRICE) for name in "ab"}
        behaviour = Behaviour(categories=sold, bill_percent=(50, 300), honours_references=False, seed=seed)
        self.desk.market.start_over(behaviour)
        self.model = Model(cap, PLACES)
        set_settings(self.desk.context, actor="test", budget_cap_cents=cap, max_concurrent_runs=PLACES)
        self.create(("a", "b"), None)

    # What people do -------------------------------------------------------------------------------

    @precondition(lambda self: len(self.model.runs) < 4)
    @rule(categories=st.sampled_from([("a",), ("a", "b")]), cap=st.sampled_from([None, None, 12, 40]))
    def create(self, categories: tuple[str, ...], cap: int | None) -> None:
        """A run of one or two categories, which may have a cap of its own."""
        run = self.desk.create(*categories, cap_cents=cap)
        self.model.create(run.id, categories, cap)
        self._apply()

    @precondition(lambda self: self.model.runs)
    @rule(which=WHICH, do=st.sampled_from(["pause", "resume", "cancel", "pause", "resume", "resume"]))
    def change(self, which: int, do: str) -> None:
        """A person pauses, resumes or cancels a run, if it may."""
        run_id = self._run(which)
        operation = {"pause": runs.pause_run, "resume": runs.resume_run, "cancel": runs.cancel_run}[do]
        if getattr(self.model, do)(run_id):
            operation(self.desk.context, run_id, actor="test")
        else:
            with pytest.raises(Conflict):
                operation(self.desk.context, run_id, actor="test")
        self._apply()

    @rule(cap=CAPS)
    def set_cap(self, cap: int) -> None:
        """An admin raises or lowers the organisation's cap."""
        set_settings(self.desk.context, actor="test", budget_cap_cents=cap)
        self.model.set_cap(cap)
        self._apply()

    # What workers do ------------------------------------------------------------------------------

    @precondition(lambda self: self.waiting)
    @rule(which=WHICH)
    def claim(self, which: int) -> None:
        """A worker claims a request."""
        self._claim(self.waiting.pop(which % len(self.waiting)))

    @precondition(lambda self: self.waiting)
    @rule(which=WHICH)
    def buy(self, which: int) -> None:
        """A worker takes a request all the way."""
        before = len(self.hands)
        self.claim(which)
        for hand in self.hands[before:]:
            self._call(hand)
            self._settle(hand)

    @precondition(lambda self: any(hand.result is None for hand in self.hands))
    @rule(which=WHICH)
    def call(self, which: int) -> None:
        """A worker makes its call, if it still may, or finds that it was made."""
        idle = [hand for hand in self.hands if hand.result is None]
        self._call(idle[which % len(idle)])

    @precondition(lambda self: self.hands)
    @rule(which=WHICH)
    def crash(self, which: int) -> None:
        """A worker dies before or after its call. The request is delivered again, and its call is in doubt."""
        self.lost.append(self.hands.pop(which % len(self.hands)).event)

    @precondition(lambda self: self.lost)
    @rule(which=WHICH)
    def rescue(self, which: int) -> None:
        """A request that a dead worker left is claimed again."""
        self._claim(self.lost.pop(which % len(self.lost)))

    @precondition(lambda self: any(hand.result for hand in self.hands))
    @rule(which=WHICH)
    def settle(self, which: int) -> None:
        """A result is recorded and settled."""
        done = [hand for hand in self.hands if hand.result]
        self._settle(done[which % len(done)])

    @precondition(lambda self: self.said)
    @rule(which=WHICH)
    def repeat_result(self, which: int) -> None:
        """A result is delivered once more, under another id."""
        self._say(self.said[which % len(self.said)])

    @precondition(lambda self: self.asked)
    @rule(which=WHICH)
    def repeat_request(self, which: int) -> None:
        """A request whose page is in nobody's hand is delivered once more."""
        event = self.asked[which % len(self.asked)]
        if not self._is_under_way(event):
            self._claim(event)

    # What must hold -------------------------------------------------------------------------------

    @invariant()
    def the_model_agrees(self) -> None:
        """States, books and pages are the model's, and every cent that was charged is booked or under way."""
        if not hasattr(self, "model"):
            return
        for run in self.model.runs.values():
            now = self.desk.run(run.id)
            self.happened[f"{run.status} {run.reason or ''}".strip()] += 1
            self.happened["overrun"] += run.overrun > 0
            books = (now.actual_cost_cents, now.reserved_cost_cents, now.overrun_cents, now.budget_cap_cents)
            assert (now.status, now.pause_reason, books) == (run.status, run.reason, run.books)
            assert now.actual_cost_cents + now.reserved_cost_cents <= now.budget_cap_cents
            found = {
                (page["category_id"], page["number"]): (page["status"], page["attempt"], page["reserved_cents"])
                for page in self.desk.pages(run.id)
            }
            assert found == {place: (one.status, one.attempt, one.reserved) for place, one in run.pages.items()}
        settled = sum(page.cost for run in self.model.runs.values() for page in run.pages.values())
        under_way = sum(
            cost for (run_id, place), cost in self.model.charged.items()
            if self.model.runs[run_id].pages[place].status != "completed"
        )  # fmt: skip
        assert self.desk.charged == settled + under_way
        assert self.desk.market.ledger.duplicates == []
        assert imbalances(self.desk.connection) == []

    def teardown(self) -> None:
        """Bring every run to its end, and look at the whole."""
        if not hasattr(self, "model"):
            return
        self.set_cap(10_000)
        while not all(run.status in ENDED for run in self.model.runs.values()) or self.hands or self.lost:
            self._go_on()
        self.the_model_agrees()
        for run in self.model.runs.values():
            if run.status == "completed":
                assert self.desk.run(run.id).processed_items == 2 * PAGES * len(run.categories)
        assert self.desk.charged == sum(run.spent + run.overrun for run in self.model.runs.values())

    def _go_on(self) -> None:
        self.waiting, ready = [], [*self.waiting, *self.lost]
        self.lost = []
        for event in ready:
            self._claim(event)
        for hand in list(self.hands):
            if hand.result is None:
                self._call(hand)
            self._settle(hand)
        for run in self.model.runs.values():
            if run.status == "paused" and run.reason != "place":
                stuck = run.override is not None and run.spent + PRICE > run.override
                self.change(list(self.model.runs).index(run.id), "cancel" if stuck else "resume")

    # Steps ----------------------------------------------------------------------------------------

    def _run(self, which: int) -> UUID:
        return list(self.model.runs)[which % len(self.model.runs)]

    def _apply(self) -> None:
        """Deliver what waits for handlers, and take the new requests out of the queue."""
        self.desk.handle()
        rows = [Row(*row) for row in self.desk.connection.execute(_REQUESTS).fetchall()]
        new = [queued.event for queued in open_rows(rows) if isinstance(queued.event, Event)]
        self.desk.connection.execute(_DROP)
        self.waiting += new
        self.asked += new

    def _is_under_way(self, event: Event[Any]) -> bool:
        """Whether somebody works on a request: calls of one attempt never overlap."""
        ids = [*(hand.event.id for hand in self.hands), *(one.id for one in (*self.lost, *self.waiting))]
        page = self.model.runs[event.data.run_id].pages[self._place(event.data)]
        # The engine's ledger leaves a request with a result out.
        return event.id in ids or page.status == "processing"

    def _place(self, data: Any) -> Place:
        page = next(one for one in self.desk.pages(data.run_id) if one["id"] == data.page_id)
        return page["category_id"], page["number"]

    def _claim(self, event: Event[Any]) -> None:
        connection, data = self.desk.connection, event.data
        begun = self.model.runs[data.run_id].pages[self._place(data)].status == "processing"
        with connection.transaction():
            prepared = list(effects.prepare(HandlerContext.begin(connection), [event]))
        assert len(prepared) == self.model.claim(data.run_id, self._place(data), data.attempt)
        self.hands += [Hand(event, one) for one in prepared]
        assert all(one.work.begun or not begun for one in prepared)
        self._apply()

    def _call(self, hand: Hand) -> None:
        data, key = hand.event.data, (hand.event.data.run_id, self._place(hand.event.data))

        async def still_mine() -> market.Now | None:
            return market.recheck(self.desk.connection, [hand.prepared]).get(hand.event.id)

        async def call() -> PageCompleted:
            try:
                return await effects.buy_page(hand.prepared, Call(False, 0, False, still_mine))  # noqa: FBT003
            finally:
                await market.close()

        hand.result = asyncio.run(call())
        self.happened["found"] += key in self.model.charged
        self.happened[hand.result.status] += 1
        if key in self.model.charged or self.model.may_buy(data.run_id):
            assert hand.result.status == "completed"
            assert self.model.charged.setdefault(key, hand.result.cost_cents) == hand.result.cost_cents
        else:
            assert hand.result.status == "released"

    def _settle(self, hand: Hand) -> None:
        assert hand.result
        self.hands.remove(hand)
        self.said.append(hand.result)
        self._say(hand.result)

    def _say(self, result: PageCompleted) -> None:
        cost = None if result.status == "released" else result.cost_cents
        place = self._place(result)
        page = self.model.runs[result.run_id].pages[place]
        self.happened["late"] += page.status != "processing" or page.attempt != result.attempt
        self.happened["bill after the end"] += bool(cost) and self.model.runs[result.run_id].status in ENDED
        publish(self.desk.connection, self.desk.event(result))
        self.model.settle(result.run_id, place, result.attempt, cost)
        self._apply()
