"""Every handler and every effect of the program: wherever its worker dies, the end is that of an undisturbed run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

import events
from app.logistics import carriers
from app.logistics.jobs import create_robot_job
from app.program import WIRING
from app.settings import settings
from app.simulators.portal import Portal
from app.testing.crashes import crash_everywhere
from app.testing.drain import drain
from app.testing.faults import Fault
from events import Event, Payload
from events.order import OrderUpdated
from events.robot import ItemCompleted, ItemRequested, JobCompleted, JobSubmitted
from tests.conftest import Database
from tests.helpers.robot_results import failure, said, submitted, success
from tests.helpers.shops import Shop

CHANGING = ("logistics.robot_job_items.tracking_number", "logistics.orders.tracking_number")
"""What the portal gives in the order of its entries, which a second try changes."""


@dataclass(frozen=True, slots=True)
class Case:
    """Events of one type, and what is special about their delivery: words of `crash_everywhere`.

    `make` arranges and returns the events; none are those that now wait in the queue.
    """

    name: str
    payload: type[Payload]
    make: Callable[[Shop], list[Event[Any]]]
    grace: float = 0
    """Seconds that the portal has before it is asked; they pass when nothing else is due."""
    options: dict[str, Any] = field(default_factory=dict)


def a_job(shop: Shop) -> list[Event[Any]]:
    """A job of two orders, submitted."""
    create_robot_job(shop.context, shop.order(2))
    return []


def two_jobs(shop: Shop) -> list[Event[Any]]:
    """Two jobs, each a queue row of its own: siblings."""
    return [*a_job(shop), *a_job(shop)]


def results(shop: Shop) -> list[Event[Any]]:
    """Every result of a job, one of them a failure and one said twice."""
    _, items = submitted(shop, 3)
    shop.connection.execute("DELETE FROM public.procrastinate_jobs")
    return [said(shop, one) for one in (success(items[0]), success(items[1]), success(items[1]), failure(items[2]))]


def a_strange_result(shop: Shop) -> list[Event[Any]]:
    """Two results, and one that is another workspace's."""
    return [*results(shop)[:2], said(shop, success(submitted(shop, 1)[1][0]), tenant=events.new_id())]


def a_late_result(shop: Shop) -> list[Event[Any]]:
    """A result of an attempt that nobody waits for."""
    _, (item,) = submitted(shop, 1)
    shop.connection.execute("DELETE FROM public.procrastinate_jobs")
    return [said(shop, success(item, attempt=7))]


def facts(payload: Payload) -> Callable[[Shop], list[Event[Any]]]:
    """Two facts that are noted."""
    return lambda shop: [
        events.new(payload, now=datetime.now(UTC), subject=events.new_id(), tenant=shop.workspace_id) for _ in range(2)
    ]


def orders_to_enter(shop: Shop) -> list[Event[Any]]:
    """Two orders of a job, about to be entered."""
    create_robot_job(shop.context, shop.order(2))
    drain(queues=["events"])
    return []


def one_at_a_time(shop: Shop) -> list[Event[Any]]:
    """The same, in an account that allows one session: the second order has to wait for the slot of the first."""
    carriers.set_carrier(shop.context, "coordinadora", max_sessions=1)
    create_robot_job(shop.context, shop.order(1))
    create_robot_job(shop.context, shop.order(1))
    drain(queues=["events"])
    return []


CASES = (
    Case("a job", JobSubmitted, a_job),
    Case("two jobs", JobSubmitted, two_jobs),
    Case("results", ItemCompleted, results),
    Case("results, each in a row of its own", ItemCompleted, results, options={"batch_size": 1}),
    Case("a strange result", ItemCompleted, a_strange_result, options={"dead": 1}),
    Case("a late result", ItemCompleted, a_late_result),
    Case("orders", ItemRequested, orders_to_enter),
    Case("orders, with a grace period", ItemRequested, orders_to_enter, grace=60),
    Case("orders, one at a time", ItemRequested, one_at_a_time),
    Case("orders whose delivery makes room", ItemRequested, orders_to_enter, options={"makes_room": True}),
    Case(
        "job completed",
        JobCompleted,
        facts(JobCompleted(job_id=events.new_id(), success_count=0, error_count=0, generation=1)),
    ),
    Case("order updated", OrderUpdated, facts(OrderUpdated(order_id=events.new_id(), before={}, after={}))),
)


@pytest.mark.parametrize("payload", [*WIRING.handlers, *WIRING.effects], ids=lambda payload: str(payload.type))
def test_every_event_has_a_case(payload: type[Payload]) -> None:
    """A new handler or effect is not done until its crash points are tried."""
    assert payload in {case.payload for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_worker_may_die_anywhere(
    database: Database, shop: Shop, portal: Portal, monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    """Nothing is lost, nothing happens twice, and the portal has each order as often as it should."""
    monkeypatch.setenv("TALLYMAN_PORTAL_SETTLE", str(case.grace))
    settings.cache_clear()
    given = case.make(shop)
    served = WIRING.handlers.get(case.payload) or WIRING.effects[case.payload]
    report = crash_everywhere(
        database,
        served,
        given,
        arrange=portal.start_over,
        observe=lambda _: sorted(entry.form.reference for entry in portal.record.entries),
        ignore=CHANGING,
        **case.options,
    )
    assert all(report.tried[fault] for fault in Fault)
