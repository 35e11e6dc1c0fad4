"""The outside world: a carrier's portal that accepts, refuses, breaks and loses its answers, and words that fail."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from app.errors import Permanent, Transient
from app.logistics.gateway import Accepted, Account, Check, OrderForm, OrderRefused, PortalProtocolError, PortalTimeout
from tests.helpers import toy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.context import HandlerContext
    from events import Event
    from events.robot import ItemCompleted

Mood = Literal["accept", "refuse", "break", "no answer", "lost answer", "unreadable answer", "die before", "die after"]
MOODS: tuple[Mood, ...] = ("accept", "refuse", "break", "no answer", "lost answer", "unreadable answer")


_MOOD: ContextVar[Mood] = ContextVar("mood", default="accept")


class Killed(BaseException):
    """The worker was killed in the middle of a call."""


def nothing() -> None:
    """Nothing happens."""


def allows(_item: UUID) -> str | None:
    """Every order may be entered."""
    return None


@dataclass(slots=True)
class World:
    """What calls and words meet: a `Portal` that the program's own effect talks to.

    `entered` counts how often the portal took an item's order in; `answered` keeps what robots were last told of an
    item. The next calls find the portal in these `moods`, later ones find it accepting. Words that are `broken` fail
    until they are mended, `shaky` ones so many deliveries more. `meanwhile` happens once, right before the program
    takes its last look at an order that it is about to enter. `forbids` says why an item's order must not be entered
    now; what is entered all the same is among the `violations`.
    """

    entered: Counter[UUID] = field(default_factory=Counter)
    answered: dict[UUID, bool] = field(default_factory=dict)
    moods: deque[Mood] = field(default_factory=deque)
    broken: set[str] = field(default_factory=set)
    shaky: dict[str, int] = field(default_factory=dict)
    forbids: Callable[[UUID], str | None] = allows
    meanwhile: Callable[[], None] = nothing
    violations: list[str] = field(default_factory=list)
    books: dict[str, Accepted] = field(default_factory=dict)
    """The orders that the portal has, by their references."""
    can_be_asked: bool = True

    def start_over(self) -> None:
        """As on the first day."""
        self.entered.clear()
        self.answered.clear()
        self.books.clear()
        self.violations.clear()
        self.forbids, self.meanwhile = allows, nothing
        self.mend()

    @contextmanager
    def calling(self) -> Iterator[None]:
        """The block is a call: it finds the portal in the next mood."""
        token = _MOOD.set(self.moods.popleft() if self.moods else "accept")
        try:
            yield
        finally:
            _MOOD.reset(token)

    def note(self, item: UUID, said: ItemCompleted) -> None:
        """A robot says what came of an item's order; what it says must be true of the portal's books."""
        self.answered[item] = said.status == "success"
        known = [accepted.tracking_number for accepted in self.books.values()]
        if said.tracking_number is not None and said.tracking_number not in known:
            self.violations.append(f"{said.tracking_number} was never entered")
        if said.error_type == "validation" and self.entered[item]:
            self.violations.append(f"the item's order was entered, and its result says that no call was made: {said}")

    async def find(self, _account: Account, references: Sequence[str]) -> dict[str, Accepted]:
        """The orders that the portal has under these references."""
        return {reference: self.books[reference] for reference in references if reference in self.books}

    async def enter(self, _account: Account, form: OrderForm, before: Check | None = None) -> Accepted:
        """Take an order in, or not, as the mood is. Every order that is entered is one more batch."""
        mood = _MOOD.get()
        self._refuse(mood)
        happens, self.meanwhile = self.meanwhile, nothing
        happens()
        if before is not None:
            await before()
        item = UUID(form.reference.rpartition("-")[0])
        if why := self.forbids(item):
            self.violations.append(f"entered, though {why}")
        self.entered[item] += 1
        accepted = Accepted(reference=form.reference, tracking_number=f"T-{form.reference}", city=form.city)
        self.books[form.reference] = accepted
        if mood == "lost answer":
            raise PortalTimeout("the answer got lost", maybe_entered=True)
        if mood == "unreadable answer":
            raise PortalProtocolError("the answer cannot be read", maybe_entered=True)
        if mood == "die after":
            raise Killed
        return accepted

    @staticmethod
    def _refuse(mood: Mood) -> None:
        if mood == "die before":
            raise Killed
        if mood == "break":
            raise Permanent("the portal has changed")
        if mood == "no answer":
            raise PortalTimeout("nobody answers", maybe_entered=True)
        if mood == "refuse":
            raise OrderRefused("the portal does not want it", maybe_entered=False)

    def hear(self, context: HandlerContext, said: list[Event[toy.Said]]) -> Iterable[Event[toy.Said]]:
        """Note the words. Nothing but the ledger keeps one from being noted twice."""
        for event in said:
            word = event.data.word
            if word in self.broken:
                raise Permanent(f"cannot hear {word}")
            if self.shaky.get(word):
                # Only the delivery of the word alone is one that it fails: the others are the search for it.
                self.shaky[word] -= len(said) == 1
                raise Transient(f"cannot hear {word} now")
            toy.note(context, event.id, word)
        return ()

    def is_mortal(self, word: str) -> bool:
        """Whether a word may die."""
        return word in self.broken or word in self.shaky

    def mend(self) -> None:
        """Whatever was wrong is mended."""
        self.broken.clear()
        self.shaky.clear()
        self.moods.clear()
