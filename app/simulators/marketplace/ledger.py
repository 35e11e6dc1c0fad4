"""The marketplace's ledger: every charge with its reference, account and time, and counters.

Only the marketplace's event loop writes it. A test in another thread may read it at any time.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from app.simulators.marketplace.behaviour import Form
from app.simulators.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Charge:
    """One charge in cents. `content`: the page as JSON, without reference and bill."""

    account: str
    marketplace: str
    form: Form
    cents: int
    charged_at: datetime
    content: str

    def answer(self) -> str:
        """Return the answer to the customer, as JSON."""
        return f'{{"reference":{json.dumps(self.form.reference)},"charged_cents":{self.cents},{self.content}}}'

    def whole(self) -> dict[str, Any]:
        """Return all fields but the content as JSON types."""
        return {
            "account": self.account,
            "marketplace": self.marketplace,
            **self.form.model_dump(mode="json"),
            "cents": self.cents,
            "charged_at": self.charged_at.isoformat(),
        }


class Summary(BaseModel):
    """The counters at one time."""

    charges: int
    cents: int
    """Sum of all charges."""
    by_account: dict[str, int]
    """Sum of the charges of each account, in cents."""
    duplicates: list[str]
    """References that were charged more than once."""
    bought_again: int
    """Charges of an account for a page that it had bought before, under any reference."""
    calls: int
    """Calls that cost money, including those that were refused."""
    served_again: int
    """Answers free of charge for a reference that was charged before."""
    questions: int
    """Questions about references."""
    wrong_keys: int
    outcomes: dict[str, int]
    """Calls by outcome."""
    flooded: int
    """Bytes sent in endless answers."""
    most_at_once: int
    """Most concurrent calls of one account that cost money, including those answered 429."""


@dataclass
class Ledger(Traffic):
    """The marketplace's ledger, which callers cannot change."""

    charges: list[Charge] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    calls: int = 0
    served_again: int = 0
    questions: int = 0
    wrong_keys: int = 0
    bought_again: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    _by_reference: defaultdict[tuple[str, str], list[Charge]] = field(default_factory=lambda: defaultdict(list))
    _bought: set[tuple[Any, ...]] = field(default_factory=set)
    _recent: defaultdict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))

    def charge(self, account: str, marketplace: str, form: Form, cents: int, clock: float, content: str) -> Charge:
        """Charge an account, also for a reference that was charged before. `clock`: seconds since 1970."""
        charge = Charge(account, marketplace, form, cents, datetime.fromtimestamp(clock, UTC), content)
        same = self._by_reference[account, form.reference]
        same.append(charge)
        self.charges.append(charge)
        if len(same) == 2:  # noqa: PLR2004 - twice
            self.duplicates.append(form.reference)
        bought = (account, marketplace, *form.bought)
        self.bought_again += bought in self._bought
        self._bought.add(bought)
        return charge

    def find(self, account: str, reference: str) -> list[Charge]:
        """Return an account's charges with a reference, the oldest first."""
        return list(self._by_reference.get((account, reference), ()))

    def by_reference(self) -> dict[str, int]:
        """Return the sum of the charges in cents by reference."""
        sums: Counter[str] = Counter()
        for charge in self.charges[:]:
            sums[charge.form.reference] += charge.cents
        return dict(sums)

    @property
    def cents(self) -> int:
        """Sum of all charges."""
        return sum(charge.cents for charge in self.charges[:])

    def admit(self, account: str, most: int, window: float, clock: float) -> bool:
        """Admit a call if the account has fewer than `most` admitted ones in the last `window` seconds."""
        recent = self._recent[account]
        while recent and recent[0] <= clock - window:
            recent.popleft()
        if len(recent) >= most:
            return False
        recent.append(clock)
        return True

    def summary(self) -> Summary:
        """Return the current counters."""
        by_account: Counter[str] = Counter()
        for charge in self.charges[:]:
            by_account[charge.account] += charge.cents
        return Summary(
            charges=len(self.charges),
            cents=by_account.total(),
            by_account=dict(by_account),
            duplicates=list(self.duplicates),
            bought_again=self.bought_again,
            calls=self.calls,
            served_again=self.served_again,
            questions=self.questions,
            wrong_keys=self.wrong_keys,
            outcomes=dict(self.outcomes),
            flooded=self.flooded,
            most_at_once=self.most_at_once,
        )
