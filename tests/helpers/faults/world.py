"""The outside world: a carrier's portal that accepts, refuses, breaks and loses answers, and words that fail."""

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
    """Do nothing."""


def allows(_item: UUID) -> str | None:
    """Allow every order."""
    return None


@dataclass(slots=True)
class World:
    """The other side of calls and words: a `Portal` for the program's own effect.

    `entered` counts how often the portal accepted an item's order. `answered` has the last answer that robots got for
    an item. The next calls use these `moods`; later calls are accepted. Words in `broken` fail until they are mended,
    words in `shaky` for that many deliveries. `meanwhile` runs once, right before the program's last check of an order
    that it is about to enter. `forbids` returns why an item's order must not be entered now; an order that is entered
    all the same is added to `violations`.
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
        """Reset everything."""
        self.entered.clear()
        self.answered.clear()
        self.books.clear()
        self.violations.clear()
        self.forbids, self.meanwhile = allows, nothing
        self.mend()

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Run the block as a call, with the next mood."""
        token = _MOOD.set(self.moods.popleft() if self.moods else "accept")
        try:
            yield
        finally:
            _MOOD.reset(token)

    def note(self, item: UUID, said: ItemCompleted) -> None:
        """Note a robot's result of an item's order. It must agree with the portal's orders."""
        self.answered[item] = said.status == "success"
        known = [accepted.tracking_number for accepted in self.books.values()]
        if said.tracking_number is not None and said.tracking_number not in known:
            self.violations.append(f"{said.tracking_number} was never entered")
        if said.error_type == "validation" and self.entered[item]:
            self.violations.append(f"the item's order was entered, and its result says that no call was made: {said}")

    async def find(self, _account: Account, references: Sequence[str]) -> dict[str, Accepted]:
        """Return the portal's orders with these references."""
        return {reference: self.books[reference] for reference in references if reference in self.books}

    async def enter(self, _account: Account, form: OrderForm, before: Check | None = None) -> Accepted:
        """Accept an order or not, according to the mood. Every order entered is one more shipment."""
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
        """Note the words. Only the ledger keeps one from being noted twice."""
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
        """Return whether a word may die."""
        return word in self.broken or word in self.shaky

    def mend(self) -> None:
        """Mend every fault."""
        self.broken.clear()
        self.shaky.clear()
        self.moods.clear()
