"""Rules of operators: cancel jobs and orders, disable carriers, edit and discard dead letters, record results by hand.

Each runs between two deliveries, or while a robot is about to enter an order.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from app.engine.dead_letters import letters, manage
from app.engine.queue import pauses
from app.errors import Conflict
from app.logistics import carriers
from app.logistics.cancel import AlreadyShipped, cancel_orders
from app.logistics.jobs import cancel_job, record_item
from app.logistics.order_changes import update_order
from tests.helpers.faults.event_specs import Outcome, Request, event_spec
from tests.helpers.faults.model_comparison import ModelComparison
from tests.helpers.faults.stage import CARRIER
from tests.helpers.faults.world import MOODS, nothing

WHICH = st.sampled_from(range(12))
MOOD = st.lists(st.sampled_from(MOODS), max_size=4)


class Operators(ModelComparison):
    """The rules of operators."""

    @rule(what=st.sampled_from(["cancel job", "cancel order", "disable", "pause", "record"]), which=WHICH, moods=MOOD)
    def interfere(self, what: str, which: int, moods: list[Any]) -> None:
        """Change something after a robot has looked everything up and before it enters an order."""
        hand = self.fetch("robots")
        if hand is None:
            return

        def meanwhile() -> None:
            self.check(begun=hand.items)
            self._operate(what, [item for item in self.model.items if item in hand.items], which)
            self.happened[f"{what} before a call"] += 1

        self.stage.world.meanwhile = partial(self.guarded, meanwhile)
        self.deliver(hand, moods)
        self.stage.world.meanwhile = nothing

    @precondition(lambda self: self.model.items)
    @rule(what=st.sampled_from(["cancel job", "cancel order", "cancel order", "disable", "record"]), which=WHICH)
    def operate(self, what: str, which: int) -> None:
        """Change what is to become of an item, as an operator. Changes of carriers and orders may be undone."""
        self._operate(what, list(self.model.items), which)

    def _operate(self, what: str, items: Sequence[UUID], which: int) -> None:
        item = items[which % len(items)]
        match what:
            case "cancel job":
                self._cancel_job(self.model.items[item].job)
            case "cancel order":
                self._cancel_order(item)
            case "disable":
                self._switch(item)
            case "pause":
                assert pauses.pause(self.stage.connection, "robots", actor="ana", reason="a look").is_new
                self.paused.add("robots")
            case _:
                self._record(item, succeeded=bool(which % 2))
        self.check()

    def _cancel_job(self, job: UUID) -> None:
        cancel = partial(cancel_job, self.shop_of(job).context, job, actor="ana", reason="a mistake")
        if self.model.jobs[job].is_done:
            with pytest.raises(Conflict):
                cancel()
            return
        before, live = self.model.jobs[job].failed, self.live_calls()
        cancelled = cancel()
        self.model.cancel(job, live)
        assert cancelled.failed == self.model.jobs[job].failed - before
        self.happened["job cancelled"] += 1

    def _cancel_order(self, item: UUID) -> None:
        order, shop = self.model.items[item].order, self.shop_of(self.model.items[item].job)
        match self.model.orders.get(order, "pending"):
            case "shipped":
                with pytest.raises(AlreadyShipped):
                    cancel_orders(shop.context, [order])
            case "cancelled":
                update_order(shop.context, order, status="pending")
                self.model.orders[order] = "pending"
            case _:
                assert cancel_orders(shop.context, [order]).changed == 1
                self.model.orders[order] = "cancelled"
                self.happened["order cancelled"] += 1

    def _switch(self, item: UUID) -> None:
        shop = self.shop_of(self.model.items[item].job)
        if shop.workspace_id in self.disabled:
            carriers.enable_carrier(shop.context, CARRIER)
            self.disabled.remove(shop.workspace_id)
        else:
            carriers.disable_carrier(shop.context, CARRIER)
            self.disabled.add(shop.workspace_id)
            self.happened["carrier disabled"] += 1

    def _record(self, item: UUID, *, succeeded: bool) -> None:
        its = self.model.items[item]
        said: dict[str, Any] = {"tracking_number": f"T-{item}"} if succeeded else {"error": "lost by hand"}
        record = partial(record_item, self.shop_of(its.job).context, item, actor="ana", reason="a call", **said)
        live = self.live_calls()
        if Request(item, its.attempt).id in live or not its.awaits(its.attempt):
            with pytest.raises(Conflict):
                record()
            return
        record()
        self.model.record_by_hand(Outcome(item, its.attempt, succeeded), live)
        self.happened["recorded by hand"] += 1

    # Dead letters ---------------------------------------------------------------------------------

    @precondition(lambda self: self.model.dead)
    @rule(which=WHICH)
    def discard(self, which: int) -> None:
        """Discard a dead letter: what waited for it fails, unless its call is in progress."""
        self.discard_letter(self._letter(which))

    @precondition(lambda self: self.model.dead)
    @rule(which=WHICH, attempt=st.sampled_from([0, 0, None, 1, 2]))
    def edit(self, which: int, attempt: int | None) -> None:
        """Publish a dead letter's event with a new id, for another attempt. None: for the current one."""
        letter = self._letter(which)
        said, connection = self.model.event_specs[letter], self.stage.connection
        data = manage.current_data(letters.find(connection, letter))
        if isinstance(said, Request | Outcome):
            data["attempt"] = self.model.items[said.item].attempt if attempt is None else attempt
        edit = partial(manage.edit, connection, letter, data, reason=None, actor="ana")
        if isinstance(said, Request) and said.id in self.live_calls():
            with pytest.raises(Conflict):
                edit()
            return
        self.model.edit(letter, event_spec(edit().model_dump(mode="json")))
        self.happened["edited"] += 1
        self.check()

    def _letter(self, which: int) -> UUID:
        dead = [event for event in self.model.event_specs if event in self.model.dead]
        return dead[which % len(dead)]

    # The end --------------------------------------------------------------------------------------

    def tidy(self) -> None:
        """End everything that would wait for an operator forever. Cancelled orders stay cancelled."""
        for letter in sorted(self.model.dead):
            with suppress(Conflict):
                self.discard_letter(letter)
        open_ = [id_ for id_, item in self.model.items.items() if item.awaits(item.attempt)]
        if open_ and not self.rows():
            for id_ in open_:
                self._record(id_, succeeded=False)
            self.check()
