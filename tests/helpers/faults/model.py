"""The model: what robot jobs are meant to be, without a database, a queue, a lock or a transaction.

It is told what is asked of the program (`submit`, `record`, `cancel`, `edit`…) and then what there is. In between the
program may have applied events, each of which must have been waiting, in transactions of its choice; the model applies
the same events in the same order, and must come to the same state. It says which events follow from which, so nothing
is lost and nothing appears from nowhere.
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
    """Everything that was said, and what it comes to.

    `answered` is the outside world's: whether a robot was last told that an item was entered. `expected` are events
    that must be said by now and whose ids are known; of the `unnamed` ones only the content is. `reused` are facts that
    were said under the id of another one, `early` events that are not due. `orders` have their status once it changed.
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
        """A job was made; `items` are its items, each with its order."""
        self.jobs[job] = Job(list(items))
        self.items.update({item: Item(job, order) for item, order in items.items()})
        self.unnamed.append(Submission(job))

    def record(self, outcomes: Iterable[Outcome]) -> int:
        """Results were recorded in this order, in one transaction; returns how many counted."""
        counting: dict[UUID, Outcome] = {}
        for outcome in outcomes:
            if self.items[outcome.item].awaits(outcome.attempt):
                counting.setdefault(outcome.item, outcome)
        self._count(counting.values())
        return len(counting)

    def retry(self, job: UUID, items: Collection[UUID]) -> None:
        """Failed items, at least one, were asked for again."""
        for item in items:
            self._next_attempt(item)
        self._reopen(job, len(items))
        self.unnamed.append(Submission(job, frozenset(items)))

    def cancel(self, job: UUID, live: Collection[UUID]) -> None:
        """A job that is not done was cancelled: what no robot has begun fails, and what its dead requests asked for.

        `live` are the keys of calls that are under way: a dead request of one of those stays.
        """
        self.jobs[job].cancelled = True
        for letter in self.requests(self.jobs[job].items, live):
            self.discard(letter)
        items = {item: self.items[item] for item in self.jobs[job].items}
        self._count([Outcome(id_, item.attempt, False) for id_, item in items.items() if item.status == "pending"])  # noqa: FBT003

    def record_by_hand(self, outcome: Outcome, live: Collection[UUID]) -> None:
        """A person recorded the outcome of an item that waits for it: the dead requests for it are closed."""
        assert self.record([outcome]) == 1
        for letter in self.requests([outcome.item], live):
            self._close(letter)

    def requests(self, items: Collection[UUID], live: Collection[UUID]) -> list[UUID]:
        """The dead requests for some items, but those whose calls are under way."""
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
        """A dead letter's event was said with other data and under another id. A request's own call is not made."""
        self._close(letter)
        self.unnamed.append(copy)
        if isinstance(self.event_specs[letter], Request):
            self.closed.discard(letter)
            self.applied.add(letter)

    def _close(self, letter: UUID) -> None:
        self.dead.discard(letter)
        self.closed.add(letter)

    def forbids(self, item: UUID) -> str | None:
        """Why the item's order must not be entered, by what was asked of the program; None if it may."""
        its = self.items[item]
        if self.jobs[its.job].cancelled:
            return f"job {its.job} is cancelled"
        if self.orders.get(its.order) == "cancelled":
            return f"order {its.order} is cancelled"
        return None

    def failed(self, job: UUID) -> list[UUID]:
        """The job's failed items."""
        return [item for item in self.jobs[job].items if self.items[item].status == "error"]

    def replay(self, letters: Collection[UUID], seen: Seen) -> None:
        """Dead letters were replayed in one transaction; those that were of no use when it was planned are closed."""
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
        """Come to what there is, or raise `AssertionError`.

        `begun` are the items that a robot may just have begun, `doomed` the events that may just have died.
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
        """Of several results for one item in one transaction any one may count, and one must."""
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
        """Take in the events that are new: each must follow from something, and all that must follow be there."""
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
