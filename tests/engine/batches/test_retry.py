"""Retry of failed items as the next generation, and revival of dead requests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.context import HandlerContext
from app.engine import batches
from app.engine.batches import retry, rules
from app.errors import Conflict, NotFound
from app.testing.drain import drain, drain_all
from events import Event, new_id
from tests.helpers.card_events import COMPLETIONS, counters, dead, deliver, failed, said
from tests.helpers.cards import PRINTS, Office, PrintShop, Requested
from tests.helpers.support import scalar

WAITS = "SELECT extract(epoch FROM max(due_at) - clock_timestamp()) FROM engine.waiting() WHERE status = 'todo'"


def revive(office: Office, *requested: Event[Requested]) -> dict[Any, Event[Any]]:
    """Revive dead requests in a transaction. Returns the new requests by the dead event's id."""
    with office.connection.transaction():
        return retry.revive(HandlerContext.begin(office.connection), PRINTS, list(requested))


def test_a_retry_is_the_next_generation(office: Office, shop: PrintShop) -> None:
    """Failed items are requested with their next attempt, and the job completes again."""
    job = office.submit("a", "b")
    first, second = office.cards(job.id)
    deliver(office, said(office, first), failed(office, second))
    retried = batches.retry_failed(office.context, PRINTS, job.id)
    assert (retried.items, retried.job.status, retried.job.generation) == (1, "processing", 2)
    assert counters(office, job.id) == ("processing", 1, 0)
    drain_all(office.connection)
    assert counters(office, job.id) == ("completed", 2, 0)
    assert [card.retry_count for card in office.cards(job.id)] == [0, 1]
    # The submitted event finds nothing to request but what waits; `a` had its result before it was printed.
    assert shop.times == {"b": 1}
    assert scalar(office.connection, COMPLETIONS) == 1


def test_each_generation_completes_once(office: Office) -> None:
    """A card that is always refused: as many completions as generations, each with its number."""
    job = office.submit("nowhere")
    drain_all(office.connection)
    for _ in range(2):
        batches.retry_failed(office.context, PRINTS, job.id)
        drain_all(office.connection)
    said_ = "SELECT (data ->> 'generation')::integer FROM engine.event_log WHERE type = 'test/print.completed'"
    assert sorted(n for (n,) in office.connection.execute(said_)) == [1, 2, 3]
    assert counters(office, job.id) == ("failed", 0, 1)


def test_a_result_of_the_attempt_before_is_late(office: Office) -> None:
    """After the retry only the new attempt counts."""
    job = office.submit("a")
    (card,) = office.cards(job.id)
    deliver(office, failed(office, card))
    batches.retry_failed(office.context, PRINTS, job.id)
    assert deliver(office, said(office, card)) == []
    assert counters(office, job.id) == ("processing", 0, 0)


def test_named_items_are_retried_alone(office: Office) -> None:
    """Other items stay failed. Items that cannot be retried are named."""
    job, elsewhere = office.submit("a", "b", "c"), office.submit("x")
    first, second, third = office.cards(job.id)
    deliver(office, failed(office, first), failed(office, second), said(office, third))
    assert batches.retry_failed(office.context, PRINTS, job.id, [second.id]).items == 1
    assert [card.status for card in office.cards(job.id)] == ["error", "pending", "success"]
    with pytest.raises(Conflict, match="only failed items can be retried; pending, success"):
        batches.retry_failed(office.context, PRINTS, job.id, [first.id, second.id, third.id])
    with pytest.raises(NotFound, match="items: not of job"):
        batches.retry_failed(office.context, PRINTS, job.id, [office.cards(elsewhere.id)[0].id])


def test_a_job_without_failures_stays_as_it_is(office: Office) -> None:
    """Nothing is requested, and no generation begins."""
    job = office.submit("a")
    assert batches.retry_failed(office.context, PRINTS, job.id).items == 0
    assert office.job(job.id) == job


@pytest.mark.parametrize(("error_type", "waits"), [("unknown", True), ("validation", False)])
def test_the_grace_period_passes_first(office: Office, error_type: str, *, waits: bool) -> None:
    """An item that failed without a clear refusal is requested after it."""
    job = office.submit("a")
    drain(queues=["events"])
    (card,) = office.cards(job.id)
    office.connection.execute("DELETE FROM public.procrastinate_jobs")
    deliver(office, said(office, card, status="error", error_type=error_type))
    slow = replace(PRINTS, grace_period=lambda: 60.0)
    batches.retry_failed(office.context, slow, job.id)
    left = scalar(office.connection, WAITS)
    assert (left is not None and left > 50) == waits


def test_a_large_retry_is_several_events(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each names a bounded number of items."""
    monkeypatch.setattr(rules, "ITEMS_A_REQUEST", 2)
    job = office.submit("a", "b", "c")
    deliver(office, *(failed(office, card) for card in office.cards(job.id)))
    batches.retry_failed(office.context, PRINTS, job.id)
    drain_all(office.connection)
    assert counters(office, job.id) == ("completed", 3, 0)


def test_a_dead_request_is_revived_as_the_next_attempt(office: Office) -> None:
    """Its item is pending again. A failed item begins the next generation, once for two requests."""
    job = office.submit("a", "b")
    first, second = office.cards(job.id)
    deliver(office, failed(office, second))
    one, two, twice = dead(office, first), dead(office, second), dead(office, second)
    revived = revive(office, one, two, twice)
    assert set(revived) == {one.id, two.id}
    assert {event.data.attempt for event in revived.values()} == {1}
    assert revived[one.id].id == rules.request_id(Requested, first.id, 1)
    assert counters(office, job.id) == ("processing", 0, 0)
    assert office.job(job.id).generation == 2
    assert [(card.status, card.retry_count) for card in office.cards(job.id)] == [("pending", 1), ("pending", 1)]


def test_an_overtaken_request_is_not_revived(office: Office, other: Office) -> None:
    """Its item has succeeded or has a later attempt, or the request does not match it."""
    job = office.submit("a", "b")
    first, second = office.cards(job.id)
    deliver(office, said(office, first))
    overtaken = [
        dead(office, first),
        dead(office, second, attempt=1),
        dead(office, second, job_id=new_id()),
        dead(office, second, address="elsewhere"),
        dead(other, second),
    ]
    for event in overtaken:
        assert revive(office, event) == {}
    assert [card.retry_count for card in office.cards(job.id)] == [0, 0]
