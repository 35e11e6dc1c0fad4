"""An organisation that can collect: a user, an account with a marketplace, and runs in any state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.rows import scalar_row
from pydantic import SecretStr

import events
from app.collection import accounts, budget, pages, runs
from app.collection.fixtures.collector import equip
from app.collection.rules import CategoryPlan
from app.collection.store import Run
from app.context import Connection, Context
from app.engine.queue.publish import publish
from app.settings import settings
from app.simulators.marketplace import Marketplace
from app.testing.deliver import deliver
from events import Payload
from events.collection import FoundItem, PageCompleted, PauseReason
from tests.helpers.collecting import Desk, imbalances
from tests.helpers.factories import make_user, make_workspace
from tests.helpers.support import scalar

MARKETPLACE = "amazon.de"
API_KEY = "demo-key"
BOOKS = CategoryPlan("books", 4, 100)
"""A category of four pages for a unit of money each."""

_PENDING = """
SELECT id FROM collection.collection_pages WHERE run_id = %s AND status = 'pending' ORDER BY category_id, number
"""


@dataclass(frozen=True, slots=True)
class Team:
    """An organisation, and a user of it."""

    connection: Connection
    org_id: UUID
    user_id: UUID

    @property
    def context(self) -> Context:
        """A context of the organisation, at the current time."""
        return Context.start(self.connection, self.org_id)

    def equip(self, base_url: str, marketplace: str = MARKETPLACE, api_key: str = API_KEY) -> None:
        """Give the organisation an enabled account with a marketplace at an address."""
        accounts.set_account(self.context, marketplace, api_key=SecretStr(api_key), base_url=base_url)
        accounts.enable_account(self.context, marketplace)

    def create(self, *categories: CategoryPlan, **given: Any) -> Run:
        """Create a run of categories (default: four pages of books). `given`: other arguments of `create_run`."""
        wanted: dict[str, Any] = {"marketplace": MARKETPLACE, "created_by": self.user_id, **given}
        return runs.create_run(self.context, categories=list(categories) or [BOOKS], **wanted)

    def start(self, *categories: CategoryPlan, **given: Any) -> Run:
        """Create a run and apply the events. Returns the run, which is running if it has a place."""
        run = self.create(*categories, **given)
        self.apply()
        return self.get(run)

    def get(self, run: Run) -> Run:
        """Return the run as it is now."""
        return runs.get_run(self.context, run.id)

    def statuses(self, *some: Run) -> list[str]:
        """Return the statuses of runs."""
        return [self.get(run).status for run in some]

    def apply(self) -> None:
        """Deliver the events that handlers apply. Requests of pages stay in their queue."""
        deliver(self.connection, queues=["events"])

    def begin(self, run: Run) -> list[UUID]:
        """Reserve the pending pages of a run, as their requests do. Returns those that fit."""
        with self.connection.transaction():
            ids = self.connection.cursor(row_factory=scalar_row).execute(_PENDING, [run.id]).fetchall()
            pages.lock(self.connection, ids)
            return sorted(budget.reserve(self.connection, ids))

    def pause(self, run: Run, reason: PauseReason) -> None:
        """Pause a running run, without its event."""
        with self.connection.transaction():
            budget.pause(self.context, [run.id], reason)

    def settle(self, run: Run, page_id: UUID, cost: int, **given: Any) -> None:
        """Apply the result of a page that has begun. `given`: other fields of the result."""
        attempt = scalar(self.connection, "SELECT attempt FROM collection.collection_pages WHERE id = %s", page_id)
        wanted = {"status": "completed", "cost_cents": cost, **given}
        self.say(PageCompleted(run_id=run.id, page_id=page_id, attempt=attempt, **wanted))

    def spend(self, run: Run, cost: int, *, more: bool = True, items: Sequence[FoundItem] = ()) -> None:
        """Begin the pages of a run and settle the first of them. `more`: the category has a next page."""
        cursor = f"{uuid4()}" if more else None
        self.settle(run, self.begin(run)[0], cost, next_cursor=cursor, items=tuple(items))

    def say(self, payload: Payload) -> None:
        """Publish an event about a run and apply what follows."""
        context = self.context
        subject = getattr(payload, "run_id", None)
        publish(self.connection, events.new(payload, now=context.now, subject=subject, tenant=self.org_id))
        self.apply()


def make_team(connection: Connection) -> Team:
    """Return a new organisation with a workspace and an admin, without an account."""
    workspace = make_workspace(connection)
    user_id = make_user(connection)
    statement = "INSERT INTO tenancy.org_members (org_id, user_id, role) VALUES (%s, %s, 'admin')"
    connection.execute(statement, [workspace.org_id, user_id])
    return Team(connection, workspace.org_id, user_id)


@pytest.fixture
def team(connection: Connection) -> Team:
    """An organisation with an enabled account, at an address where nobody answers."""
    made = make_team(connection)
    made.equip("http://127.0.0.1:9")
    return made


@pytest.fixture
def other(connection: Connection) -> Team:
    """Another organisation with an account of its own."""
    made = make_team(connection)
    made.equip("http://127.0.0.1:9")
    return made


@pytest.fixture
def market(marketplace: Marketplace, monkeypatch: pytest.MonkeyPatch) -> Marketplace:
    """The simulated marketplace, which may be asked at once about calls that failed."""
    monkeypatch.setenv("TALLYMAN_MARKETPLACE_SETTLE", "0")
    settings.cache_clear()
    return marketplace


@pytest.fixture
def desk(database: object, connection: Connection, market: Marketplace) -> Iterator[Desk]:
    """An organisation with an account at the simulated marketplace. At the end, every run's books balance."""
    made = equip(connection, make_workspace(connection).org_id, market)
    yield Desk(made.connection, made.org_id, made.user_id, made.market)
    assert imbalances(connection) == []
