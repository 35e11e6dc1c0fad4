"""The wiring of a batch."""

from __future__ import annotations

from dataclasses import replace

from app.engine.batches import handlers
from app.engine.batches.wiring import wiring
from app.engine.domain import Wiring
from tests.helpers.card_events import dead, said
from tests.helpers.cards import PRINTS, Completed, Office, PrintCompleted, Requested, Submitted


def test_every_event_of_a_batch_is_served_and_forecast(served: Wiring) -> None:
    """Requests by the effect, the others by handlers. A completed job needs no forecast."""
    assert set(served.handlers) == {Submitted, Completed, PrintCompleted}
    assert set(served.effects) == {Requested}
    assert set(served.forecasts) == {Submitted, Requested, Completed}
    assert served.handlers[PrintCompleted] is handlers.ignore


def test_the_effect_of_requests_knows_the_batch(served: Wiring) -> None:
    """It can be revived, discarded and recorded by hand, and its key is that of the attempt."""
    own = replace(served.effects[Requested], revive=None, discard=None, open_=None, call_key=None, result=None)
    effect = wiring(PRINTS, own).effects[Requested]
    assert (effect.queue, effect.result) == ("prints", Completed)
    assert None not in (effect.revive, effect.discard, effect.open_, effect.call_key)


def test_jobs_are_locked_before_items(office: Office, served: Wiring) -> None:
    """One lock order for all deliveries: the rows of an event are named in it."""
    (card,) = office.cards(office.submit("a").id)
    jobs, items = served.lockables
    assert (jobs.name, items.name) == ("cards.prints", "cards.cards")
    assert (jobs.id_of(said(office, card)), items.id_of(said(office, card))) == (card.job_id, card.id)
    assert (jobs.id_of(dead(office, card)), items.id_of(dead(office, card))) == (None, card.id)
    assert len(served.locks) == 1
