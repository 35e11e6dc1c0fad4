"""The declarations of collection for workers and operators."""

from __future__ import annotations

from app.collection import invariants
from app.collection.effects import QUEUE
from app.collection.parts import PARTS
from events import collection


def test_every_event_of_the_domain_is_served() -> None:
    """Requests by the effect, the others by handlers, each with a forecast unless it changes nothing."""
    (wiring,) = PARTS.wirings
    assert set(wiring.effects) == {collection.PageRequested}
    handled = {
        collection.JobSubmitted,
        collection.RunPaused,
        collection.JobCompleted,
        collection.BudgetWarned,
        collection.PageCompleted,
        collection.ItemCompleted,
    }
    assert set(wiring.handlers) == handled
    assert {*wiring.handlers, *wiring.effects} - set(wiring.forecasts) == {collection.BudgetWarned}
    assert wiring.effects[collection.PageRequested].queue == QUEUE


def test_places_are_locked_before_runs_and_pages() -> None:
    """The lock order of all deliveries."""
    (wiring,) = PARTS.wirings
    assert [one.table for one in wiring.lockables] == ["places", "collection_runs", "collection_pages"]


def test_operators_get_the_checks_of_the_domain() -> None:
    """Each invariant once, and explanations of runs, items and organisations."""
    names = [invariant.name for invariant in PARTS.invariants]
    assert len(set(names)) == len(names) == len(invariants.COLLECTION)
    (explainer,) = PARTS.explainers
    assert None not in (explainer.job, explainer.item, explainer.tenant, explainer.tenant_of)
