"""The model: the specification of robot jobs, without a database, a queue, a lock or a transaction.

It is told each operation (`submit`, `record`, `cancel`, `edit`…) and then the state of the program. In between the
program may have applied events that were waiting, in any transactions. The model applies the same events in the same
order and must come to the same state. It knows which events follow from which, so a lost or unexpected event is found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from uuid import UUID

from tests.helpers.faults.event_specs import (
    OPEN,
    Completion,
    EventSpec,
    Item,
    ItemState,
    Job,
    JobState,
    Outcome,
    Request,
    Seen,
    Submission,
    Word,
)


@dataclass(slots=True)
class Model:
    """All events that were published, and the state that follows from them.

    `answered` is the outside world's: whether a robot was last told that an item was entered. `expected` are events
    that must have been published and whose ids are known; of the `unnamed` ones only the content is. `reused` are
    events with the id of another event, `early` are events that are not due. `orders` are those whose status has
    changed.
    """

    jobs: dict[UUID, Job] = field(default_factory=dict)
    items: dict[UUID, Item] = field(default_factory=dict)
    event_specs: dict[UUID, EventSpec] = field(default_factory=dict)
    applied: set[UUID] = field(default_factory=set)
    dead: set[UUID] = field(default_factory=set)
    closed: set[UUID] = field(default_factory=set)
    answered: dict[UUID, bool] = field(default_factory=dict)
    expected: dict[UUID, EventSpec] = field(default_factory=dict)
    unnamed: list[EventSpec] = field(default_factory=list)
    orders: dict[UUID, str] = field(default_factory=dict)
    reused: set[tuple[UUID, EventSpec]] = field(default_factory=set)
    early: set[UUID] = field(default_factory=set)

    # What is asked of the program -----------------------------------------------------------------

    def submit(self, job: UUID, items: Mapping[UUID, UUID]) -> None:
        """A job was created. `items`: its items, each with its order."""
        self.jobs[job] = Job(list(items))
        self.items.update({item: Item(job, order) for item, order in items.items()})
        self.unnamed.append(Submission(job))

    def record(self, outcomes: Iterable[Outcome]) -> int:
        """Results were recorded in this order, in one transaction. Returns how many counted."""
        counting: dict[UUID, Outcome] = {}
        for outcome in outcomes:
            if self.items[outcome.item].awaits(outcome.attempt):
                counting.setdefault(outcome.item, outcome)
        self._count(counting.values())
        return len(counting)

    def retry(self, job: UUID, items: Collection[UUID]) -> None:
        """Failed items, at least one, were retried."""
        for item in items:
            self._next_attempt(item)
        self._reopen(job, len(items))
        self.unnamed.append(Submission(job, frozenset(items)))

    def cancel(self, job: UUID, live: Collection[UUID]) -> None:
        """An open job was cancelled: items that no robot has begun, or whose requests are dead, fail.

        `live` are the keys of calls in progress. A dead request for one of them stays.
        """
        self.jobs[job].cancelled = True
        for letter in self.requests(self.jobs[job].items, live):
            self.discard(letter)
        items = {item: self.items[item] for item in self.jobs[job].items}
        self._count([Outcome(id_, item.attempt, False) for id_, item in items.items() if item.status == "pending"])  # noqa: FBT003

    def record_by_hand(self, outcome: Outcome, live: Collection[UUID]) -> None:
        """The outcome of an open item was recorded by hand: the dead requests for it are closed."""
        assert self.record([outcome]) == 1
        for letter in self.requests([outcome.item], live):
            self._close(letter)

    def requests(self, items: Collection[UUID], live: Collection[UUID]) -> list[UUID]:
        """Return the dead requests for some items, without those whose calls are in progress."""
        event_specs = {letter: self.event_specs[letter] for letter in self.dead}
        return [
            letter
            for letter, event_spec in event_specs.items()
            if isinstance(event_spec, Request) and event_spec.item in items and event_spec.id not in live
        ]

    def discard(self, letter: UUID) -> None:
        """A dead letter was discarded: an item that waits for its outcome fails."""
        event_spec = self.event_specs[letter]
        self._close(letter)
        if isinstance(event_spec, Request):
            self.record([Outcome(event_spec.item, event_spec.attempt, False)])  # noqa: FBT003

    def edit(self, letter: UUID, copy: EventSpec) -> None:
        """A dead letter's event was published with other data and id. The dead request's own call is not made."""
        self._close(letter)
        self.unnamed.append(copy)
        if isinstance(self.event_specs[letter], Request):
            self.closed.discard(letter)
            self.applied.add(letter)

    def _close(self, letter: UUID) -> None:
        self.dead.discard(letter)
        self.closed.add(letter)

    def forbids(self, item: UUID) -> str | None:
        """Return why the item's order must not be entered, according to the operations; None if it may."""
        its = self.items[item]
        if self.jobs[its.job].cancelled:
            return f"job {its.job} is cancelled"
        if self.orders.get(its.order) == "cancelled":
            return f"order {its.order} is cancelled"
        return None

    def failed(self, job: UUID) -> list[UUID]:
        """Return the job's failed items."""
        return [item for item in self.jobs[job].items if self.items[item].status == "error"]

    def replay(self, letters: Collection[UUID], seen: Seen) -> None:
        """Dead letters were replayed in one transaction. Those that were obsolete when planned are closed."""
        useless = [event for event in letters if not self._is_of_use(self.event_specs[event])]
        reopened: Counter[UUID] = Counter()
        for event in letters:
            event_spec = self.event_specs[event]
            if isinstance(event_spec, Request):
                self._revive(event, event_spec, seen, reopened)
            elif event in useless:
                self.dead.discard(event)
                self.closed.add(event)
            else:
                assert event in seen.waiting, f"not delivered again: {event_spec}"
        for job, count in reopened.items():
            self._reopen(job, count)

    def _revive(self, event: UUID, request: Request, seen: Seen, reopened: Counter[UUID]) -> None:
        item = self.items[request.item]
        self.dead.discard(event)
        if item.attempt == request.attempt and item.status != "success":
            reopened[item.job] += item.status == "error"
            self._next_attempt(request.item)
            again = Request(request.item, item.attempt)
            self.expected[again.id] = again
            self.applied.add(event)
        elif event in chain.from_iterable(seen.applied):
            # Its call was begun and never recorded: entered into the ledger, so that nobody makes it again.
            self.applied.add(event)
        else:
            self.closed.add(event)

    def _is_of_use(self, event_spec: EventSpec) -> bool:
        match event_spec:
            case Outcome():
                return self.items[event_spec.item].awaits(event_spec.attempt)
            case Submission():
                items = self.jobs[event_spec.job].items
                return any(self.items[item].status == "pending" and event_spec.names(item) for item in items)
            case _:
                return True

    # What there is --------------------------------------------------------------------------------

    def follow(self, seen: Seen, *, begun: Collection[UUID] = (), doomed: Collection[UUID] = ()) -> None:
        """Advance to the state that was seen, or raise `AssertionError`.

        `begun` are items that a robot may just have begun, `doomed` events that may just have been buried.
        """
        for together in seen.applied:
            if new := [event for event in together if event not in self.applied]:
                self._apply(new, seen)
        self._hear(seen)
        self._bury(seen, doomed)
        for item in begun:
            if (self.items[item].status, seen.items[item].status) == OPEN:
                self.items[item].status = "processing"
        self._compare(seen)

    def _apply(self, together: list[UUID], seen: Seen) -> None:
        for event in together:
            assert event in self.event_specs, f"{seen.event_specs[event]} is applied, and nobody said it"
        assert not self.early & set(together), "applied before its time"
        event_specs = [self.event_specs[event] for event in together]
        self._count(self._winners([event_spec for event_spec in event_specs if isinstance(event_spec, Outcome)], seen))
        for event, event_spec in zip(together, event_specs, strict=True):
            if isinstance(event_spec, Request):
                self._perform(event, event_spec)
        for event_spec in event_specs:
            if isinstance(event_spec, Submission):
                self._begin(event_spec)
        for event in together:
            self.applied.add(event)
            self.dead.discard(event)
            self.closed.discard(event)

    def _winners(self, outcomes: list[Outcome], seen: Seen) -> list[Outcome]:
        """Choose the results that count: of several for one item in one transaction any one may, and one must."""
        rivals: dict[UUID, list[Outcome]] = {}
        for outcome in outcomes:
            if self.items[outcome.item].awaits(outcome.attempt):
                rivals.setdefault(outcome.item, []).append(outcome)
        winners = []
        for item, some in rivals.items():
            shown = seen.items[item].status == "success"
            winners.append(next((one for one in some if one.succeeded == shown), some[0]))
        return winners

    def _perform(self, event: UUID, request: Request) -> None:
        item = self.items[request.item]
        if item.awaits(request.attempt):
            item.status = "processing"
            outcome = Outcome(request.item, request.attempt, self.answered[request.item])
            self.expected[Outcome.id_after(event)] = outcome

    def _begin(self, submission: Submission) -> None:
        job = self.jobs[submission.job]
        if job.status == "pending":
            job.status = "processing"
        for item in job.items:
            if self.items[item].status == "pending" and submission.names(item):
                request = Request(item, self.items[item].attempt)
                self.expected[request.id] = request

    def _hear(self, seen: Seen) -> None:
        """Take in new events: each must follow from an earlier one, and none that must follow may be missing."""
        for event, event_spec in seen.event_specs.items():
            if event in self.event_specs:
                continue
            if event in self.expected:
                assert event_spec == self.expected[event]
            else:
                assert event_spec in self.unnamed, f"{event_spec} follows from nothing"
                self.unnamed.remove(event_spec)
            self.event_specs[event] = event_spec
        assert not self.unnamed, f"never said: {self.unnamed}"
        lost = [event_spec for event, event_spec in self.expected.items() if event not in self.event_specs]
        assert not lost, f"never said: {lost}"
        self.expected.clear()

    def _bury(self, seen: Seen, doomed: Collection[UUID]) -> None:
        died = seen.dead.keys() - self.dead
        assert died <= set(doomed), f"dead for no reason: {[(self.event_specs[one], seen.dead[one]) for one in died]}"
        self.dead |= died
        self.closed -= died

    def _compare(self, seen: Seen) -> None:
        assert seen.jobs == {id_: self._shown(job) for id_, job in self.jobs.items()}
        assert seen.items == {id_: ItemState(item.status, item.attempt) for id_, item in self.items.items()}
        assert seen.orders == {order: status for order, status in self.orders.items() if status != "pending"}
        assert seen.reused == self.reused
        assert set(chain.from_iterable(seen.applied)) == self.applied
        assert seen.dead.keys() == self.dead
        lost = self.event_specs.keys() - self.applied - self.dead - self.closed - seen.waiting
        assert not lost, f"lost: {[self.event_specs[event] for event in lost]}"
        words = [event_spec.word for event in self.applied if isinstance(event_spec := self.event_specs[event], Word)]
        assert seen.heard == Counter(words)

    # The counters ---------------------------------------------------------------------------------

    def _count(self, outcomes: Iterable[Outcome]) -> None:
        touched: set[UUID] = set()
        for outcome in outcomes:
            item = self.items[outcome.item]
            item.status = "success" if outcome.succeeded else "error"
            if outcome.succeeded and self.orders.get(item.order) != "cancelled":
                self.orders[item.order] = "shipped"
            job = self.jobs[item.job]
            job.succeeded += outcome.succeeded
            job.failed += not outcome.succeeded
            touched.add(item.job)
        for id_ in touched:
            self._end(id_, self.jobs[id_])

    def _end(self, id_: UUID, job: Job) -> None:
        if job.succeeded + job.failed == len(job.items):
            job.status = "completed" if job.succeeded else "failed"
            completion = Completion(id_, job.generation)
            self.expected[completion.id] = completion

    def _next_attempt(self, item: UUID) -> None:
        self.items[item].status = "pending"
        self.items[item].attempt += 1

    def _reopen(self, id_: UUID, count: int) -> None:
        if count:
            job = self.jobs[id_]
            job.failed -= count
            job.generation += 1
            job.cancelled &= not job.is_done
            job.status = "processing"

    @staticmethod
    def _shown(job: Job) -> JobState:
        return JobState(job.status, job.succeeded, job.failed, job.generation, job.cancelled)
