"""A model of collection runs that knows no SQL: states, books and pages of one organisation."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

PAGES = 3
"""Pages of every category."""
PRICE = 5
OPEN = {"pending", "processing"}
ENDED = {"completed", "failed", "cancelled"}
Place = tuple[str, int]
"""A category, and a page's number in it."""


@dataclass
class ModelPage:
    """A page, and whether the marketplace has charged it."""

    status: str = "pending"
    attempt: int = 0
    reserved: int = 0
    cost: int = 0


@dataclass
class ModelRun:
    """A run and its books, in cents."""

    id: UUID
    categories: tuple[str, ...]
    override: int | None
    cap: int
    status: str = "pending"
    reason: str | None = None
    spent: int = 0
    reserved: int = 0
    overrun: int = 0
    pages: dict[Place, ModelPage] = field(default_factory=dict)

    @property
    def waits(self) -> bool:
        """Whether it starts by itself."""
        return self.status == "pending" or self.reason == "place"

    @property
    def books(self) -> tuple[int, int, int, int]:
        """What is compared of its books."""
        return self.spent, self.reserved, self.overrun, self.cap

    def pause(self, reason: str) -> None:
        """Pause it, if it is running."""
        if self.status == "running":
            self.status, self.reason = "paused", reason


@dataclass
class Model:
    """An organisation: its cap, its places, and its runs, the oldest first."""

    cap: int
    places: int
    runs: dict[UUID, ModelRun] = field(default_factory=dict)
    charged: dict[tuple[UUID, Place], int] = field(default_factory=dict)

    def create(self, run_id: UUID, categories: tuple[str, ...], override: int | None) -> None:
        """A run waits."""
        self.runs[run_id] = ModelRun(run_id, categories, override, self.cap if override is None else override)
        self.start()

    def start(self) -> None:
        """The oldest waiting runs take the free places, until none is free or none waits."""
        while waiting := self._next():
            waiting.cap = max(self._target(waiting), waiting.spent + waiting.reserved)
            if waiting.status == "pending":
                waiting.pages = {(category, 1): ModelPage() for category in waiting.categories}
            waiting.status, waiting.reason = "running", None
            for page in waiting.pages.values():
                page.attempt += page.status == "pending"
            self._finish(waiting)

    def _next(self) -> ModelRun | None:
        running = sum(run.status == "running" for run in self.runs.values())
        return next((run for run in self.runs.values() if run.waits), None) if running < self.places else None

    def _target(self, run: ModelRun) -> int:
        return self.cap if run.override is None else run.override

    @staticmethod
    def _finish(run: ModelRun) -> None:
        if run.status == "running" and not any(page.status in OPEN for page in run.pages.values()):
            run.status = "completed"

    def claim(self, run_id: UUID, place: Place, attempt: int) -> bool:
        """Prepare a request. Returns whether its call is to be made."""
        run, page = self.runs[run_id], self.runs[run_id].pages[place]
        if page.status not in OPEN or page.attempt != attempt:
            return False
        if page.status == "processing":
            return True
        if run.status != "running":
            return False
        if run.spent + run.reserved + PRICE > run.cap:
            run.pause("budget")
            self.start()
            return False
        page.status, page.reserved = "processing", PRICE
        run.reserved += PRICE
        return True

    def may_buy(self, run_id: UUID) -> bool:
        """Whether a reserved page that is not charged may be bought now."""
        run = self.runs[run_id]
        goes_on = run.status == "running" or run.reason == "budget"
        return goes_on and run.spent + run.reserved <= self._target(run)

    def settle(self, run_id: UUID, place: Place, attempt: int, cost: int | None) -> None:
        """Settle a result. `cost`: None if the page was released."""
        run, page = self.runs[run_id], self.runs[run_id].pages[place]
        if page.status not in OPEN or page.attempt != attempt:
            return
        before = run.overrun
        self._book(run, page, cost or 0)
        if cost is None:
            page.status = "cancelled" if run.status in ENDED else "pending"
            page.attempt += page.status == "pending"
        else:
            page.status, page.cost = "completed", cost
            if place[1] < PAGES and run.status not in ENDED:
                run.pages[place[0], place[1] + 1] = ModelPage(attempt=1)
        if run.overrun > before:
            run.pause("overrun")
        self._finish(run)
        if run.reason == "budget" and not run.overrun and self._fits(run):
            run.reason = "place"
        self.start()

    def _book(self, run: ModelRun, page: ModelPage, cost: int) -> None:
        run.reserved -= page.reserved
        page.reserved = 0
        owed = run.spent + run.overrun + cost
        run.spent = min(owed, run.cap - run.reserved)
        run.overrun = owed - run.spent
        if run.status in {"running", "paused"}:
            run.cap = max(min(run.cap, self._target(run)), run.spent + run.reserved)

    def pause(self, run_id: UUID) -> bool:
        """A person pauses a run. Returns whether that is allowed."""
        run = self.runs[run_id]
        if run.status != "running" and run.reason != "place":
            return False
        run.status, run.reason = "paused", "user"
        self.start()
        return True

    def resume(self, run_id: UUID) -> bool:
        """A person lets a run go on. Returns whether that is allowed."""
        run = self.runs[run_id]
        if run.status != "paused" or run.reason == "place":
            return False
        run.reason = "place"
        self.start()
        return True

    def cancel(self, run_id: UUID) -> bool:
        """A person ends a run. Returns whether that is allowed."""
        run = self.runs[run_id]
        if run.status in ENDED:
            return False
        run.status, run.reason = "cancelled", None
        for page in run.pages.values():
            if page.status == "pending":
                page.status = "cancelled"
        self.start()
        return True

    def set_cap(self, cap: int) -> None:
        """The organisation's cap changes, and its runs without one of their own follow."""
        self.cap = cap
        for run in self.runs.values():
            if run.override is not None or run.status in ENDED:
                continue
            before, room = run.cap, max(0, cap - run.spent - run.reserved)
            booked = min(run.overrun, room)
            run.spent, run.overrun = run.spent + booked, run.overrun - booked
            run.cap = max(cap, run.spent + run.reserved)
            if run.spent + run.overrun > cap:
                run.pause("budget")
            if before < cap and run.reason in {"budget", "overrun"} and not run.overrun and self._fits(run):
                run.reason = "place"
        self.start()

    def _fits(self, run: ModelRun) -> bool:
        is_pending = any(page.status == "pending" for page in run.pages.values())
        return run.spent + run.reserved + (PRICE if is_pending else 0) <= self._target(run)
