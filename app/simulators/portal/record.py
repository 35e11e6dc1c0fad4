"""The portal's record: accepted orders with account and time, and counters.

Only the portal's event loop writes it. A test in another thread may read it at any time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from app.simulators.portal.behaviour import OrderForm
from app.simulators.traffic import Traffic

_FIRST_TRACKING_NUMBER = 70_000_000_001  # eleven digits, as Coordinadora's are


@dataclass(frozen=True, slots=True)
class Entry:
    """One accepted order."""

    tracking_number: str
    account: str
    accepted_at: datetime
    form: OrderForm
    began_at: datetime
    """Arrival time of the call."""

    def answer(self) -> dict[str, str]:
        """Return the answer to the customer."""
        return {
            "reference": self.form.reference,
            "tracking_number": self.tracking_number,
            "city": self.form.city,
            "accepted_at": self.accepted_at.isoformat(),
        }

    def whole(self) -> dict[str, Any]:
        """Return all fields as JSON types."""
        about = {"account": self.account, "began_at": self.began_at.isoformat()}
        return self.form.model_dump() | self.answer() | about


class Summary(BaseModel):
    """The counters at one time."""

    accepted: int
    references: int
    """Distinct references of accepted orders. Fewer than `accepted` if an order was entered twice."""
    duplicates: list[str]
    """References that were accepted more than once."""
    logins: int
    wrong_logins: int
    refused: int
    errors: int
    timeouts: int
    lost: int
    """Accepted, but the answer was lost."""
    flooded: int
    """Bytes sent in endless answers."""
    busy: int
    """Answered 429."""
    most_at_once: int
    """Most concurrent order calls of one account, including those answered 429."""


@dataclass
class Record(Traffic):
    """The portal's record, which callers cannot change."""

    entries: list[Entry] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    traceparents: list[str] = field(default_factory=list)
    """The `traceparent` of each order call that had one."""
    logins: int = 0
    wrong_logins: int = 0
    refused: int = 0
    errors: int = 0
    timeouts: int = 0
    lost: int = 0
    busy: int = 0
    _by_reference: defaultdict[str, list[Entry]] = field(default_factory=lambda: defaultdict(list))

    def accept(self, account: str, form: OrderForm, clock: float, began: float | None = None) -> Entry:
        """Record one order, also with a known reference. Returns the entry.

        `clock`: the current time, `began`: the call's arrival (default: now), both in seconds since 1970.
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
        """Return an account's orders with these references, oldest first for each reference."""
        return [
            entry
            for reference in dict.fromkeys(references)
            for entry in self._by_reference.get(reference, ())
            if entry.account == account
        ]

    def summary(self) -> Summary:
        """Return the current counters."""
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
