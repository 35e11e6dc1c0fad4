"""The progress of a run with its money, and what it will have cost at its end. Pure: no database, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from app.collection.rules import RunStatus
from app.collection.store import Run

_ENDED = {"completed", "failed", "cancelled"}


@dataclass(frozen=True, slots=True)
class RunProgress:
    """The progress of a run. Amounts are in cents.

    `pages`: settled pages. `expected_pages`: those and the ones that are still expected. `at_completion_cents`: what
    the run will have cost at its end, if the remaining pages cost as much as the pages so far.
    """

    run_id: UUID
    status: RunStatus
    pause_reason: str | None
    total_items: int
    processed_items: int
    failed_items: int
    pages: int
    expected_pages: int
    spent_cents: int
    reserved_cents: int
    overrun_cents: int
    cap_cents: int
    at_completion_cents: int

    @property
    def id(self) -> UUID:
        """The run's id."""
        return self.run_id

    @property
    def done(self) -> int:
        """Items that have a result."""
        return self.processed_items + self.failed_items

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        return self.status in _ENDED

    @property
    def line(self) -> str:
        """The progress in one line."""
        state = f"{self.status} ({self.pause_reason})" if self.pause_reason else self.status
        failed = f", {self.failed_items} failed" if self.failed_items else ""
        overrun = f" + {self.overrun_cents} over the cap" if self.overrun_cents else ""
        return (
            f"{state}: {self.pages}/{self.expected_pages} pages, {self.processed_items} items{failed};"
            f" {self.spent_cents} of {self.cap_cents} cents spent{overrun}, {self.reserved_cents} reserved,"
            f" about {self.at_completion_cents} at completion"
        )


def progress_of(run: Run) -> RunProgress:
    """Return the progress of a run."""
    settled, expected = pages_of(run)
    return RunProgress(
        run_id=run.id,
        status=run.status,
        pause_reason=run.pause_reason,
        total_items=run.total_items,
        processed_items=run.processed_items,
        failed_items=run.failed_items,
        pages=settled,
        expected_pages=expected,
        spent_cents=run.actual_cost_cents,
        reserved_cents=run.reserved_cost_cents,
        overrun_cents=run.overrun_cents,
        cap_cents=run.budget_cap_cents,
        at_completion_cents=cost_at_completion(run),
    )


def pages_of(run: Run) -> tuple[int, int]:
    """Return the number of settled pages, and of all pages that are expected at the end.

    A category that has ended expects no more than it had; one that has more pages than expected expects one more.
    """
    settled = expected = 0
    for category, plan in run.estimate.items():
        pages, is_done = _settled(run, category)
        settled += pages
        expected += pages if is_done or run.status in _ENDED else max(pages + 1, plan["pages"])
    return settled, expected


def cost_at_completion(run: Run) -> int:
    """Return the expected cost at the end in cents: what was charged, and the expected pages at the price so far.

    A run that has ended costs what it was charged. Before the first page the price is the estimate's.
    """
    charged = run.actual_cost_cents + run.overrun_cents
    if run.status in _ENDED:
        return charged
    settled, _ = pages_of(run)
    rest = 0.0
    for category, plan in run.estimate.items():
        pages, is_done = _settled(run, category)
        price = charged / settled if settled else plan["price_cents"]
        rest += 0 if is_done else max(1, plan["pages"] - pages) * price
    return charged + round(rest)


def _settled(run: Run, category: str) -> tuple[int, bool]:
    found = run.checkpoint.get(category, {})
    return found.get("pages", 0), found.get("done", False)
