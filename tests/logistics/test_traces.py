"""Traces: the references under which an order may already be in a carrier's portal."""

from __future__ import annotations

import pytest

from app.engine.batches.store import item_states
from app.errors import Busy
from app.logistics import rules
from app.logistics.jobs import create_robot_job
from app.logistics.store import ROBOT_JOBS, RobotJobItem
from app.logistics.traces import Traces, find, refuse_in_grace_period
from app.settings import using
from events.robot import ErrorType
from tests.helpers.robot_results import failure, items_of, submitted, update_job_item_result
from tests.helpers.shops import Shop


def traces(shop: Shop, item: RobotJobItem) -> Traces:
    """Return the traces of an item."""
    return find(shop.connection, item_states(shop.connection, ROBOT_JOBS, [item.id]).values())[item.id]


def again(shop: Shop, item: RobotJobItem) -> RobotJobItem:
    """Submit the order of an item in another job. Returns its item there."""
    (other,) = items_of(shop, create_robot_job(shop.context, [item.order_id]).id)
    return other


def test_a_first_attempt_has_its_own_reference_alone(shop: Shop) -> None:
    """No call of the order was made before."""
    _, (item, _) = submitted(shop, 2)
    assert traces(shop, item) == Traces([f"{item.id}-0"], may_be_there=False, keys=[], grace_left=0.0)


def test_a_later_attempt_has_the_references_of_the_earlier_ones(shop: Shop) -> None:
    """And the keys of their calls, which may be in progress."""
    _, (item,) = submitted(shop, 1)
    shop.connection.execute("UPDATE logistics.robot_job_items SET retry_count = 2")
    found = traces(shop, item)
    assert found.references == [f"{item.id}-{n}" for n in range(3)]
    assert (found.may_be_there, found.keys) == (True, [rules.request_id(item.id, n) for n in range(2)])


def test_an_item_that_was_begun_may_be_there(shop: Shop) -> None:
    """Its worker may have died after the call."""
    _, (item,) = submitted(shop, 1)
    shop.connection.execute("UPDATE logistics.robot_job_items SET status = 'processing'")
    assert traces(shop, item).may_be_there


@pytest.mark.parametrize(("kind", "counts"), [("timeout", True), ("portal", True), ("validation", False)])
def test_failed_items_of_other_jobs_count_if_their_call_may_have_been_made(
    shop: Shop, kind: ErrorType, *, counts: bool
) -> None:
    """Their references follow the item's own. The portal is not asked before their grace period is over."""
    _, (first,) = submitted(shop, 1)
    update_job_item_result(shop.context, failure(first, kind))
    item = again(shop, first)
    with using(portal_settle=60.0):
        found = traces(shop, item)
        assert found.references == [f"{item.id}-0", *([f"{first.id}-0"] if counts else [])]
        assert (found.may_be_there, 50 < found.grace_left <= 60) == (counts, counts)
        if counts:
            with pytest.raises(Busy, match="failed a moment ago") as busy:
                refuse_in_grace_period(shop.connection, [found])
            assert busy.value.delay == found.grace_left
    assert traces(shop, item).grace_left <= 60


def test_a_call_of_another_item_in_progress_is_waited_for(shop: Shop) -> None:
    """Its mark is of a delivery that may still call."""
    _, (first,) = submitted(shop, 1)
    shop.connection.execute("UPDATE logistics.robot_job_items SET status = 'processing'")
    found = traces(shop, again(shop, first))
    refuse_in_grace_period(shop.connection, [found])
    key = rules.request_id(first.id, 0)
    assert found.keys == [key]
    shop.connection.execute(
        "INSERT INTO engine.calls (call_key, event_id, row_id, attempts, ask_after)"
        " VALUES (%s, %s, 0, 0, now() + interval '1 minute')",
        [key, key],
    )
    with pytest.raises(Busy, match="another attempt at the order is under way"):
        refuse_in_grace_period(shop.connection, [found])
