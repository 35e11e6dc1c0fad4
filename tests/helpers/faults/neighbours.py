"""What others do to the program's rows: hold locks, publish for later, write as older versions did, reuse an id.

Also rules for workers that share their deliveries among the effects of two shops.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from app.engine.queue.publish import publish
from tests.helpers import toy
from tests.helpers.faults.event_specs import EventSpec, Outcome, Submission, Word
from tests.helpers.faults.operators import MOOD, WHICH, Operators

CAPACITY = 3
"""Deliveries that a worker of two shops takes at once."""

_WAITING = "SELECT args FROM engine.waiting()"
_SHARES = """
SELECT DISTINCT engine.share(args) FROM public.procrastinate_jobs
 WHERE task_name = 'perform' AND status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now())
"""
_OF_ROW = "SELECT args FROM public.procrastinate_jobs WHERE id = %s"
# A row as the versions up to migration 0018 wrote it: no share. What was not due stood in the queue itself.
_OLDER = "UPDATE public.procrastinate_jobs SET args = args - 'share' WHERE status = 'todo' AND task_name = 'perform'"
_SCHEDULED = """
WITH moved AS (
    DELETE FROM engine.delayed RETURNING id, queue_name, task_name, priority, args - 'share' AS args, key, due_at),
written AS (
    INSERT INTO public.procrastinate_jobs (id, queue_name, task_name, priority, args, scheduled_at)
    SELECT id, queue_name, task_name, priority, args, due_at FROM moved)
INSERT INTO engine.parked (key, row_id) SELECT key, id FROM moved WHERE key IS NOT NULL
"""


class Neighbours(Operators):
    """The rules of others."""

    # Locks ----------------------------------------------------------------------------------------

    @precondition(lambda self: self.model.items)
    @rule(
        table=st.sampled_from(["robot_jobs", "robot_jobs", "robot_job_items", "orders"]),
        which=WHICH,
        queue=st.sampled_from(["events", "events", "robots"]),
        moods=MOOD,
    )
    def deliver_beside_a_lock(self, table: str, which: int, queue: str, moods: list[Any]) -> None:
        """Lock a row during a delivery: the events that need it wait and spend no attempt."""
        if not (hand := self.fetch(queue)):
            return
        items = list(self.model.items)
        item = self.model.items[id_ := items[which % len(items)]]
        row = {"robot_jobs": item.job, "robot_job_items": id_, "orders": item.order}[table]
        before, mine = self._attempts(), hand.events & self.model.event_specs.keys()
        with self.stage.locked(table, row):
            self.deliver(hand, moods)
        if queue == "events":
            self._nothing_came_of({event for event in mine if self._needs(table, row, event)}, before)
        if queue == "events" and table == "robot_jobs" and not (hand.job.attempts or hand.is_rescued):
            others = {event for event in mine if not self._needs(table, row, event)}
            assert others <= self.model.applied | self._mortal() | self.model.dead, "held up by a lock of others"
        self.happened["delivered beside a lock"] += 1

    def _needs(self, table: str, row: UUID, event: UUID) -> bool:
        """Return whether an event cannot be applied while the row is locked."""
        event_spec = self.model.event_specs[event]
        match table, event_spec:
            case "robot_jobs", Submission():
                return event_spec.job == row
            case "robot_jobs", Outcome():
                return self.model.items[event_spec.item].job == row
            case "robot_job_items", Outcome():
                return event_spec.item == row
            case _:
                return False

    def _nothing_came_of(self, events: set[UUID], before: dict[UUID, int]) -> None:
        after = self._attempts()
        for event in events - self.before_lock:
            assert event not in self.model.applied, "applied without its lock"
            assert after[event] == before[event], "waiting for a lock spent an attempt"

    def _attempts(self) -> dict[UUID, int]:
        """Return the attempts of the waiting events. Notes what is applied already."""
        self.before_lock = set(self.model.applied)
        found: dict[UUID, int] = {}
        for (args,) in self.stage.connection.execute(_WAITING):
            for event in args.get("events", [args]):
                found[UUID(event["id"])] = max(args.get("attempt", 0), found.get(UUID(event["id"]), 0))
        return found

    # Rows -----------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 3), together=st.booleans())
    def say_later(self, count: int, *, together: bool) -> None:
        """Publish words that are due in an hour."""
        said = [toy.say(f"later {len(self.model.event_specs)}.{n}") for n in range(count)]
        self.model.early |= {event.id for event in said}
        self.publish(said, together=together, delay=3600)
        self.happened["delayed"] += 1

    @rule(scheduled=st.booleans())
    def older_version(self, *, scheduled: bool) -> None:
        """Rewrite the waiting rows as an older version of the program wrote them."""
        self.stage.connection.execute(_OLDER)
        if scheduled:
            self.stage.connection.execute(_SCHEDULED)
        self.happened["written by an older version"] += 1
        self.check()

    @precondition(lambda self: self._words(self.model.applied))
    @rule(which=WHICH)
    def reuse(self, which: int) -> None:
        """Publish another word with the id of an applied one."""
        self._reuse(self._words(self.model.applied), which)
        self.happened["id reused"] += 1
        self.check()

    @precondition(lambda self: "events" not in self.paused)
    @rule(which=WHICH, broken=st.booleans())
    def reuse_of_a_dead_word(self, which: int, *, broken: bool) -> None:
        """Publish another word with the id of a dead one, and deliver it: the dead letter is unchanged."""
        if not self._words(self.model.dead):
            first = toy.say(f"dead {len(self.model.event_specs)}")
            self.stage.world.broken.add(first.data.word)
            self.publish([first], together=True)
            self._deliver_events()
        word = self._reuse(self._words(self.model.dead), which)
        if broken:
            self.stage.world.broken.add(word)
        self._deliver_events()
        self.stage.world.broken.discard(word)
        self.happened["id of a dead letter reused"] += 1

    def _deliver_events(self) -> None:
        while (hand := self.fetch("events")) is not None:
            self.deliver(hand, [])

    def _reuse(self, words: list[UUID], which: int) -> str:
        """Publish another word with the id of one of these. Returns the word."""
        event = words[which % len(words)]
        other = toy.say(f"reused {len(self.model.reused)}")
        publish(self.stage.connection, other.model_copy(update={"id": event}))
        self.model.reused.add((event, Word(other.data.word)))
        return other.data.word

    def _words(self, among: Collection[UUID]) -> list[UUID]:
        event_specs: dict[UUID, EventSpec] = self.model.event_specs
        return [event for event, event_spec in event_specs.items() if isinstance(event_spec, Word) and event in among]

    # Turns ----------------------------------------------------------------------------------------

    @precondition(lambda self: "robots" not in self.paused)
    @rule(moods=MOOD)
    def take_turns(self, moods: list[Any]) -> None:
        """Fill one worker's deliveries with effects: no tenant gets more than its share while another has less."""
        worker = self.stage.worker(CAPACITY)
        hands, held = [], Counter[str]()
        for _ in range(CAPACITY):
            waiting = {share.partition("/")[0] for (share,) in self.stage.connection.execute(_SHARES)}
            hand = self.stage.take("robots", worker)
            assert (hand is None) == (not waiting)
            if hand is None:
                break
            (tenant,) = self._tenants(hand.delivery.row_id)
            share = -(-CAPACITY // len(waiting | held.keys()))
            assert held[tenant] < share or all(held[other] >= share for other in waiting), "beyond its share"
            held[tenant] += 1
            hands.append(hand)
        self.happened["shared among shops"] += len(held) > 1
        for hand in hands:
            self.deliver(hand, moods)

    def _tenants(self, row_id: int) -> set[str]:
        """Return the tenants of a row's events, which are one."""
        return {
            event["tenantid"]
            for (args,) in self.stage.connection.execute(_OF_ROW, [row_id])
            for event in args["events"]
        }
