"""The declarations of logistics for workers and operators."""

from __future__ import annotations

from app.engine.domain import Wiring
from app.engine.merge import merged
from app.logistics import invariants
from app.logistics.effects import ROBOTS_QUEUE
from app.logistics.parts import PARTS
from events import order, robot


def whole() -> Wiring:
    """Return the wirings of the domain as one."""
    return merged(("logistics", one) for one in PARTS.wirings)


def test_every_event_of_the_domain_is_served() -> None:
    """Requests by robots, the others by handlers."""
    wiring = whole()
    assert set(wiring.effects) == {robot.ItemRequested}
    assert set(wiring.handlers) == {robot.JobSubmitted, robot.ItemCompleted, robot.JobCompleted, order.OrderUpdated}
    assert wiring.effects[robot.ItemRequested].queue == ROBOTS_QUEUE


def test_orders_are_locked_after_jobs_and_items() -> None:
    """The lock order of all deliveries."""
    assert [lockable.table for lockable in whole().lockables] == ["robot_jobs", "robot_job_items", "orders"]


def test_operators_get_the_checks_of_batches_and_of_the_domain() -> None:
    """Each once."""
    assert all(invariant in PARTS.invariants for invariant in invariants.LOGISTICS)
    names = [invariant.name for invariant in PARTS.invariants]
    assert len(set(names)) == len(names) > len(invariants.LOGISTICS)
    (explainer,) = PARTS.explainers
    assert None not in (explainer.job, explainer.item, explainer.tenant, explainer.tenant_of)
