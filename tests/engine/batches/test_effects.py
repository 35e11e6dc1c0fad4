"""The effect of a batch: each item is done once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from app.context import HandlerContext
from app.engine import batches, domain
from app.engine.batches import effects, rules
from app.engine.dead_letters import plan as plans
from app.engine.dead_letters.letters import Filters
from app.engine.dead_letters.redeliver import redeliver
from app.engine.domain import Policy, Wiring
from app.errors import Busy, FailingEvents
from app.testing.drain import drain, drain_all
from events import new_id
from tests.helpers.card_events import counters, dead, deliver, failed, under_way
from tests.helpers.cards import PRINTS, Office, PrintShop, Requested
from tests.helpers.support import scalar

DOUBT = """
INSERT INTO engine.calls (call_key, event_id, row_id, attempts) VALUES (%s, gen_random_uuid(), 0, 0)
"""


def test_a_card_is_printed_under_its_reference(office: Office, shop: PrintShop) -> None:
    """It has the item and the attempt. Before a first call the shop is not asked."""
    job = office.submit("a")
    drain_all(office.connection)
    (card,) = office.cards(job.id)
    assert shop.printed == {f"{card.id}-0": "a"}
    assert shop.asked == []
    assert (card.status, card.print_number) == ("success", f"P-{card.id}-0")
    assert card.started_at is not None


def test_a_transient_error_is_tried_again(office: Office, shop: PrintShop) -> None:
    """The shop is asked before the next attempt, and the card is printed once."""
    shop.closed = 1
    job = office.submit("a")
    drain_all(office.connection)
    assert counters(office, job.id) == ("completed", 1, 0)
    assert (shop.times, len(shop.asked)) == ({"a": 1}, 1)


def test_the_last_transient_error_is_the_result(office: Office, shop: PrintShop) -> None:
    """The item fails with it, and the job completes."""
    shop.closed = 10
    effect = batches.effect(
        PRINTS, queue="prints", call=shop.print, find=shop.find, policy=Policy(most_attempts=2, base=0.01)
    )
    job = office.submit("a")
    with domain.use(batches.wiring(PRINTS, effect)):
        drain_all(office.connection)
    (card,) = office.cards(job.id)
    assert (card.error_type, card.error_message) == ("unknown", "the shop is closed")
    assert counters(office, job.id) == ("failed", 0, 1)


def test_a_call_in_doubt_is_looked_up(office: Office, shop: PrintShop) -> None:
    """A printed card is the result, also of a cancelled job."""
    job = office.submit("a")
    drain(queues=["events"])
    (card,) = office.cards(job.id)
    office.connection.execute(DOUBT, [rules.request_id(Requested, card.id, 0)])
    office.connection.execute("UPDATE cards.cards SET status = 'processing', started_at = now()")
    shop.printed[f"{card.id}-0"] = "a"
    batches.cancel(office.context, PRINTS, job.id, actor="ann", reason="too late")
    drain_all(office.connection)
    assert counters(office, job.id) == ("completed", 1, 0)
    assert shop.times == {"a": 1}


def test_a_retry_finds_what_an_earlier_attempt_printed(office: Office, shop: PrintShop) -> None:
    """It asks for the references of all attempts."""
    job = office.submit("a")
    (card,) = office.cards(job.id)
    deliver(office, failed(office, card))
    shop.printed[f"{card.id}-0"] = "a"
    batches.retry_failed(office.context, PRINTS, job.id)
    drain_all(office.connection)
    assert shop.times == {"a": 1}
    assert office.cards(job.id)[0].print_number == f"P-{card.id}-0"


def test_a_call_that_cannot_be_asked_about_is_buried(office: Office, shop: PrintShop) -> None:
    """The card is not printed."""
    job = office.submit("a")
    drain(queues=["events"])
    (card,) = office.cards(job.id)
    office.connection.execute(DOUBT, [rules.request_id(Requested, card.id, 0)])
    with domain.use(batches.wiring(PRINTS, batches.effect(PRINTS, queue="prints", call=shop.print))):
        drain_all(office.connection)
    assert shop.printed == {}
    assert scalar(office.connection, "SELECT error_class FROM engine.failed_jobs") == "InDoubt"


def test_an_obsolete_request_is_not_prepared(office: Office, other: Office, served: Wiring) -> None:
    """Of an earlier attempt, or of an item with a result. A mismatched request is a failing event."""
    job = office.submit("a", "b")
    first, second = office.cards(job.id)
    deliver(office, failed(office, first))
    prepare = served.effects[Requested].prepare
    context = HandlerContext.begin(office.connection)
    with office.connection.transaction(force_rollback=True):
        prepared = list(prepare(context, [dead(office, first), dead(office, second, attempt=1), dead(office, second)]))
        assert [one.work.item.address for one in prepared] == ["b"]
        assert [card.status for card in office.cards(job.id)] == ["error", "processing"]
    wrong = [dead(other, second), dead(office, second, job_id=new_id()), dead(office, second, address="x")]
    with pytest.raises(FailingEvents) as caught:
        list(prepare(context, [*wrong, dead(office, second)]))
    assert set(caught.value.reasons) == {one.id for one in wrong}


def test_an_earlier_attempt_in_progress_is_waited_for(office: Office, served: Wiring) -> None:
    """It was ended by hand and requested again. Two calls for one item never run at once."""
    job = office.submit("a")
    (card,) = office.cards(job.id)
    under_way(office, card)
    deliver(office, failed(office, card))
    batches.retry_failed(office.context, PRINTS, job.id)
    (card,) = office.cards(job.id)
    with pytest.raises(Busy, match="another attempt at the item is under way"), office.connection.transaction():
        list(served.effects[Requested].prepare(HandlerContext.begin(office.connection), [dead(office, card)]))


def test_events_of_an_item_share_a_call(office: Office, served: Wiring) -> None:
    """An edited copy of a request has the same call key."""
    (card,) = office.cards(office.submit("a").id)
    effect = served.effects[Requested]
    assert effect.key(dead(office, card)) == effect.key(dead(office, card, address="x"))
    assert effect.key(dead(office, card)) != effect.key(dead(office, card, attempt=1))


def test_a_dead_request_is_planned_asked_about_and_replayed(office: Office, shop: PrintShop) -> None:
    """The plan has the shop's answer and the changes. The replay prints the card once."""
    shop.is_jammed = True
    job = office.submit("a", "b")
    drain_all(office.connection)
    assert scalar(office.connection, "SELECT count(*) FROM engine.failed_jobs") == 2
    shop.is_jammed = False
    plan = plans.make(office.connection, Filters(), actor="ann")
    with office.connection.transaction():
        redeliver(office.connection, plans.letters(office.connection, plan.id))
    drain_all(office.connection)
    assert counters(office, job.id) == ("completed", 2, 0)
    assert shop.times == {"a": 1, "b": 1}
    assert [card.retry_count for card in office.cards(job.id)] == [1, 1]


def test_the_other_side_is_asked_about_calls_in_doubt(office: Office, shop: PrintShop, served: Wiring) -> None:
    """There is an answer for each request: printed, unknown, shop closed."""
    job = office.submit("a", "b")
    first, second = office.cards(job.id)
    shop.printed[f"{first.id}-0"] = "a"
    ask = served.effects[Requested].ask
    assert ask is not None
    answered: Any = ask
    one, two, gone = dead(office, first), dead(office, second), dead(office, replace(first, id=new_id()))
    said: dict[UUID, str] = asyncio.run(answered([one, two, gone]))
    assert said == {
        one.id: "the other side has done it: the replay records that and makes no call",
        two.id: "the other side does not know it: the replay makes the call",
        gone.id: "the other side was not asked: the item is gone",
    }
    assert effects.call_key(PRINTS, one) == served.effects[Requested].key(one)
