"""Ends by hand: every item gets a result and the job completes, whatever an operator does."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

import psycopg
import pytest

from app.engine.audit_log import history
from app.engine.dead_letters import letters, manage, plan, replay
from app.engine.dead_letters.awaited import Progress
from app.engine.dead_letters.letters import Filters
from app.errors import Conflict, InvalidInput, NotFound
from app.logistics import jobs
from app.logistics.jobs import cancel_job, record_item
from app.logistics.orders import get_orders
from app.settings import settings
from app.simulators.portal import Portal
from tests.helpers.robot_results import broken, items_of, success, update_job_item_result
from tests.helpers.shops import Shop
from tests.helpers.support import deliver, drain_all, scalar

pytestmark = pytest.mark.usefixtures("hasty")

_LETTER = "SELECT id FROM engine.failed_jobs WHERE resolved_at IS NULL"


@pytest.fixture
def late(hasty: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Delays of minutes, so that only `drain_all` delivers put-back events."""
    monkeypatch.setenv("TALLYMAN_RETRY_BASE", "600")
    settings.cache_clear()


class Replayed(Exception):
    """A replay has published every letter."""


def stop_when_replayed(progress: Progress) -> None:
    """End a replay before it waits for outcomes, because the test delivers the events itself."""
    if progress.replayed == progress.total:
        raise Replayed


def dead_request(shop: Shop) -> tuple[UUID, UUID]:
    """Return a job of two orders, one with a dead request, and its letter."""
    shop.connection.execute("UPDATE logistics.carrier_configs SET portal_password = 'sealed:v1:lost:AAAA'")
    job = jobs.create_robot_job(shop.context, shop.order(1))
    drain_all(shop.connection)
    return job.id, scalar(shop.connection, _LETTER)


def test_an_order_that_a_job_counts_cannot_be_deleted(shop: Shop, portal: Portal) -> None:
    """At no time, because the counters would not equal the items."""
    order_ids = shop.order(3)
    job = jobs.create_robot_job(shop.context, order_ids)
    for _ in range(2):
        with pytest.raises(psycopg.errors.RestrictViolation, match="cancel the order"):
            shop.connection.execute("DELETE FROM logistics.orders WHERE id = %s", [order_ids[0]])
        with pytest.raises(psycopg.errors.RestrictViolation, match=str(job.id)):
            shop.connection.execute("DELETE FROM logistics.robot_job_items WHERE job_id = %s", [job.id])
        drain_all(shop.connection)
    assert jobs.get_robot_job(shop.context, job.id).status == "completed"
    assert broken(shop.connection) == []


def test_deleting_a_job_or_workspace_deletes_its_items(shop: Shop, other: Shop, portal: Portal) -> None:
    """Nothing is left that refers to them."""
    job = jobs.create_robot_job(shop.context, shop.order(2))
    jobs.create_robot_job(other.context, other.order(2))
    shop.connection.execute("DELETE FROM logistics.robot_jobs WHERE id = %s", [job.id])
    assert scalar(shop.connection, "SELECT count(*) FROM logistics.robot_job_items") == 2
    shop.connection.execute("DELETE FROM tenancy.workspaces WHERE id = %s", [other.workspace_id])
    assert scalar(shop.connection, "SELECT count(*) FROM logistics.robot_job_items") == 0
    assert scalar(shop.connection, "SELECT count(*) FROM logistics.orders") == 2


def test_a_cancelled_job_ends_with_every_item_failed(shop: Shop, portal: Portal) -> None:
    """Before a robot has begun, at once; nothing is entered."""
    job = jobs.create_robot_job(shop.context, shop.order(3))
    done = cancel_job(shop.context, job.id, actor="ana", reason="wrong file")
    assert (done.failed, done.in_hand, done.job.status) == (3, 0, "failed")
    drain_all(shop.connection)
    assert portal.record.summary().accepted == 0
    assert {(item.status, item.error_message) for item in items_of(shop, job.id)} == {
        ("error", "cancelled by ana: wrong file")
    }
    assert [(one.actor, one.action, one.reason) for one in history(shop.connection, subject=str(job.id))] == [
        ("ana", "cancel job", "wrong file")
    ]
    assert scalar(shop.connection, "SELECT count(*) FROM engine.event_log WHERE type = 'robot/job.completed'") == 1
    assert broken(shop.connection) == []


@pytest.mark.usefixtures("late")
def test_items_that_a_robot_had_begun_are_not_entered_after_a_cancel(shop: Shop, portal: Portal) -> None:
    """They wait for a retry, and the robot rechecks before it calls."""
    portal.change(is_down=True)
    job = jobs.create_robot_job(shop.context, shop.order(2))
    deliver(shop.connection)
    done = cancel_job(shop.context, job.id, actor="ana", reason="wrong file")
    assert (done.failed, done.in_hand) == (0, 2)
    again = cancel_job(shop.context, job.id, actor="ben", reason="also")
    assert (again.failed, again.in_hand) == (0, 2)
    portal.change(is_down=False)
    drain_all(shop.connection)
    assert portal.record.summary().accepted == 0
    assert {"cancelled by ana: wrong file" in (item.error_message or "") for item in items_of(shop, job.id)} == {True}
    assert jobs.get_robot_job(shop.context, job.id).status == "failed"
    assert broken(shop.connection) == []


def test_a_cancelled_job_can_be_retried(shop: Shop, portal: Portal) -> None:
    """The next generation is not cancelled."""
    job = jobs.create_robot_job(shop.context, shop.order(2))
    cancel_job(shop.context, job.id, actor="ana", reason="not yet")
    jobs.retry_failed_items(shop.context, job.id)
    drain_all(shop.connection)
    assert jobs.get_robot_job(shop.context, job.id).status == "completed"
    assert portal.record.summary().accepted == 2
    assert broken(shop.connection) == []


def test_a_job_that_is_done_or_foreign_is_not_cancelled(shop: Shop, other: Shop, portal: Portal) -> None:
    """A cancel needs a reason, too."""
    job = jobs.create_robot_job(shop.context, shop.order(1))
    with pytest.raises(NotFound):
        cancel_job(other.context, job.id, actor="ana", reason="why")
    with pytest.raises(InvalidInput, match="reason"):
        cancel_job(shop.context, job.id, actor="ana", reason=" ")
    drain_all(shop.connection)
    with pytest.raises(Conflict, match="completed"):
        cancel_job(shop.context, job.id, actor="ana", reason="why")


def test_a_recorded_tracking_number_ships_the_order(shop: Shop, portal: Portal) -> None:
    """Item, order, counters and completion are as with a robot's result."""
    job_id, _ = dead_request(shop)
    (item,) = items_of(shop, job_id)
    job = record_item(shop.context, item.id, actor="ana", reason="seen in the portal", tracking_number="700-1")
    assert (job.status, job.success_count) == ("completed", 1)
    order = get_orders(shop.context, [item.order_id])[0]
    assert (order.status, order.tracking_number) == ("shipped", "700-1")
    assert [(one.actor, one.action) for one in history(shop.connection, subject=str(item.id))] == [
        ("ana", "record item")
    ]
    with pytest.raises(Conflict, match="has a result"):
        record_item(shop.context, item.id, actor="ana", reason="again", error="no")
    assert broken(shop.connection) == []


def test_a_recorded_error_ends_the_item(shop: Shop, other: Shop, portal: Portal) -> None:
    """With its type. Another workspace's item is `NotFound`, and a result has a number or an error."""
    job_id, _ = dead_request(shop)
    (item,) = items_of(shop, job_id)
    with pytest.raises(NotFound):
        record_item(other.context, item.id, actor="ana", reason="why", error="no")
    with pytest.raises(InvalidInput, match="--tracking or --error"):
        record_item(shop.context, item.id, actor="ana", reason="why")
    job = record_item(shop.context, item.id, actor="ana", reason="asked", error="never came", error_type="unknown")
    assert (job.status, job.error_count) == ("failed", 1)
    (item,) = items_of(shop, job_id)
    assert (item.error_type, item.error_message) == ("unknown", "never came")
    assert broken(shop.connection) == []


def test_discarding_a_request_ends_its_item(shop: Shop, portal: Portal) -> None:
    """The item fails, the job completes, and failed items can be retried."""
    job_id, letter = dead_request(shop)
    manage.discard(shop.connection, [letter], note="the customer is gone", actor="ana")
    (item,) = items_of(shop, job_id)
    assert (item.status, item.error_message) == ("error", "discarded by ana: the customer is gone")
    assert jobs.get_robot_job(shop.context, job_id).status == "failed"
    assert jobs.retry_failed_items(shop.context, job_id).items == 1
    assert broken(shop.connection) == []


def test_a_request_whose_item_waits_is_not_resolved_without_a_result(shop: Shop, portal: Portal) -> None:
    """The error has the remedy. Afterwards the letter can be resolved."""
    job_id, letter = dead_request(shop)
    with pytest.raises(Conflict, match="jobs record"):
        manage.resolve(shop.connection, [letter], note="seen to", actor="ana")
    (item,) = items_of(shop, job_id)
    update_job_item_result(shop.context, success(item))
    manage.resolve(shop.connection, [letter], note="seen to", actor="ana")
    assert broken(shop.connection) == []


def test_a_recorded_result_resolves_the_dead_request(shop: Shop, portal: Portal) -> None:
    """In the same transaction. The letter's note has actor and reason."""
    job_id, letter = dead_request(shop)
    (item,) = items_of(shop, job_id)
    record_item(shop.context, item.id, actor="ana", reason="seen in the portal", tracking_number="700-3")
    assert scalar(shop.connection, "SELECT notes FROM engine.failed_jobs WHERE resolved_at IS NOT NULL") == (
        f"recorded by ana: item {item.id} shipped as 700-3: seen in the portal"
    )
    assert [(one.actor, one.action) for one in history(shop.connection, subject=letter)] == [("ana", "record item")]
    assert scalar(shop.connection, "SELECT count(*) FROM engine.calls") == 0
    assert broken(shop.connection) == []


def test_a_recorded_result_leaves_other_requests_dead(shop: Shop, portal: Portal) -> None:
    """Only the item's own letters are resolved, also those of edited copies."""
    shop.connection.execute("UPDATE logistics.carrier_configs SET portal_password = 'sealed:v1:lost:AAAA'")
    job = jobs.create_robot_job(shop.context, shop.order(2))
    drain_all(shop.connection)
    first, second = items_of(shop, job.id)
    letter = next(one for one in letters.select(shop.connection, Filters()) if str(first.id) in str(one.event_data))
    manage.edit(shop.connection, letter.id, manage.current_data(letter), reason="again", actor="ana")
    drain_all(shop.connection)
    record_item(shop.context, first.id, actor="ana", reason="seen", error="lost")
    (left,) = letters.select(shop.connection, Filters())
    assert left.event_data["data"]["item_id"] == str(second.id)
    assert broken(shop.connection) == []


def test_a_cancelled_job_ends_items_whose_request_is_dead(shop: Shop, portal: Portal) -> None:
    """They fail, and the letters are resolved."""
    job_id, letter = dead_request(shop)
    done = cancel_job(shop.context, job_id, actor="ana", reason="wrong file")
    assert (done.failed, done.in_hand, done.letters, done.job.status) == (1, 0, 1, "failed")
    (item,) = items_of(shop, job_id)
    assert (item.error_type, item.error_message) == ("unknown", "cancelled by ana: wrong file")
    closed = letters.find(shop.connection, letter)
    assert (closed.resolved_at is not None, closed.notes) == (True, "cancelled by ana: wrong file")
    assert [(one.actor, one.action, one.reason) for one in history(shop.connection, subject=letter)] == [
        ("ana", "cancel job", "cancelled by ana: wrong file")
    ]
    assert broken(shop.connection) == []


def test_a_dry_run_cancels_nothing(shop: Shop, portal: Portal) -> None:
    """It returns the numbers of the real cancel, and changes nothing."""
    job_id, _ = dead_request(shop)
    everything = """
        SELECT (SELECT json_agg(j) FROM logistics.robot_jobs j), (SELECT json_agg(i) FROM logistics.robot_job_items i),
               (SELECT json_agg(f) FROM engine.failed_jobs f), (SELECT json_agg(q) FROM procrastinate_jobs q),
               (SELECT json_agg(a) FROM engine.actions a), (SELECT json_agg(c) FROM engine.calls c)"""
    before = shop.connection.execute(everything).fetchall()
    would = cancel_job(shop.context, job_id, actor="ana", reason="wrong file", dry_run=True)
    assert shop.connection.execute(everything).fetchall() == before
    done = cancel_job(shop.context, job_id, actor="ana", reason="wrong file")
    assert (would.failed, would.in_hand, would.letters) == (done.failed, done.in_hand, done.letters) == (1, 0, 1)


@pytest.mark.usefixtures("late")
@pytest.mark.parametrize("by", ["a replay", "another cancel"])
def test_a_request_that_dies_after_the_cancel_still_gets_an_end(shop: Shop, portal: Portal, by: str) -> None:
    """A replay asks the portal and makes no call. Another cancel ends the item too."""
    portal.change(is_down=True)
    job = jobs.create_robot_job(shop.context, shop.order(1))
    deliver(shop.connection)
    assert cancel_job(shop.context, job.id, actor="ana", reason="wrong file").in_hand == 1
    row = "SELECT portal_password FROM logistics.carrier_configs"
    sealed = scalar(shop.connection, row)
    shop.connection.execute("UPDATE logistics.carrier_configs SET portal_password = 'sealed:v1:lost:AAAA'")
    drain_all(shop.connection)
    shop.connection.execute("UPDATE logistics.carrier_configs SET portal_password = %s", [sealed])
    portal.change(is_down=False)
    if by == "a replay":
        planned = plan.make(shop.connection, Filters(), actor="ana")
        (letter,) = plan.letters(shop.connection, planned.id)
        assert letter.class_ != "blocked"
        with suppress(Replayed):
            replay.run(shop.connection, planned, replay.Pace(), actor="ana", reason=None, show=stop_when_replayed)
        drain_all(shop.connection)
    else:
        done = cancel_job(shop.context, job.id, actor="ben", reason="end it")
        assert (done.failed, done.letters) == (1, 1)
    after = jobs.get_robot_job(shop.context, job.id)
    assert (after.status, after.error_count, len(portal.record.entries)) == ("failed", 1, 0)
    assert broken(shop.connection) == []
