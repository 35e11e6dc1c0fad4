"""The robot enters each order at most once, and records the outcome of each call as a result."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr

import events
from app.context import HandlerContext
from app.logistics import carriers, coverage, effects, jobs
from app.logistics.coverage import CoverageRow
from app.logistics.gateway import PortalTimeout, PortalUnavailable
from app.logistics.store import RobotJob, RobotJobItem
from app.settings import settings
from app.simulators.portal import Portal, Rule
from events import Event, new_id
from events.robot import ItemRequested
from tests.helpers.robot_results import broken, items_of, submitted
from tests.helpers.shops import Shop
from tests.helpers.support import drain, drain_all, scalar, waiting

pytestmark = pytest.mark.usefixtures("hasty")


def rule(then: Any, **fields: Any) -> tuple[Rule, ...]:
    """Return rules of the portal for every order of a test, or for those that `fields` select."""
    return (Rule(**{"field": "address", "contains": "Calle", "then": then, **fields}),)


def worked(shop: Shop, job: RobotJob) -> tuple[RobotJob, list[RobotJobItem]]:
    """Deliver everything. Returns the job and its items."""
    drain_all(shop.connection)
    assert waiting(shop.connection) == 0
    assert broken(shop.connection) == []
    return jobs.get_robot_job(shop.context, job.id), items_of(shop, job.id)


def ship(shop: Shop, count: int = 1, **fields: Any) -> tuple[RobotJob, list[RobotJobItem]]:
    """Submit new orders with these fields, and deliver everything."""
    return worked(shop, jobs.create_robot_job(shop.context, shop.order(count, **fields)))


def retry(shop: Shop, job: RobotJob) -> tuple[RobotJob, list[RobotJobItem]]:
    """Retry failed items, and deliver everything."""
    jobs.retry_failed_items(shop.context, job.id)
    return worked(shop, job)


def test_a_job_goes_from_orders_to_tracking_numbers(shop: Shop, portal: Portal) -> None:
    """Every order has its number, and the job completes once."""
    job, items = ship(shop, 40)
    assert (job.status, job.success_count, job.error_count) == ("completed", 40, 0)
    assert {item.status for item in items} == {"success"}
    assert {item.tracking_number for item in items} == {entry.tracking_number for entry in portal.record.entries}
    assert (portal.record.summary().accepted, portal.record.duplicates) == (40, [])
    assert scalar(shop.connection, "SELECT count(*) FROM engine.event_log WHERE type = 'robot/job.completed'") == 1
    assert scalar(shop.connection, "SELECT count(*) FROM logistics.orders WHERE tracking_number IS NOT NULL") == 40


def test_the_stored_form_is_the_one_that_was_sent(shop: Shop, portal: Portal) -> None:
    """With the carrier's spelling of the city, under the item's reference."""
    _, (item,) = ship(shop, city="BOGOTA, D.C.", units=3, weight_kg="2.25", recipient_email="ana@example.org")
    (entry,) = portal.record.entries
    assert item.value_sent == entry.form.model_dump()
    assert (entry.form.reference, entry.form.city, item.validated_city) == (
        f"{item.id}-0",
        "BOGOTA (C/MARCA)",
        "BOGOTA (C/MARCA)",
    )
    assert (entry.form.units, entry.form.weight_kg) == (3, 2.25)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ({"city": "Mitú", "department": "Vaupés"}, "city: coordinadora does not serve 'Mitú' in 'Vaupés'"),
        ({"city": "Medellín", "department": "Cundinamarca"}, "it serves it in Antioquia"),
        ({"city": "Armenia", "department": None}, "in several departments; name one of Antioquia, Quindío"),
    ],
)
def test_a_city_that_the_carrier_does_not_serve_is_no_call(
    shop: Shop, portal: Portal, place: dict[str, Any], words: str
) -> None:
    """A `validation` error with the reason, without a login. Other orders are entered."""
    twins = [
        CoverageRow(city="Armenia", department=department, carrier_city=name)
        for department, name in (("Quindío", "ARMENIA (QUI)"), ("Antioquia", "ARMENIA (ANT)"))
    ]
    coverage.import_coverage(shop.connection, "coordinadora", twins)
    _, (item,) = ship(shop, **place)
    assert (item.status, item.error_type, item.value_sent) == ("error", "validation", None)
    assert words in (item.error_message or "")
    assert portal.record.summary() == type(portal.record)().summary()
    good, bad = shop.order(1), shop.order(1, **place)
    _, items = worked(shop, jobs.create_robot_job(shop.context, [*bad, *good]))
    assert [item.status for item in items] == ["error", "success"]


def test_a_carrier_that_is_disabled_while_orders_wait_is_not_called(shop: Shop, portal: Portal) -> None:
    """They fail with `validation`. A retry succeeds once it is enabled."""
    job = jobs.create_robot_job(shop.context, shop.order(3))
    drain(queues=["events"])
    carriers.disable_carrier(shop.context, "coordinadora")
    job, items = worked(shop, job)
    assert (job.status, {item.error_type for item in items}) == ("failed", {"validation"})
    assert portal.record.summary() == type(portal.record)().summary()
    carriers.enable_carrier(shop.context, "coordinadora")
    job, items = retry(shop, job)
    assert (job.status, job.success_count, job.generation) == ("completed", 3, 2)


def test_a_refused_order_has_the_portals_reason(shop: Shop, portal: Portal) -> None:
    """A `portal` error with what was sent, after one attempt."""
    portal.change(rules=rule("refuse", message="rural address: no route"))
    job, (item,) = ship(shop)
    assert (job.status, item.error_type, item.error_message) == ("failed", "portal", "rural address: no route")
    assert (item.value_sent or {})["reference"] == f"{item.id}-0"
    assert (portal.record.refused, portal.record.entries) == (1, [])


@pytest.mark.parametrize("then", ["timeout", "error", "drip"])
def test_a_portal_that_fails_once_is_asked_and_tried_again(shop: Shop, portal: Portal, then: str) -> None:
    """Without an answer, with a wrong one, or with an endless one: the order is entered once."""
    portal.change(rules=rule(then, times=1))
    job, items = ship(shop, 3)
    assert (job.success_count, portal.record.summary().accepted) == (3, 3)
    assert portal.record.errors + portal.record.timeouts == 3
    assert {item.retry_count for item in items} == {0}


@pytest.mark.parametrize("heard", ["error", "hold"])
def test_an_order_whose_answer_was_lost_is_found_and_not_entered_again(shop: Shop, portal: Portal, heard: str) -> None:
    """The portal accepted it and knows the reference."""
    portal.change(rules=rule("lost"), lost_answer=heard)
    job, items = ship(shop, 3)
    assert (job.status, job.success_count) == ("completed", 3)
    assert (portal.record.summary().accepted, portal.record.lost, portal.record.duplicates) == (3, 3, [])
    assert {item.tracking_number for item in items} == {entry.tracking_number for entry in portal.record.entries}


@pytest.mark.parametrize(("then", "kind"), [("timeout", "timeout"), ("error", "portal")])
def test_a_portal_that_keeps_failing_is_a_result_that_can_be_retried(
    shop: Shop, portal: Portal, then: str, kind: str
) -> None:
    """After the last attempt the item fails with its type. A retry enters it once."""
    portal.change(rules=rule(then))
    job, (item,) = ship(shop)
    assert (job.status, item.error_type) == ("failed", kind)
    assert portal.record.errors + portal.record.timeouts == 3
    assert scalar(shop.connection, "SELECT count(*) FROM engine.failed_jobs") == 0
    portal.change(rules=())
    job, (item,) = retry(shop, job)
    assert (job.status, item.status, item.retry_count, item.error_type) == ("completed", "success", 1, None)
    assert [entry.form.reference for entry in portal.record.entries] == [f"{item.id}-1"]


@pytest.mark.parametrize(("then", "kind"), [("lost", "portal"), ("garble", "unknown")])
def test_a_retry_finds_what_an_earlier_attempt_entered(
    shop: Shop, portal: Portal, monkeypatch: pytest.MonkeyPatch, then: str, kind: str
) -> None:
    """Although the item failed: the retry takes that number."""
    give_up_at_once(monkeypatch)
    portal.change(rules=rule(then))
    job, (item,) = ship(shop)
    assert (job.status, item.error_type, item.tracking_number) == ("failed", kind, None)
    assert portal.record.summary().accepted == 1
    job, (item,) = retry(shop, job)
    assert (job.status, item.status, item.retry_count) == ("completed", "success", 1)
    assert portal.record.summary().accepted == 1
    assert item.tracking_number == portal.record.entries[0].tracking_number
    assert item.value_sent == portal.record.entries[0].form.model_dump()


def give_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One attempt for each event."""
    monkeypatch.setenv("TALLYMAN_MOST_ATTEMPTS", "1")
    settings.cache_clear()


def test_one_login_serves_a_job_and_an_expired_session_is_renewed(shop: Shop, portal: Portal) -> None:
    """There are as many logins as expired sessions."""
    ship(shop, 20)
    assert portal.record.logins == 1
    portal.change(session_uses=6)
    job, _ = ship(shop, 20)
    assert (job.status, job.success_count, portal.record.summary().accepted) == ("completed", 20, 40)
    assert portal.record.logins > 3


def test_each_workspace_has_its_own_account(shop: Shop, other: Shop, portal: Portal) -> None:
    """Orders are entered under their workspace's login, also in one batch."""
    portal.change(accounts={"demo": "demo-password", "second": "2nd"})
    carriers.set_carrier(other.context, "coordinadora", username="second", password=SecretStr("2nd"))
    ours = jobs.create_robot_job(shop.context, shop.order(5))
    theirs = jobs.create_robot_job(other.context, other.order(5))
    _, items = worked(shop, ours)
    accounts = {entry.form.reference: entry.account for entry in portal.record.entries}
    assert {accounts[f"{item.id}-0"] for item in items} == {"demo"}
    assert {accounts[f"{item.id}-0"] for item in items_of(other, theirs.id)} == {"second"}


def test_a_call_has_the_limit_of_its_account(shop: Shop, other: Shop) -> None:
    """`max_sessions` of the workspace's account, over all workers. A request without an account has no limit."""
    carriers.set_carrier(shop.context, "coordinadora", max_sessions=7)

    def request(shop: Shop, carrier: str, tenant: UUID | None) -> Event[ItemRequested]:
        ids = {name: new_id() for name in ("job_id", "item_id", "order_id")}
        data = ItemRequested(**ids, attempt=0, carrier=carrier)
        return events.new(data, now=shop.context.now, subject=data.job_id, tenant=tenant)

    ours, again = (request(shop, "coordinadora", shop.workspace_id) for _ in range(2))
    theirs = request(other, "coordinadora", other.workspace_id)
    without = [request(shop, "dhl", shop.workspace_id), request(shop, "coordinadora", None)]
    found = effects.limits(shop.connection, [ours, again, theirs, *without])
    assert found.keys() == {ours.id, again.id, theirs.id}
    assert (found[ours.id], found[ours.id].most) == (found[again.id], 7)
    assert found[theirs.id].key != found[ours.id].key


@pytest.mark.parametrize(
    ("error", "kind"),
    [(PortalTimeout("late", maybe_entered=True), "timeout"), (PortalUnavailable("down", maybe_entered=True), "portal")],
)
def test_a_robot_that_gives_up_reports_an_item_that_can_be_retried(shop: Shop, error: Exception, kind: str) -> None:
    """The result has the error; a retry asks the portal first."""
    _, (item,) = submitted(shop, 1)
    data = ItemRequested(job_id=item.job_id, item_id=item.id, order_id=item.order_id, attempt=0, carrier="coordinadora")
    event = events.new(data, now=shop.context.now, subject=data.job_id, tenant=shop.workspace_id)
    with shop.connection.transaction(force_rollback=True):
        (prepared,) = effects.prepare(HandlerContext.begin(shop.connection), [event])
        assert items_of(shop, item.job_id)[0].status == "processing"
    result = effects.give_up(prepared, error)
    assert (result.item_id, result.attempt, result.status, result.error_type) == (item.id, 0, "error", kind)
    assert result.error_message == f"{error}; a retry asks the portal before it enters anything"
