"""Events as the model knows them, with the ids that follow from earlier events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import UUID, uuid5

from app.logistics import rules

OPEN = ("pending", "processing")


@dataclass(frozen=True, slots=True)
class Submission:
    """A job begins, or continues with the items that are `named`."""

    job: UUID
    named: frozenset[UUID] | None = None

    def names(self, item: UUID) -> bool:
        """Return whether it requests an item of its job."""
        return self.named is None or item in self.named


@dataclass(frozen=True, slots=True)
class Request:
    """A request for one attempt at one item."""

    item: UUID
    attempt: int

    @property
    def id(self) -> UUID:
        """Return the id, which depends on item and attempt only, so that an attempt is requested once."""
        return rules.request_id(self.item, self.attempt)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one attempt at one item."""

    item: UUID
    attempt: int
    succeeded: bool

    @staticmethod
    def id_after(request: UUID) -> UUID:
        """Return the id of the result for the request with this id. Results of others have their own ids."""
        return uuid5(request, "robot/item.completed:")


@dataclass(frozen=True, slots=True)
class Completion:
    """A job completed for the nth time."""

    job: UUID
    generation: int

    @property
    def id(self) -> UUID:
        """Return the id, which depends on job and generation only."""
        return uuid5(self.job, f"robot/job.completed/{self.generation}")


@dataclass(frozen=True, slots=True)
class Word:
    """A word. Only the ledger keeps it from being noted twice."""

    word: str


EventSpec: TypeAlias = Submission | Request | Outcome | Completion | Word


def event_spec(raw: dict[str, Any]) -> EventSpec:
    """Return an event as the model knows it, from its type and data."""
    data = raw["data"]
    match raw["type"]:
        case "robot/job.submitted":
            named = data.get("attempt_items")
            return Submission(UUID(data["job_id"]), None if named is None else frozenset(map(UUID, named)))
        case "robot/item.requested":
            return Request(UUID(data["item_id"]), data["attempt"])
        case "robot/item.completed":
            return Outcome(UUID(data["item_id"]), data["attempt"], data["status"] == "success")
        case "robot/job.completed":
            return Completion(UUID(data["job_id"]), data["generation"])
        case "toy/word.said":
            return Word(data["word"])
        case other:
            raise AssertionError(other)


@dataclass(slots=True)
class Item:
    """An order in a job."""

    job: UUID
    order: UUID
    status: str = "pending"
    attempt: int = 0

    def awaits(self, attempt: int) -> bool:
        """Return whether a result of this attempt counts."""
        return self.status in OPEN and self.attempt == attempt


@dataclass(slots=True)
class Job:
    """A batch."""

    items: list[UUID]
    status: str = "pending"
    succeeded: int = 0
    failed: int = 0
    generation: int = 1
    cancelled: bool = False

    @property
    def is_done(self) -> bool:
        """Return whether every item has a result."""
        return self.status in {"completed", "failed"}


@dataclass(frozen=True, slots=True)
class JobState:
    """The visible state of a job."""

    status: str
    succeeded: int
    failed: int
    generation: int
    cancelled: bool


@dataclass(frozen=True, slots=True)
class ItemState:
    """The visible state of an item."""

    status: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Seen:
    """The state of the program at one commit.

    `applied` are the ledger's events: one set for each transaction, in the order of the transactions. The other
    events are `waiting` (in the queue) or `dead`, with the class of the error. `heard` counts the words. `orders` are
    those that are not pending, with their status. `reused` are events with the id of another event: those that wait,
    and those that were buried for it.
    """

    jobs: dict[UUID, JobState]
    items: dict[UUID, ItemState]
    event_specs: dict[UUID, EventSpec]
    applied: list[list[UUID]]
    waiting: frozenset[UUID]
    dead: dict[UUID, str]
    heard: dict[str, int] = field(default_factory=dict)
    orders: dict[UUID, str] = field(default_factory=dict)
    reused: frozenset[tuple[UUID, EventSpec]] = frozenset()
