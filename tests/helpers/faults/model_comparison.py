"""Run operations on the program and its model, and compare both after every step."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any, ClassVar
from uuid import UUID

from hypothesis.stateful import RuleBasedStateMachine

from app.engine.dead_letters import manage, replay
from app.engine.dead_letters import plan as plans
from app.engine.dead_letters.awaited import Progress
from app.engine.dead_letters.letters import Filters
from app.engine.dead_letters.replay import Pace
from app.engine.queue import pauses
from app.engine.queue.publish import publish
from app.errors import Conflict
from app.logistics import carriers
from events import Event
from events.robot import ItemCompleted
from tests.helpers.faults.crash_points import Died
from tests.helpers.faults.event_specs import Outcome, Request, Word
from tests.helpers.faults.model import Model
from tests.helpers.faults.snapshot import broken, most_slots, snapshot
from tests.helpers.faults.stage import CARRIER, MOST_RESCUES, MOST_SESSIONS, QUEUES, Hand, Stage
from tests.helpers.faults.world import Killed
from tests.helpers.shops import Shop

ROUNDS = 60
"""After so many the last thing must have been done."""

_COUNTED = "SELECT event_id FROM engine.event_rescues"
"""Burying an event begins its count anew."""
_LIVE = "SELECT call_key FROM engine.calls WHERE engine.is_live(row_id, attempts, worker_id)"
_ROWS = "SELECT id, args FROM public.procrastinate_jobs"


class Done(Exception):
    """Every letter of a plan was replayed."""


class ModelComparison(RuleBasedStateMachine):
    """The program and its model, compared after every step."""

    stage: ClassVar[Stage]
    happened: ClassVar[Counter[str]] = Counter()
    """What the ways led through: a machine that never crashes proves nothing about crashes."""

    def __init__(self) -> None:
        super().__init__()
        self.stage.empty()
        self.model = Model(answered=self.stage.world.answered)
        self.stage.world.forbids = self._forbids
        self.orders: Sequence[UUID] = ()
        self.keys: dict[str, tuple[UUID, frozenset[UUID]]] = {}
        self.raws: dict[UUID, Any] = {}
        self.hands: list[Hand] = []
        self.rescues: Counter[UUID] = Counter()
        self.paused: set[str] = set()
        self.disabled: set[UUID] = set()
        self.before_lock: set[UUID] = set()
        self.home: dict[UUID, Shop] = {}
        self.is_sound = True

    def check(self, **allowed: Any) -> None:
        """Assert that the audit holds and the model reaches the program's state. `allowed`: see `Model.follow`."""
        self.is_sound = False
        assert not self.stage.world.violations
        assert broken(self.stage.connection) == []
        assert most_slots(self.stage.connection) <= MOST_SESSIONS
        assert all(count == 1 for count in self.stage.world.entered.values()), "entered twice"
        seen, waiting = snapshot(self.stage.connection)
        self.model.follow(seen, **allowed)
        self.stage.stop_the_clock()
        self.raws.update(waiting)
        self.is_sound = True

    def shop_of(self, job: UUID) -> Shop:
        """Return the shop of a job."""
        return self.home.get(job, self.stage.shop)

    def live_calls(self) -> set[UUID]:
        """Return the keys of the calls of live deliveries: the ids of the requests, whichever event asked."""
        return {key for (key,) in self.stage.connection.execute(_LIVE)}

    def guarded(self, happens: Callable[[], None]) -> None:
        """Run a check in the middle of a call, where an error would count as the call's. It is noted as a violation."""
        try:
            happens()
        except Exception:  # noqa: BLE001 - raised by the check that follows
            self.stage.world.violations.append(traceback.format_exc())

    def _forbids(self, item: UUID) -> str | None:
        """Return why an item's order must not be entered at this moment."""
        if self.shop_of(self.model.items[item].job).workspace_id in self.disabled:
            return "the carrier is disabled"
        return "the queue is paused" if "robots" in self.paused else self.model.forbids(item)

    def publish(self, said: Sequence[Event[Any]], *, together: bool, delay: float = 0) -> None:
        """Publish new events, in one batch or each in a row of its own."""
        self.model.unnamed += [_event_spec(event) for event in said]
        publish(self.stage.connection, *said, batch_size=None if together else 1, delay=delay)
        self.check()

    def result(self, which: int, shift: int, succeeded: bool) -> ItemCompleted:  # noqa: FBT001 - drawn
        """Return a result of one of the items, for the current attempt or one beside it."""
        id_, item = list(self.model.items.items())[which % len(self.model.items)]
        said: dict[str, Any] = (
            {"status": "success", "tracking_number": f"T-{id_}"}
            if succeeded
            else {"status": "error", "error_type": "portal", "error_message": "no"}
        )
        return ItemCompleted(job_id=item.job, item_id=id_, attempt=max(0, item.attempt + shift), **said)

    def fetch(self, queue: str) -> Hand | None:
        """Let a new worker take what is due, if anything is and the queue is not paused."""
        due = self.stage.due(queue)
        hand = self.stage.take(queue)
        assert (hand is not None) == (due > 0 and queue not in self.paused)
        return hand

    def deliver(self, hand: Hand, moods: list[Any]) -> None:
        """Let a worker deliver what it has under these moods. Nothing may come of a rescued delivery."""
        self.stage.world.moods.extend(moods)
        applied = self.stage.deliver(hand)
        self.stage.world.moods.clear()
        if hand.is_rescued:
            self.happened["zombie"] += 1
            assert applied == 0
        self.check(begun=hand.items, doomed=self._mortal() | (hand.events if "break" in moods else frozenset()))

    def die_at_work(self, hand: Hand, death: Any) -> None:
        """Let a worker crash before its nth statement or around a call."""
        if isinstance(death, int):
            self.stage.crash_point.left = death
        else:
            self.stage.world.moods.append(death)
        try:
            self.stage.work(hand)
        except (Died, Killed):
            self.happened["died in a call" if isinstance(death, str) else "died between statements"] += 1
        self.stage.crash_point.left = None
        self.stage.world.moods.clear()
        self.stage.die(hand)
        self.check(begun=hand.items, doomed=self._mortal())

    def rescue(self) -> None:
        """Rescue the deliveries of dead workers. Those that have crashed workers too often are buried."""
        waiting = self.rows()
        known = {event for (event,) in self.stage.connection.execute(_COUNTED)}
        self.rescues = Counter({event: n for event, n in self.rescues.items() if event in known})
        freed = self.stage.rescue()
        self.rescues.update({event for row in freed for event in waiting[row.row_id]})
        doomed: set[UUID] = set()
        for row in freed:
            counts = {event: self.rescues[event] for event in waiting[row.row_id]}
            assert row.rescues >= max(counts.values(), default=0)
            doomed |= (killers := {event for event, count in counts.items() if count > MOST_RESCUES})
            assert not killers & self.rows().get(row.row_id, frozenset())
            self.happened["killed too often"] += bool(killers)
            self.happened["rescued"] += 1
            for hand in self.hands:
                hand.is_rescued |= hand.delivery.row_id == row.row_id
        self.check(doomed=doomed)

    def replay_letters(self, dead: Sequence[UUID]) -> None:
        """Plan a replay of some dead letters and run it. Later steps compare what follows."""
        connection = self.stage.connection
        live = self.live_calls()
        useless = {letter for letter in dead if self._is_blocked(letter, live)}
        plan = plans.make(connection, Filters(ids=dead), actor="ana")
        found = plans.letters(connection, plan.id)
        blocked = {one.event_id for one in found if one.class_ == "blocked"}
        # What an earlier replay has put into the queue waits there: it is not put there a second time.
        waiting = {one.event_id for one in found if (one.detail or "").startswith("replayed, waiting")}
        assert blocked - waiting == useless - waiting, "a call under way must not be repeated, nor one be made in vain"
        replayed = [event for event in dead if event not in blocked]

        def show(progress: Progress) -> None:
            if progress.replayed == progress.total:
                raise Done

        with suppress(Done):
            replay.run(connection, plan, Pace(), actor="ana", reason="mended", show=show)
        seen, _ = snapshot(connection)
        self.model.replay(replayed, seen)
        self.happened["replayed"] += len(replayed)
        self.check()

    def _is_blocked(self, letter: UUID, live: Collection[UUID]) -> bool:
        """Return whether a replay would only wait, or make a call that is refused."""
        request = self.model.event_specs[letter]
        if not isinstance(request, Request):
            return False
        item = self.model.items[request.item]
        if request.id in live:
            return True
        is_disabled = self.shop_of(item.job).workspace_id in self.disabled
        is_refused = is_disabled or self.model.orders.get(item.order) == "cancelled"
        return is_refused and item.attempt == request.attempt and item.status != "success"

    def discard_letter(self, letter: UUID) -> None:
        """Discard a dead letter. Raises `Conflict` if its item's call is in progress."""
        said = self.model.event_specs[letter]
        is_busy = (
            isinstance(said, Request)
            and self.model.items[said.item].awaits(said.attempt)
            and said.id in self.live_calls()
        )
        try:
            manage.discard(self.stage.connection, [letter], note="of no use", actor="ana")
        except Conflict:
            assert is_busy
            return
        assert not is_busy
        self.model.discard(letter)
        self.happened["discarded"] += 1
        self.check()

    def pass_time(self) -> None:
        """Make everything due that waits for its time."""
        self.model.early.clear()
        self.stage.pass_time()

    def tidy(self) -> None:
        """End everything that would wait for an operator forever."""

    def rows(self) -> dict[int, frozenset[UUID]]:
        """Return the rows in the queue with those of their events that the model knows."""
        return {
            id_: frozenset(UUID(e["id"]) for e in args.get("events", [args]) if e["type"] != "order/updated")
            for id_, args in self.stage.connection.execute(_ROWS)
        }

    # The end --------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Mend every fault and deliver everything. A walk that has failed is left as it is."""
        if self.is_sound:
            self._finish()

    def _finish(self) -> None:
        for queue in self.paused:
            pauses.resume(self.stage.connection, queue, actor="ana")
        self.paused.clear()
        for shop in (self.stage.shop, self.stage.other):
            carriers.enable_carrier(shop.context, CARRIER)
        self.disabled.clear()
        self.stage.world.mend()
        for slow in self.hands:
            self.stage.die(slow)
        for _ in range(ROUNDS):
            self.pass_time()
            self.rescue()
            for queue in QUEUES:
                while hand := self.fetch(queue):
                    self.deliver(hand, [])
            if self.model.dead:
                self.replay_letters(sorted(self.model.dead))
            elif not self.rows() and self._all_done():
                break
            self.tidy()
        assert not self.rows()
        assert self._all_done()
        # Once more, and what is late is late: a slow worker finds that nothing is left for it.
        for slow in self.hands:
            assert self.stage.deliver(slow) == 0
        self.check()

    def _all_done(self) -> bool:
        is_done = all(item.status in {"success", "error"} for item in self.model.items.values())
        return is_done and all(job.is_done for job in self.model.jobs.values())

    def _mortal(self) -> set[UUID]:
        event_specs = self.model.event_specs.items()
        return {
            id_
            for id_, event_spec in event_specs
            if isinstance(event_spec, Word) and self.stage.world.is_mortal(event_spec.word)
        }


def _event_spec(event: Event[Any]) -> Outcome | Word:
    data = event.data
    if isinstance(data, ItemCompleted):
        return outcome(data)
    return Word(data.word)


def outcome(said: ItemCompleted) -> Outcome:
    """Return a result as the model knows it."""
    return Outcome(said.item_id, said.attempt, said.status == "success")
