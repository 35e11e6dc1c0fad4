"""What the portal did: every order that it accepted, by whom and when, and its counters.

Written by the portal's event loop alone; a test in another thread may read it at any time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from app.simulators.portal.behaviour import OrderForm

_FIRST_TRACKING_NUMBER = 70_000_000_001  # eleven digits, as Coordinadora's are


@dataclass(frozen=True, slots=True)
class Entry:
    """One accepted order."""

    tracking_number: str
    account: str
    accepted_at: datetime
    form: OrderForm
    began_at: datetime
    """When the call arrived that it was accepted in."""

    def answer(self) -> dict[str, str]:
        """What the portal tells its customers of it."""
        return {
            "reference": self.form.reference,
            "tracking_number": self.tracking_number,
            "city": self.form.city,
            "accepted_at": self.accepted_at.isoformat(),
        }

    def whole(self) -> dict[str, Any]:
        """All that the portal knows of it, ready for JSON."""
        about = {"account": self.account, "began_at": self.began_at.isoformat()}
        return self.form.model_dump() | self.answer() | about


class Summary(BaseModel):
    """The counters at one moment."""

    accepted: int
    references: int
    """Distinct references among the accepted; fewer than `accepted` means that an order was entered twice."""
    duplicates: list[str]
    """References that were accepted more than once."""
    logins: int
    wrong_logins: int
    refused: int
    errors: int
    timeouts: int
    lost: int
    """Accepted, but the caller was not told."""
    flooded: int
    """Bytes of endless answers that were sent."""
    busy: int
    """Turned away with 429."""
    most_at_once: int
    """The most order calls that any one account had in progress, those turned away included."""


@dataclass
class Record:
    """The portal's own account of things, which no caller can change."""

    entries: list[Entry] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    logins: int = 0
    wrong_logins: int = 0
    refused: int = 0
    errors: int = 0
    timeouts: int = 0
    lost: int = 0
    flooded: int = 0
    busy: int = 0
    most_at_once: int = 0
    _by_reference: defaultdict[str, list[Entry]] = field(default_factory=lambda: defaultdict(list))
    _in_progress: Counter[str] = field(default_factory=Counter)

    def accept(self, account: str, form: OrderForm, clock: float, began: float | None = None) -> Entry:
        """Write one order down, whether or not its reference was seen before.

        `clock` is now and `began` when the call arrived, both in seconds since 1970; without `began` it arrives now.
        """
        number = str(_FIRST_TRACKING_NUMBER + len(self.entries))
        at, began_at = (datetime.fromtimestamp(context, UTC) for context in (clock, clock if began is None else began))
        entry = Entry(number, account, at, form, began_at)
        same = self._by_reference[form.reference]
        same.append(entry)
        self.entries.append(entry)
        if len(same) == 2:  # noqa: PLR2004 - twice
            self.duplicates.append(form.reference)
        return entry

    def find(self, account: str, references: Sequence[str]) -> list[Entry]:
        """An account's orders with these references, oldest first within each."""
        return [
            entry
            for reference in dict.fromkeys(references)
            for entry in self._by_reference.get(reference, ())
            if entry.account == account
        ]

    @contextmanager
    def in_progress(self, account: str) -> Iterator[int]:
        """Count one order call while it lasts; gives how many its account has, itself included."""
        self._in_progress[account] += 1
        at_once = self._in_progress[account]
        self.most_at_once = max(self.most_at_once, at_once)
        try:
            yield at_once
        finally:
            self._in_progress[account] -= 1

    def summary(self) -> Summary:
        """The counters now."""
        return Summary(
            accepted=len(self.entries),
            references=len(self._by_reference),
            duplicates=list(self.duplicates),
            logins=self.logins,
            wrong_logins=self.wrong_logins,
            refused=self.refused,
            errors=self.errors,
            timeouts=self.timeouts,
            lost=self.lost,
            flooded=self.flooded,
            busy=self.busy,
            most_at_once=self.most_at_once,
        )
