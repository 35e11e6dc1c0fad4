"""An order is entered once, whatever event requests it: edited, replayed, retried, a producer's, of another job."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import pytest

import events
from app.engine.dead_letters import letters, manage
from app.engine.dead_letters import plan as plans
from app.engine.dead_letters.letters import Filters
from app.engine.dead_letters.redeliver import redeliver
from app.engine.queue.publish import publish
from app.errors import Conflict
from app.logistics import jobs, rules
from app.logistics.store import RobotJobItem
from app.program import WIRING
from app.settings import settings
from app.simulators.portal import Portal, Rule
from app.testing import worker
from app.testing.crashes import crash_everywhere
from app.testing.faults import Fault
from events.robot import ItemRequested
from tests.conftest import Database
from tests.helpers.orders_in_doubt import in_doubt
from tests.helpers.robot_results import broken, failure, items_of, update_job_item_result
from tests.helpers.shops import Shop
from tests.helpers.support import drain, drain_all, scalar

pytestmark = pytest.mark.usefixtures("hasty")

_LETTER = "SELECT id FROM engine.failed_jobs WHERE resolved_at IS NULL"
_DELAY = "SELECT extract(epoch FROM max(due_at) - now()) FROM engine.delayed WHERE queue_name = 'robots'"


def edit(shop: Shop) -> None:
    """Edit the dead request without a change."""
    letter = letters.find(shop.connection, scalar(shop.connection, _LETTER))
    manage.edit(shop.connection, letter.id, {**manage.current_data(letter), "attempt": 0}, reason="x", actor="ana")


def replay(shop: Shop) -> None:
    """Replay the dead request."""
    plan = plans.make(shop.connection, Filters(), actor="ana")
    with shop.connection.transaction():
        redeliver(shop.connection, plans.letters(shop.connection, plan.id))


def ask_oneself(shop: Shop) -> None:
    """Publish another request for the attempt, with another id."""
    letter = letters.find(shop.connection, scalar(shop.connection, _LETTER))
    asked = ItemRequested(**manage.current_data(letter))
    publish(
        shop.connection,
        events.new(asked, now=datetime.now(UTC), subject=asked.job_id, tenant=shop.workspace_id),
    )


def edit_and_retry(shop: Shop) -> None:
    """End the item, retry failed items, and edit the dead request."""
    item = only_item(shop)
    edit(shop)
    update_job_item_result(shop.context, failure(item, "timeout"))
    jobs.retry_failed_items(shop.context, item.job_id)


def only_item(shop: Shop) -> RobotJobItem:
    """Return the only item."""
    (found,) = items_of(shop, scalar(shop.connection, "SELECT id FROM logistics.robot_jobs"))
    return found


WAYS: tuple[Callable[[Shop], None], ...] = (edit, replay, ask_oneself, edit_and_retry)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: str(way.__name__))
def test_an_order_that_the_portal_has_is_not_entered_again(
    database: Database, shop: Shop, portal: Portal, way: Callable[[Shop], None]
) -> None:
    """After a call in doubt the portal is asked, and its entry is the result."""
    item = in_doubt(database, shop)
    way(shop)
    drain_all(shop.connection)
    assert portal.record.duplicates == []
    assert portal.record.summary().accepted == 1
    (done,) = items_of(shop, item.job_id)
    assert (done.status, done.tracking_number) == ("success", portal.record.entries[0].tracking_number)
    assert broken(shop.connection) == []


@pytest.mark.parametrize("kept", ["with the mark of the call", "without"])
def test_an_item_that_was_begun_is_asked_about(database: Database, shop: Shop, portal: Portal, kept: str) -> None:
    """The item's status shows that a call may have been made, also without a mark."""
    in_doubt(database, shop)
    ask_oneself(shop)
    if kept == "without":
        shop.connection.execute("DELETE FROM engine.calls")
        shop.connection.execute("DELETE FROM engine.failed_jobs")
    drain_all(shop.connection)
    assert portal.record.summary().accepted == 1


def test_a_crash_at_an_edited_request_enters_the_order_once(database: Database, shop: Shop, portal: Portal) -> None:
    """The worker crashes before any statement, or after a commit or a call, and the first event is published again."""
    in_doubt(database, shop)
    first = events.parse(letters.find(shop.connection, scalar(shop.connection, _LETTER)).event_data)
    edit(shop)
    publish(shop.connection, first)
    (entry,) = portal.record.entries

    def arrange() -> None:
        portal.start_over()
        portal.record.accept(entry.account, entry.form, entry.accepted_at.timestamp())

    crash_everywhere(
        database,
        WIRING.effects[ItemRequested],
        arrange=arrange,
        observe=lambda _: [entry.form.reference for entry in portal.record.entries],
        faults=[Fault.DIES_BEFORE, Fault.DIES_AFTER],
    )


# Another job with the same order -----------------------------------------------------------------


def test_another_job_finds_an_order_in_doubt(database: Database, shop: Shop, portal: Portal) -> None:
    """Its robot asks for the first job's reference too."""
    item = in_doubt(database, shop)
    second = jobs.create_robot_job(shop.context, [item.order_id])
    drain_all(shop.connection)
    (found,) = items_of(shop, second.id)
    (entry,) = portal.record.entries
    assert (found.status, found.tracking_number) == ("success", entry.tracking_number)
    assert (found.value_sent or {})["reference"] == rules.reference(item.id, 0)
    replay(shop)
    drain_all(shop.connection)
    assert [one.status for one in items_of(shop, item.job_id)] == ["success"]
    assert portal.record.summary().accepted == 1
    assert broken(shop.connection) == []


@pytest.mark.parametrize("retried", [False, True])
def test_another_job_finds_an_order_whose_answer_was_lost(
    shop: Shop, portal: Portal, monkeypatch: pytest.MonkeyPatch, *, retried: bool
) -> None:
    """At the first or a later attempt of the first job's item."""
    monkeypatch.setenv("TALLYMAN_MOST_ATTEMPTS", "1")
    settings.cache_clear()
    orders = shop.order(1)
    if retried:
        portal.change(rules=(Rule(field="address", contains="Calle", then="error"),))
    first = jobs.create_robot_job(shop.context, orders)
    drain_all(shop.connection)
    portal.change(rules=(Rule(field="address", contains="Calle", then="lost", times=1),))
    if retried:
        jobs.retry_failed_items(shop.context, first.id)
        drain_all(shop.connection)
    else:
        first = jobs.create_robot_job(shop.context, orders := shop.order(1))
        drain_all(shop.connection)
    assert [item.status for item in items_of(shop, first.id)] == ["error"]
    before = portal.record.summary().accepted
    second = jobs.create_robot_job(shop.context, orders)
    drain_all(shop.connection)
    assert [item.status for item in items_of(shop, second.id)] == ["success"]
    assert portal.record.summary().accepted == before


def test_an_order_that_was_shipped_is_shipped_again_by_another_job(shop: Shop, portal: Portal) -> None:
    """A success is no doubt."""
    orders = shop.order(2)
    for _ in range(2):
        jobs.create_robot_job(shop.context, orders)
        drain_all(shop.connection)
    assert portal.record.summary().accepted == 4


def test_another_job_asks_no_earlier_than_the_grace_period_ends(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, portal: Portal
) -> None:
    """The first job's item failed without a clear answer just before."""
    orders = shop.order(1)
    first = jobs.create_robot_job(shop.context, orders)
    (item,) = items_of(shop, first.id)
    update_job_item_result(shop.context, failure(item, "timeout"))
    monkeypatch.setenv("TALLYMAN_PORTAL_SETTLE", "60")
    settings.cache_clear()
    shop.connection.execute("DELETE FROM public.procrastinate_jobs")
    jobs.create_robot_job(shop.context, orders)
    drain()
    assert portal.record.entries == []
    assert 25 < scalar(shop.connection, _DELAY) <= 90
    shop.connection.execute("UPDATE logistics.robot_job_items SET completed_at = completed_at - interval '61 s'")
    drain_all(shop.connection)
    assert portal.record.summary().accepted == 1


@pytest.mark.parametrize("way", [edit, replay, ask_oneself], ids=lambda way: str(way.__name__))
def test_a_call_that_was_just_left_behind_has_its_grace_period(
    database: Database, shop: Shop, portal: Portal, monkeypatch: pytest.MonkeyPatch, way: Callable[[Shop], None]
) -> None:
    """The portal may still be entering the order."""
    in_doubt(database, shop)
    monkeypatch.setenv("TALLYMAN_PORTAL_SETTLE", "60")
    settings.cache_clear()
    way(shop)
    drain()
    assert 50 < scalar(shop.connection, _DELAY) <= 60
    assert only_item(shop).status in {"pending", "processing"}
    worker.let_time_pass(shop.connection)
    drain_all(shop.connection)
    assert only_item(shop).status == "success"
    assert portal.record.summary().accepted == 1


def test_an_edit_is_refused_while_a_copy_is_called(database: Database, shop: Shop) -> None:
    """Nothing is changed."""
    item = in_doubt(database, shop)
    row = scalar(
        shop.connection,
        "INSERT INTO public.procrastinate_jobs (queue_name, task_name) VALUES ('robots', 'perform') RETURNING id",
    )
    shop.connection.execute("UPDATE public.procrastinate_jobs SET status = 'doing' WHERE id = %s", [row])
    shop.connection.execute("UPDATE engine.calls SET row_id = %s, attempts = 0, worker_id = NULL", [row])
    with pytest.raises(Conflict, match="is being made at this moment"):
        edit(shop)
    assert scalar(shop.connection, "SELECT event_id FROM engine.failed_jobs WHERE resolved_at IS NULL") == UUID(
        str(rules.request_id(item.id, 0))
    )
