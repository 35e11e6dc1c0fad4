"""Tenants whose load is uneven: one that floods, one whose portal hangs, and a small one beside them."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar
from uuid import UUID

from app.chaos.actors import Actor, until_known
from app.chaos.model import Submission
from app.chaos.stage import HANGS
from app.chaos.submitting import open_items, order, submit


class Tenant(Actor):
    """Submits a job for its workspace whenever few of its items are open."""

    few: ClassVar[int]
    sizes: ClassVar[tuple[int, int]]
    street: ClassVar[str] = "Calle"

    @property
    @abstractmethod
    def workspace_id(self) -> UUID:
        """The workspace that it submits for."""

    def act(self) -> None:
        """Submit one job, unless the one before is still under way."""
        with self.stage.connect() as connection:
            if open_items(connection, [self.workspace_id]) > self.few:
                return
        rows = [order(self.street) for _ in range(self.dice.randint(*self.sizes))]
        key = f"{self.name}-{rows[0].reference}"
        submission = Submission(self.workspace_id, key, frozenset(row.reference for row in rows))
        self.model.intend(submission)
        self.model.accept(submission, until_known(lambda: submit(self.stage, submission, rows)))
        self.model.count(f"submitted by the {self.name} tenant")


class Flooding(Tenant):
    """Many orders at a portal that takes most of a second for each."""

    pause = 2.0
    few = 10
    sizes = (60, 120)

    @property
    def workspace_id(self) -> UUID:
        """The flooding one."""
        return self.stage.flooding


class Hanging(Tenant):
    """Orders whose calls hang until they time out, twice each: every retry holds a delivery of its own."""

    pause = 2.0
    few = 0
    sizes = (30, 60)
    street = HANGS

    @property
    def workspace_id(self) -> UUID:
        """The one whose portal hangs."""
        return self.stage.hanging


class Small(Tenant):
    """A few orders at a time. Nothing is done to its account."""

    pause = 0.5
    few = 3
    sizes = (1, 4)

    @property
    def workspace_id(self) -> UUID:
        """The small one."""
        return self.stage.small
