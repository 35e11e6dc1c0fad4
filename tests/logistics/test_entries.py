"""What entering an order needs, and the payloads of its results."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import events
from app.engine.batches.store import item_states
from app.logistics import entries, traces
from app.logistics.coverage import Covered
from app.logistics.entries import Entry
from app.logistics.gateway import Accepted
from app.logistics.store import ROBOT_JOBS
from events.robot import ItemRequested
from tests.helpers.robot_results import submitted
from tests.helpers.shops import Shop


def entry(shop: Shop, **order: Any) -> Entry:
    """Return the entry of a new order. `order`: other fields of it."""
    job, _ = submitted(shop, 1)
    (order_id,) = shop.order(1, **order)
    _, (item,) = submitted(shop, 1)
    asked = ItemRequested(job_id=job.id, item_id=item.id, order_id=order_id, attempt=0, carrier="coordinadora")
    event = events.new(asked, now=shop.context.now, subject=job.id, tenant=shop.workspace_id)
    states = item_states(shop.connection, ROBOT_JOBS, [item.id])
    (made,) = entries.load(shop.connection, [event], states, traces.find(shop.connection, states.values()))
    return made


def test_an_entry_has_the_order_the_account_and_the_carriers_city(shop: Shop) -> None:
    """Its form carries the item's reference and the carrier's spelling, and its success the same form."""
    made = entry(shop, city="BOGOTA, D.C.", units=3)
    assert made.config is not None
    assert made.config.is_ready
    assert isinstance(made.city, Covered)
    assert entries.refusal(made) is None
    form = entries.form(made, made.city)
    assert (form.reference, form.city, form.units) == (f"{made.requested.item_id}-0", "BOGOTA (C/MARCA)", 3)
    done = entries.succeeded(made, Accepted(reference=form.reference, tracking_number="7", city=form.city), form)
    assert (done.status, done.tracking_number, done.validated_city) == ("success", "7", form.city)
    assert done.value_sent == form.model_dump(mode="json")


def test_an_order_without_a_usable_account_or_city_is_refused_with_the_reason(shop: Shop) -> None:
    """The account comes first."""
    made = entry(shop, city="Mitú", department="Vaupés")
    assert "does not serve 'Mitú'" in (entries.refusal(made) or "")
    assert "is disabled" in (entries.refusal(replace(made, config=None)) or "")


def test_a_refusal_is_a_validation_error_unless_the_order_may_be_there(shop: Shop) -> None:
    """Then the result is unknown, and a retry asks the portal."""
    made = entry(shop)
    first, second = (entries.refused(made, "no", may_be_there=known) for known in (False, True))
    assert (first.error_type, first.error_message, first.value_sent) == ("validation", "no", None)
    assert second.error_type == "unknown"
    assert "a retry asks the portal first" in (second.error_message or "")
