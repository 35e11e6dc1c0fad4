"""Rules of collection runs: transitions, names, estimates, input checks. Pure: no database, no clock, no network."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal
from uuid import UUID

from pydantic_core import to_json

from app.engine.batches.rules import check_key, check_page, check_word
from app.errors import Conflict, InvalidInput
from events.collection import PauseReason

__all__ = ["check_key", "check_page", "check_word"]

RunStatus = Literal["pending", "running", "paused", "completed", "failed", "cancelled"]

TRANSITIONS: dict[RunStatus, frozenset[RunStatus]] = {
    "pending": frozenset({"running", "cancelled"}),
    "running": frozenset({"paused", "completed", "failed", "cancelled"}),
    "paused": frozenset({"running", "cancelled"}),
    "completed": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}
"""Allowed transitions of a run's status. The trigger `collection.check_transition()` has the same list."""

CAP_CENTS = 2500
WARNING_PERCENT = 80
CONCURRENT_RUNS = 3
"""The settings of an organisation without settings: cap of a run, soft warning, most running runs."""

MOST_CENTS = 2_000_000_000
MOST_CATEGORIES = 100
MOST_PAGES = 1_000_000
MOST_UNWANTED = 1_000
MOST_RUNS = 1_000
_LONGEST = 200
_NAMED = 3


@dataclass(frozen=True, slots=True)
class CategoryPlan:
    """A category to collect: the expected number of its pages, and the price of one page in cents."""

    category_id: str
    pages: int
    price_cents: int

    def as_json(self) -> dict[str, int]:
        """Return the numbers as they are stored with the run, by category."""
        return {"pages": self.pages, "price_cents": self.price_cents}


def check_transition(run_id: UUID, before: RunStatus, after: RunStatus, done: str, why: str | None = None) -> None:
    """Raise `Conflict` if a run may not change from `before` to `after`.

    `done`: the request as a past participle, such as `paused`. `why`: the reason of the state, such as a pause's.
    """
    if after not in TRANSITIONS[before]:
        state = f"{before} ({why})" if why else before
        message = f"run: {run_id} is {state}: it cannot be {done}"
        raise Conflict(message)


def check_plan(categories: Sequence[CategoryPlan]) -> None:
    """Raise `InvalidInput` for no category, too many, a repeated or invalid id, or numbers out of range."""
    if not 1 <= len(categories) <= MOST_CATEGORIES:
        raise _invalid("categories", f"must be 1 to {MOST_CATEGORIES}, not {len(categories)}")
    ids = [one.category_id for one in categories]
    if twice := sorted({one for one in ids if ids.count(one) > 1}):
        raise _invalid("categories", f"named more than once: {', '.join(twice)}")
    for one in categories:
        if not is_word(one.category_id):
            raise _invalid("categories", f"{one.category_id!r} is not an id of 1 to {_LONGEST} printable characters")
        if not 0 <= one.pages <= MOST_PAGES:
            raise _invalid("categories", f"{one.category_id}: pages must be 0 to {MOST_PAGES}, not {one.pages}")
        if not 0 <= one.price_cents <= MOST_CENTS:
            raise _invalid("categories", f"{one.category_id}: price_cents must be 0 to {MOST_CENTS}")


def check_cents(field: str, cents: int) -> None:
    """Raise `InvalidInput` if an amount is not 0 to 2,000,000,000 cents. `field`: the name for the message."""
    if not 0 <= cents <= MOST_CENTS:
        raise _invalid(field, f"must be 0 to {MOST_CENTS} cents, not {cents}")


def check_settings(cap: int | None, percent: int | None, runs: int | None) -> None:
    """Raise `InvalidInput` for a setting out of range. None: not given."""
    if cap is not None:
        check_cents("budget_cap_cents", cap)
    if percent is not None and not 1 <= percent <= 100:  # noqa: PLR2004 - percent
        raise _invalid("soft_warning_percent", f"must be 1 to 100, not {percent}")
    if runs is not None and not 1 <= runs <= MOST_RUNS:
        raise _invalid("max_concurrent_runs", f"must be 1 to {MOST_RUNS}, not {runs}")


def check_unwanted(unwanted: Sequence[str]) -> None:
    """Raise `InvalidInput` for too many ids or names that are not wanted, or for an invalid one."""
    if len(unwanted) > MOST_UNWANTED:
        raise _invalid("unwanted", f"must be at most {MOST_UNWANTED}, not {len(unwanted)}")
    for one in unwanted:
        if not is_word(one):
            raise _invalid("unwanted", f"{one!r} is not an id or name of 1 to {_LONGEST} printable characters")


def check_estimate(estimate: int, cap: int, *, allowed: bool) -> None:
    """Raise `InvalidInput` if an estimate exceeds the cap, both in cents, unless `allowed`; always if it is too large.

    The message has both figures.
    """
    if estimate > MOST_CENTS:
        raise _invalid("categories", f"the estimate is {cents(estimate)}, more than a run can cost: choose fewer")
    if estimate > cap and not allowed:
        raise _invalid(
            "categories",
            f"the estimate is {cents(estimate)} and the cap {cents(cap)}: raise the cap, choose fewer categories,"
            " or allow the run to start over its cap (`--over-cap`)",
        )


def estimated_cost(categories: Sequence[CategoryPlan]) -> int:
    """Return the estimated cost of a run in cents: pages times price, over all categories."""
    return sum(one.pages * one.price_cents for one in categories)


def run_name(typed: str | None, day: date, category_ids: Sequence[str]) -> str:
    """Return the name of a run: as typed, on one line, or made from the day and the first categories.

    Raises `InvalidInput` for an empty or too long name, or one with control characters.
    """
    if typed is None:
        more = f" and {len(category_ids) - _NAMED} more" if len(category_ids) > _NAMED else ""
        return f"{day:%Y-%m-%d} {', '.join(category_ids[:_NAMED])}{more}"[:_LONGEST].rstrip()
    name = " ".join(typed.split())
    if not is_word(name):
        raise _invalid("name", f"must be 1 to {_LONGEST} printable characters")
    return name


def marketplace_name(typed: str) -> str:
    """Return a marketplace's name in its stored form, in lower case. Raises `InvalidInput` for an invalid name."""
    name = typed.strip().lower()
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,59}", name):
        raise _invalid("marketplace", f"{typed!r} is not a valid name; use up to 60 letters a to z, digits, dots and -")
    return name


def fingerprint(
    marketplace: str, category_ids: Sequence[str], name: str | None, cap: int | None, unwanted: Sequence[str]
) -> str:
    """Return the SHA-256 of a request's content as 64 hexadecimal digits. The order of categories does not matter.

    Estimates are left out, because a repeated request may get another quote.
    """
    content = [marketplace, sorted(category_ids), name, cap, sorted(set(unwanted))]
    return hashlib.sha256(to_json(content)).hexdigest()


def cents(amount: int) -> str:
    """Return an amount for a message, such as `2,500 cents`."""
    return f"{amount:,} cents"


def remedy(reason: PauseReason, run_id: UUID, marketplace: str) -> str:
    """Return what ends a pause."""
    match reason:
        case "user":
            return f"`runs resume {run_id}`"
        case "budget" | "overrun":
            return "raise the cap: `settings set --cap CENTS`; a run with a cap of its own keeps it"
        case "credentials":
            return f"correct the account with `marketplaces set {marketplace}`, then `runs resume {run_id}`"
        case "place":
            return "it continues by itself when fewer runs are running"


def is_word(text: str) -> bool:
    """Whether a text has 1 to 200 characters, all printable, and no white space around it."""
    return 1 <= len(text) <= _LONGEST and text.isprintable() and text == text.strip()


def _invalid(field: str, what: str) -> InvalidInput:
    return InvalidInput(f"{field}: {what}")
