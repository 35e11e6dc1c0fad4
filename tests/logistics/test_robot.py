"""The robot: each order is entered at most once, and what happens becomes a result."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from app.logistics import carriers, coverage, jobs
from app.logistics.coverage import CoverageRow
from app.logistics.store import RobotJob, RobotJobItem
from app.settings import settings
from app.simulators.portal import Portal, Rule
from tests.helpers.robot_results import broken, items_of
from tests.helpers.shops import Shop
from tests.helpers.support import drain, drain_all, scalar, waiting

pytestmark = pytest.mark.usefixtures("hasty")


def rule(then: Any, **fields: Any) -> tuple[Rule, ...]:
    """What the portal does with every order that a test makes, unless it says with which."""
    return (Rule(**{"field": "address", "contains": "Calle", "then": then, **fields}),)


def worked(shop: Shop, job: RobotJob) -> tuple[RobotJob, list[RobotJobItem]]:
    """The job and its items when nothing waits any more."""
    drain_all(shop.connection)
    assert waiting(shop.connection) == 0
    assert broken(shop.connection) == []
    return jobs.get_robot_job(shop.context, job.id), items_of(shop, job.id)


def ship(shop: Shop, count: int = 1, **fields: Any) -> tuple[RobotJob, list[RobotJobItem]]:
    """Submit so many new orders, with these fields, and let the workers do what they can."""
    return worked(shop, jobs.create_robot_job(shop.context, shop.order(count, **fields)))


def retry(shop: Shop, job: RobotJob) -> tuple[RobotJob, list[RobotJobItem]]:
    """Ask for what failed again, and let the workers do what they can."""
    jobs.retry_failed_items(shop.context, job.id)
    return worked(shop, job)


def test_a_job_goes_from_orders_to_tracking_numbers(shop: Shop, portal: Portal) -> None:
    """Submit, work, count: every order has its number, the job is completed once."""
    job, items = ship(shop, 40)
    assert (job.status, job.success_count, job.error_count) == ("completed", 40, 0)
    assert {item.status for item in items} == {"success"}
    assert {item.tracking_number for item in items} == {entry.tracking_number for entry in portal.record.entries}
    assert (portal.record.summary().accepted, portal.record.duplicates) == (40, [])
    assert scalar(shop.connection, "SELECT count(*) FROM engine.event_log WHERE type = 'robot/job.completed'") == 1
    assert scalar(shop.connection, "SELECT count(*) FROM logistics.orders WHERE tracking_number IS NOT NULL") == 40


def test_what_was_sent_is_what_the_portal_got(shop: Shop, portal: Portal) -> None:
    """To the letter, with the carrier's own spelling of the city, under the item's reference."""
    _, (item,) = ship(shop, city="BOGOTA, D.C.", units=3, weight_kg="2.25", recipient_email="ana@example.org")
    (entry,) = portal.record.entries
    assert item.value_sent == entry.form.model_dump()
    assert (entry.form.reference, entry.form.city, item.validated_city) == (
        f"{item.id}-0",
        "BOGOTA (C/MARCA)",
        "BOGOTA (C/MARCA)",
    )
    assert (entry.form.units, entry.form.weight_kg) == (3, 2.25)


# What is not even tried --------------------------------------------------------------------------


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
    """A `validation` error with the reason; the portal is not even logged in to. Orders beside it are entered."""
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
    """They fail by `validation`, and a retry succeeds once it is enabled again."""
    job = jobs.create_robot_job(shop.context, shop.order(3))
    drain(queues=["events"])
    carriers.disable_carrier(shop.context, "coordinadora")
    job, items = worked(shop, job)
    assert (job.status, {item.error_type for item in items}) == ("failed", {"validation"})
    assert portal.record.summary() == type(portal.record)().summary()
    carriers.enable_carrier(shop.context, "coordinadora")
    job, items = retry(shop, job)
    assert (job.status, job.success_count, job.generation) == ("completed", 3, 2)


# What the portal does ----------------------------------------------------------------------------


def test_a_refusal_is_the_portals_word(shop: Shop, portal: Portal) -> None:
    """A `portal` error with the portal's reason and what was sent, after one try."""
    portal.change(rules=rule("refuse", message="rural address: no route"))
    job, (item,) = ship(shop)
    assert (job.status, item.error_type, item.error_message) == ("failed", "portal", "rural address: no route")
    assert (item.value_sent or {})["reference"] == f"{item.id}-0"
    assert (portal.record.refused, portal.record.entries) == (1, [])


@pytest.mark.parametrize("then", ["timeout", "error", "drip"])
def test_a_portal_that_fails_once_is_asked_and_tried_again(shop: Shop, portal: Portal, then: str) -> None:
    """Without an answer, with a wrong one, or with one that never ends: entered once in the end."""
    portal.change(rules=rule(then, times=1))
    job, items = ship(shop, 3)
    assert (job.success_count, portal.record.summary().accepted) == (3, 3)
    assert portal.record.errors + portal.record.timeouts == 3
    assert {item.retry_count for item in items} == {0}


@pytest.mark.parametrize("heard", ["error", "hold"])
def test_an_order_whose_answer_was_lost_is_found_and_not_entered_again(shop: Shop, portal: Portal, heard: str) -> None:
    """Accepted, but the robot heard of an error or of nothing: the portal knows the reference."""
    portal.change(rules=rule("lost"), lost_answer=heard)
    job, items = ship(shop, 3)
    assert (job.status, job.success_count) == ("completed", 3)
    assert (portal.record.summary().accepted, portal.record.lost, portal.record.duplicates) == (3, 3, [])
    assert {item.tracking_number for item in items} == {entry.tracking_number for entry in portal.record.entries}


@pytest.mark.parametrize(("then", "kind"), [("timeout", "timeout"), ("error", "portal")])
def test_a_portal_that_fails_for_good_is_a_result_that_can_be_retried(
    shop: Shop, portal: Portal, then: str, kind: str
) -> None:
    """After the last attempt the item fails by its type; once the portal is mended a retry enters it, once."""
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
    """The portal has the order though the item failed: the retry takes that number and enters nothing."""
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
    """One delivery, and a transient error is final."""
    monkeypatch.setenv("TALLYMAN_MOST_ATTEMPTS", "1")
    settings.cache_clear()


def test_one_login_serves_a_job_and_an_expired_session_is_renewed(shop: Shop, portal: Portal) -> None:
    """Logins are few while sessions last, and as many as it takes when they don't."""
    ship(shop, 20)
    assert portal.record.logins == 1
    portal.change(session_uses=6)
    job, _ = ship(shop, 20)
    assert (job.status, job.success_count, portal.record.summary().accepted) == ("completed", 20, 40)
    assert portal.record.logins > 3


def test_each_workspace_has_its_own_account(shop: Shop, other: Shop, portal: Portal) -> None:
    """Orders travel under the login of their own workspace, in one batch with others'."""
    portal.change(accounts={"demo": "demo-password", "second": "2nd"})
    carriers.set_carrier(other.context, "coordinadora", username="second", password=SecretStr("2nd"))
    ours = jobs.create_robot_job(shop.context, shop.order(5))
    theirs = jobs.create_robot_job(other.context, other.order(5))
    _, items = worked(shop, ours)
    accounts = {entry.form.reference: entry.account for entry in portal.record.entries}
    assert {accounts[f"{item.id}-0"] for item in items} == {"demo"}
    assert {accounts[f"{item.id}-0"] for item in items_of(other, theirs.id)} == {"second"}
