"""Why a job or an item has not ended."""

from __future__ import annotations

import pytest

from app.engine import batches
from app.engine.batches.explainers import ItemFailed, ItemSucceeded, JobEnded, Lost, OwnReasons
from app.engine.inspect.reasons import Reason
from app.errors import NotFound
from app.testing.drain import drain, drain_all
from events import new_id
from tests.helpers.cards import PRINTS, Card, Office, Print, PrintShop


def kinds(reasons: list[Reason]) -> list[str]:
    """Return the kinds of reasons, without those about workers."""
    return [one.kind for one in reasons if one.kind != "no_worker"]


def test_an_ended_job_has_its_counters(office: Office) -> None:
    """Each item has its result, and the command that retries it."""
    job = office.submit("a", "nowhere")
    drain_all(office.connection)
    (ended,) = batches.explain_job(office.connection, PRINTS, job.id)
    assert isinstance(ended, JobEnded)
    assert ended.sentence.endswith(": 1 succeeded, 1 failed")
    good, bad = office.cards(job.id)
    (done,) = batches.explain_item(office.connection, PRINTS, good.id)
    (failed,) = batches.explain_item(office.connection, PRINTS, bad.id)
    assert isinstance(done, ItemSucceeded)
    assert done.completed_at == good.completed_at
    assert isinstance(failed, ItemFailed)
    assert failed.sentence.endswith(f"of validation: no such address (`prints retry {job.id} --item {bad.id}`)")


def test_an_open_item_waits_with_its_event(office: Office, shop: PrintShop) -> None:
    """With its job's event, then with its request, then with its dead letter."""
    job = office.submit("a")
    (card,) = office.cards(job.id)
    for _ in range(2):
        assert kinds(batches.explain_item(office.connection, PRINTS, card.id)) == ["waiting"]
        assert kinds(batches.explain_job(office.connection, PRINTS, job.id)) == ["waiting"]
        drain(queues=["events"])
    shop.is_jammed = True
    drain_all(office.connection)
    assert kinds(batches.explain_item(office.connection, PRINTS, card.id)) == ["dead"]
    assert kinds(batches.explain_job(office.connection, PRINTS, job.id)) == ["dead"]


def test_an_open_item_without_an_event_is_lost(office: Office) -> None:
    """This violates an invariant."""
    job = office.submit("a")
    office.connection.execute("DELETE FROM public.procrastinate_jobs")
    assert batches.explain_job(office.connection, PRINTS, job.id) == [Lost()]
    assert batches.explain_item(office.connection, PRINTS, office.cards(job.id)[0].id) == [Lost()]


def test_a_domain_adds_its_reasons(office: Office) -> None:
    """Obstacles come before the engine's reasons, which the domain may replace."""
    job = office.submit("a")
    domain: OwnReasons[Print, Card] = OwnReasons(
        refine=lambda _connection, found_of, found: [Lost()] if found_of.paper == "matt" else found,
        obstacles=lambda _connection, found_of: [JobEnded(found_of.status, 0, 0, None)],
    )
    for found in (
        batches.explain_job(office.connection, PRINTS, job.id, domain),
        batches.explain_item(office.connection, PRINTS, office.cards(job.id)[0].id, domain),
    ):
        assert found == [JobEnded("pending", 0, 0, None), Lost()]


def test_an_unknown_job_is_not_found_with_its_command(office: Office) -> None:
    """The message names the batch and its command."""
    with pytest.raises(NotFound, match=r"there is no print job .*; `prints list` shows a workspace's"):
        batches.explain_job(office.connection, PRINTS, new_id())
    with pytest.raises(NotFound, match="of a print job; `prints show JOB`"):
        batches.explain_item(office.connection, PRINTS, new_id())
