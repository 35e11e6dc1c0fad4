"""Runs of an organisation at a simulated marketplace: start them, deliver their events, read their books."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row

from app.collection import runs
from app.collection.fixtures.collector import Collector
from app.collection.runs import Run
from app.context import Connection
from app.engine.queue.publish import publish
from app.simulators.marketplace import Category
from app.testing.deliver import deliver
from events import Event

_PAGES = """
SELECT * FROM collection.collection_pages WHERE run_id = %s ORDER BY external_ids IS NOT NULL, category_id, number
"""
_ITEMS = "SELECT * FROM collection.collection_items WHERE run_id = %s ORDER BY external_id, marketplace"
_BALANCE = """
SELECT r.actual_cost_cents + r.overrun_cents - coalesce(p.cost, 0), r.reserved_cost_cents - coalesce(p.reserved, 0),
       r.total_items - coalesce(i.total, 0), r.processed_items - coalesce(i.processed, 0),
       r.failed_items - coalesce(i.failed, 0),
       CASE WHEN r.overrun_cents > 0
            THEN r.budget_cap_cents - r.actual_cost_cents - r.reserved_cost_cents ELSE 0 END
  FROM collection.collection_runs r
  LEFT JOIN (SELECT run_id, sum(cost_cents) AS cost, sum(reserved_cents) AS reserved
               FROM collection.collection_pages GROUP BY run_id) p ON p.run_id = r.id
  LEFT JOIN (SELECT run_id, count(*) AS total, count(*) FILTER (WHERE status IN ('completed', 'skipped')) AS processed,
                    count(*) FILTER (WHERE status = 'failed') AS failed
               FROM collection.collection_items GROUP BY run_id) i ON i.run_id = r.id
"""
_SHARES = """
SELECT p.id FROM collection.collection_pages p JOIN collection.collection_items i ON i.page_id = p.id
 GROUP BY p.id HAVING sum(i.cost_cents) <> p.cost_cents
"""


class Desk(Collector):
    """A collector whose events are delivered."""

    def submit(self, *category_ids: str, **options: Any) -> Run:
        """A new run that is running, or waits for a place; the requests of its first pages wait."""
        run = self.create(*category_ids, **options)
        self.handle()
        return self.run(run.id)

    def handle(self) -> None:
        """Deliver the events that wait for handlers."""
        deliver(self.connection, queues=["events"])

    def buy(self) -> None:
        """Deliver the requests of pages that wait, and no handler's events."""
        deliver(self.connection, queues=["marketplaces"])

    def work(self) -> None:
        """Deliver everything that is due."""
        deliver(self.connection)

    def run(self, run_id: UUID) -> Run:
        """The run now."""
        return runs.get_run(self.context, run_id)

    def pages(self, run_id: UUID) -> list[dict[str, Any]]:
        """The run's pages, by category and number; items that are asked for again come last."""
        return self.connection.cursor(row_factory=dict_row).execute(_PAGES, [run_id]).fetchall()

    def page(self, run_id: UUID, category_id: str, number: int = 1) -> dict[str, Any]:
        """A page of a category."""
        pages = self.pages(run_id)
        return next(one for one in pages if (one["category_id"], one["number"]) == (category_id, number))

    def items(self, run_id: UUID) -> list[dict[str, Any]]:
        """The run's items, by id."""
        return self.connection.cursor(row_factory=dict_row).execute(_ITEMS, [run_id]).fetchall()

    def books(self, run_id: UUID) -> tuple[int, int, int]:
        """What a run spent, reserved and overran, in cents."""
        run = self.run(run_id)
        return run.actual_cost_cents, run.reserved_cost_cents, run.overrun_cents

    @property
    def charged(self) -> int:
        """What the marketplace has charged, in cents."""
        return self.market.ledger.cents


def imbalances(connection: Connection) -> Sequence[Any]:
    """What is wrong in the books of all runs, between runs, pages and items."""
    differences = [row for row in connection.execute(_BALANCE).fetchall() if any(row)]
    return [*differences, *connection.execute(_SHARES).fetchall()]


def begun(desk: Desk, *names: str, price: int = 5, **options: Any) -> Run:
    """Return a run whose first pages are reserved, and no event waits."""
    desk.sells(**{name: Category(price_cents=price) for name in names})
    run = desk.start(*names, **options)
    desk.begin(run)
    return run


def deliver_each(desk: Desk, *said: Event[Any]) -> None:
    """Publish results, each in its own row, and deliver them."""
    publish(desk.connection, *said, batch_size=1)
    desk.handle()
