"""Counting the results of items: each once, and the end of the run."""

from __future__ import annotations

import events
from app.collection.fixtures.collector import found
from app.context import Connection
from app.simulators.marketplace import Category
from app.testing.published import assert_published
from events.collection import ItemCompleted, JobCompleted
from tests.collection.conftest import MARKETPLACE
from tests.helpers.collecting import Desk, begun, deliver_each
from tests.helpers.support import scalar


def dead(connection: Connection) -> list[str]:
    """The reasons of all dead letters."""
    return [why for (why,) in connection.execute("SELECT error_message FROM engine.failed_jobs").fetchall()]


def test_a_result_of_an_item_counts_once(desk: Desk) -> None:
    """Under any id, in any order, and the first one wins."""
    run = begun(desk, "a", "b")
    deliver_each(desk, *desk.results(run, items=(found("X", data=None, error_code="timeout"),)))
    said = ItemCompleted(
        run_id=run.id, marketplace=MARKETPLACE, item_type="amazon_product", external_id="X", status="completed"
    )
    bad = said.model_copy(update={"status": "failed", "error_code": "late"})
    deliver_each(desk, desk.event(said), desk.event(bad), desk.event(said))
    now = desk.run(run.id)
    assert (now.processed_items, now.failed_items, now.total_items) == (1, 0, 1)


def test_a_result_of_an_unknown_item_is_buried(desk: Desk) -> None:
    """Or of another organisation's."""
    run = begun(desk, "a")
    said = ItemCompleted(
        run_id=run.id, marketplace="m", item_type="amazon_product", external_id="X", status="completed"
    )
    deliver_each(desk, desk.event(said), desk.event(said, tenant=events.new_id()))
    assert sorted(why.partition(": ")[2] for why in dead(desk.connection)) == [
        f"run {run.id} has no such item",
        f"run {run.id} is not of this organisation",
    ]


def test_a_run_ends_with_its_last_item(desk: Desk) -> None:
    """Not with its last page, if an item is asked for again."""
    run = begun(desk, "a")
    (said,) = desk.results(run, next_cursor=None, items=(found("X"), found("Y", data=None, error_code="timeout")))
    deliver_each(desk, said)
    assert (desk.page(run.id, "a")["status"], desk.run(run.id).status) == ("completed", "running")
    (again,) = [page for page in desk.pages(run.id) if page["external_ids"]]
    desk.begin(run)
    answer = {"page_id": again["id"], "items": (found("Y"),)}
    deliver_each(desk, desk.event(said.data.model_copy(update=answer)))
    assert desk.run(run.id).status == "completed"
    assert_published(desk.connection, JobCompleted, count=1, total_items=2, processed_items=2)


def test_the_next_run_starts_when_one_ends(desk: Desk) -> None:
    """By the events of its end."""
    desk.sells(a=Category(pages=1, items=1, price_cents=1))
    waiting = [desk.submit("a") for _ in range(5)]
    assert [desk.run(run.id).status for run in waiting] == ["running"] * 3 + ["pending"] * 2
    desk.work()
    assert {desk.run(run.id).status for run in waiting} == {"completed"}
    assert scalar(desk.connection, "SELECT sum(actual_cost_cents) FROM collection.collection_runs") == desk.charged
