"""The outside world: a portal that accepts, refuses, breaks and loses its answers, and ears that fail."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from app.context import Moment
from app.engine.domain import Call, Prepared
from app.errors import Permanent, Transient
from app.logistics.effects import Entry
from events import Event
from events.robot import ItemCompleted
from tests.helpers import toy

Mood = Literal["accept", "refuse", "break", "no answer", "lost answer", "die before", "die after"]
MOODS: tuple[Mood, ...] = ("accept", "refuse", "break", "no answer", "lost answer")


class Killed(BaseException):
    """The worker was killed in the middle of a call."""


@dataclass(slots=True)
class World:
    """What calls and words meet.

    `entered` counts how often the portal took an order in; `answered` keeps what robots were last told of an item.
    The next calls find the portal in these `moods`, later ones find it accepting. Words that are `broken` fail until
    they are mended, `shaky` ones so many deliveries more.
    """

    entered: Counter[UUID] = field(default_factory=Counter)
    answered: dict[UUID, bool] = field(default_factory=dict)
    moods: deque[Mood] = field(default_factory=deque)
    broken: set[str] = field(default_factory=set)
    shaky: dict[str, int] = field(default_factory=dict)

    def start_over(self) -> None:
        """As on the first day."""
        self.entered.clear()
        self.answered.clear()
        self.mend()

    async def call(self, prepared: Prepared, call: Call) -> ItemCompleted:
        """Enter an order as the robot does: first ask for it wherever an earlier call may have happened."""
        entry: Entry = prepared.work
        item = entry.requested.item_id
        mood = self.moods.popleft() if self.moods else "accept"
        if (call.in_doubt or call.attempt or entry.requested.attempt) and self.entered[item]:
            return self._answer(entry, succeeded=True)
        if mood == "die before":
            raise Killed
        if mood == "break":
            raise Permanent("the portal has changed")
        if mood == "no answer":
            raise Transient("nobody answers")
        if mood == "refuse":
            return self._answer(entry, succeeded=False)
        await call.still_mine()
        self.entered[item] += 1
        if mood == "lost answer":
            raise Transient("the answer got lost")
        if mood == "die after":
            raise Killed
        return self._answer(entry, succeeded=True)

    def give_up(self, prepared: Prepared, _error: Exception) -> ItemCompleted:
        """The last attempt failed too."""
        return self._answer(prepared.work, succeeded=False)

    def _answer(self, entry: Entry, *, succeeded: bool) -> ItemCompleted:
        asked = entry.requested
        self.answered[asked.item_id] = succeeded
        said: dict[str, Any] = (
            {"status": "success", "tracking_number": f"T-{asked.item_id}"}
            if succeeded
            else {"status": "error", "error_type": "portal", "error_message": "no"}
        )
        return ItemCompleted(job_id=asked.job_id, item_id=asked.item_id, attempt=asked.attempt, **said)

    def hear(self, moment: Moment, said: list[Event[toy.Said]]) -> Iterable[Event[toy.Said]]:
        """Note the words. Nothing but the ledger keeps one from being noted twice."""
        for event in said:
            word = event.data.word
            if word in self.broken:
                raise Permanent(f"cannot hear {word}")
            if self.shaky.get(word):
                # Only the delivery of the word alone is one that it fails: the others are the search for it.
                self.shaky[word] -= len(said) == 1
                raise Transient(f"cannot hear {word} now")
            toy.note(moment, event.id, word)
        return ()

    def is_mortal(self, word: str) -> bool:
        """Whether a word may die."""
        return word in self.broken or word in self.shaky

    def mend(self) -> None:
        """Whatever was wrong is mended."""
        self.broken.clear()
        self.shaky.clear()
        self.moods.clear()
