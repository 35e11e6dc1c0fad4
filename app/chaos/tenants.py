"""Tenants with uneven load: one with a large backlog, one whose portal hangs, and a small one."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar
from uuid import UUID

from app.chaos.actors import Actor, until_known
from app.chaos.model import Submission
from app.chaos.stage import HANGS
from app.chaos.submitting import open_items, order, submit


class Tenant(Actor):
    """Submits a job for its workspace whenever at most `few` of its items are open."""

    few: ClassVar[int]
    sizes: ClassVar[tuple[int, int]]
    street: ClassVar[str] = "Calle"

    @property
    @abstractmethod
    def workspace_id(self) -> UUID:
        """Return the tenant's workspace."""

    def act(self) -> None:
        """Submit one job, unless the previous one has too many open items."""
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
    """Many orders at a portal with a latency of about 0.7 s."""

    pause = 2.0
    few = 10
    sizes = (60, 120)

    @property
    def workspace_id(self) -> UUID:
        """Return the flooding tenant's workspace."""
        return self.stage.flooding


class Hanging(Tenant):
    """Orders whose first two calls time out. Every retry occupies a separate delivery."""

    pause = 2.0
    few = 0
    sizes = (30, 60)
    street = HANGS

    @property
    def workspace_id(self) -> UUID:
        """Return the hanging tenant's workspace."""
        return self.stage.hanging


class Small(Tenant):
    """A few orders at a time, at an account without faults."""

    pause = 0.5
    few = 3
    sizes = (1, 4)

    @property
    def workspace_id(self) -> UUID:
        """Return the small tenant's workspace."""
        return self.stage.small
