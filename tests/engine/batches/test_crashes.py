"""Crashes at every statement and call of a batch: the end state is that of a run without a crash."""

from __future__ import annotations

from typing import Any

import pytest

from app.engine import batches
from app.engine.domain import Wiring
from app.testing.crashes import crash_everywhere
from app.testing.drain import drain
from app.testing.faults import Fault
from tests.conftest import Database
from tests.helpers.card_events import dead, deliver, failed, said
from tests.helpers.cards import PRINTS, Office, PrintShop


def everywhere(database: Database, served: Wiring, shop: PrintShop, *events: Any) -> None:
    """Test every fault at every statement and call."""
    report = crash_everywhere(
        database,
        served,
        events,
        arrange=shop.start_over,
        observe=lambda _: sorted(shop.times.items()),
        invariants=batches.invariants(PRINTS),
        ignore=["cards.cards.print_number"],
    )
    assert report.tried[Fault.DIES_BEFORE] == len(report.points) > 0


def test_a_job_from_submit_to_completion(database: Database, served: Wiring, shop: PrintShop, office: Office) -> None:
    """Each card is printed once, and the job completes once."""
    office.submit("a", "b", "nowhere")
    everywhere(database, served, shop)


def test_results(database: Database, served: Wiring, shop: PrintShop, office: Office) -> None:
    """Of two jobs, one of them published twice."""
    one, two = office.submit("a", "b"), office.submit("c")
    drain(queues=["events"])
    office.connection.execute("DELETE FROM public.procrastinate_jobs")
    first, second = office.cards(one.id)
    (third,) = office.cards(two.id)
    results = [said(office, first), failed(office, second), said(office, second), said(office, third)]
    everywhere(database, served, shop, *results)


@pytest.mark.parametrize("how", ["retry", "dead request"])
def test_a_second_attempt(database: Database, served: Wiring, shop: PrintShop, office: Office, how: str) -> None:
    """After a retry, and of a request that is published again: the card is printed once."""
    job = office.submit("a", "b")
    drain(queues=["events"])
    office.connection.execute("DELETE FROM public.procrastinate_jobs")
    first, second = office.cards(job.id)
    deliver(office, said(office, first))
    if how == "retry":
        deliver(office, failed(office, second))
        batches.retry_failed(office.context, PRINTS, job.id)
        everywhere(database, served, shop)
    else:
        everywhere(database, served, shop, dead(office, second))
