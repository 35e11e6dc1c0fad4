"""Counting results of items: each counts once, and the counters equal the items."""

from __future__ import annotations

from typing import Any

import pytest

from app.collection.counting import Count, count
from app.collection.fixtures.collector import found
from app.collection.runs import Run
from app.collection.settle import settle
from app.context import HandlerContext
from app.simulators.marketplace import Category
from events.collection import ItemCompleted
from tests.collection.conftest import MARKETPLACE
from tests.helpers.collecting import Desk


@pytest.fixture
def run(desk: Desk) -> Run:
    """A running run with two items that wait for another request."""
    desk.sells(a=Category(price_cents=5))
    run = desk.start("a")
    desk.begin(run)
    (settled,) = desk.results(run, items=tuple(found(name, data=None, error_code="timeout") for name in "AB"))
    with desk.connection.transaction():
        settle(HandlerContext.begin(desk.connection), [(settled, settled.data)])
    return run


def result(run: Run, external_id: str, status: str = "completed", **values: Any) -> ItemCompleted:
    """Return a result of an item."""
    own = {"run_id": run.id, "marketplace": MARKETPLACE, "item_type": "amazon_product", "external_id": external_id}
    error = None if status == "completed" else "gone"
    return ItemCompleted.model_validate({**own, "status": status, "error_code": error, **values})


def test_the_first_result_of_an_item_counts(desk: Desk, run: Run) -> None:
    """Others of the same batch and later ones change nothing. Unknown items are left out."""
    said = [result(run, "A", "failed"), result(run, "A"), result(run, "unknown")]
    assert sorted(count(desk.connection, said), key=lambda one: one.place) == [
        Count(0, counts=True, is_last=False),
        Count(1, counts=False, is_last=False),
    ]
    assert [one.counts for one in count(desk.connection, [result(run, "A")])] == [False]
    now = desk.run(run.id)
    assert (now.processed_items, now.failed_items) == (0, 1)


def test_the_last_result_of_a_running_run_is_told(desk: Desk, run: Run) -> None:
    """Skipped items count as processed. A paused run has no last result."""
    count(desk.connection, [result(run, "A", "skipped")])
    assert count(desk.connection, [result(run, "B")]) == [Count(0, counts=True, is_last=True)]
    now = desk.run(run.id)
    assert (now.processed_items, now.failed_items) == (2, 0)
