"""Facts: what an event says, as the model understands it, and the ids that follow from what was said before."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import UUID, uuid5

from app.logistics import rules

OPEN = ("pending", "processing")


@dataclass(frozen=True, slots=True)
class Submission:
    """A job begins, or goes on with the items that are `named`."""

    job: UUID
    named: frozenset[UUID] | None = None

    def names(self, item: UUID) -> bool:
        """Whether it asks for an item of its job."""
        return self.named is None or item in self.named


@dataclass(frozen=True, slots=True)
class Request:
    """One attempt at one item is asked of a robot."""

    item: UUID
    attempt: int

    @property
    def id(self) -> UUID:
        """The item and the attempt make it: the same for all who ask, so it is asked for once."""
        return rules.request_id(self.item, self.attempt)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt at one item."""

    item: UUID
    attempt: int
    succeeded: bool

    @staticmethod
    def id_after(request: UUID) -> UUID:
        """The id of what a robot says of the request with this id; what others say has ids of its own."""
        return uuid5(request, "robot/item.completed:")


@dataclass(frozen=True, slots=True)
class Completion:
    """A job ended, for the so-manieth time."""

    job: UUID
    generation: int

    @property
    def id(self) -> UUID:
        """The job and the generation make it."""
        return uuid5(self.job, f"robot/job.completed/{self.generation}")


@dataclass(frozen=True, slots=True)
class Word:
    """A word, which nothing but the ledger keeps from being heard twice."""

    word: str


EventSpec: TypeAlias = Submission | Request | Outcome | Completion | Word


def event_spec(raw: dict[str, Any]) -> EventSpec:
    """What an event says, from its type and its data."""
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
        """Whether a result of this attempt counts."""
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
        """Whether every item has a result."""
        return self.status in {"completed", "failed"}


@dataclass(frozen=True, slots=True)
class JobState:
    """What a job shows."""

    status: str
    succeeded: int
    failed: int
    generation: int
    cancelled: bool


@dataclass(frozen=True, slots=True)
class ItemState:
    """What an item shows."""

    status: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is at one commit.

    `applied` are the ledger's events, those of one transaction together, in the order of the transactions; the other
    events are `waiting` (in the queue) or `dead`, with the class of the error. `heard` counts the words. `orders` are
    those that are not pending, with their status. `reused` are facts that came under the id of another one: those that
    wait, and those that were buried for it.
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
