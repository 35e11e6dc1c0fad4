"""Events that follow from another event of a run."""

from __future__ import annotations

from uuid import UUID

import events
from app.collection.chain import say
from events.collection import JobSubmitted, RunPaused
from tests.helpers.toy import NOW

RUN, OTHER, ORG, ID = (UUID(int=n) for n in range(1, 5))
PAUSED = RunPaused(run_id=RUN, reason="user", spent_cents=0, cap_cents=1)


def test_the_id_of_an_event_derives_from_its_cause_and_run() -> None:
    """Equal for the same cause and run, so a repeated delivery publishes it once. Other runs have other ids."""
    cause = events.new(JobSubmitted(run_id=RUN), now=NOW, subject=RUN, tenant=ORG)
    first, again = (say(PAUSED, NOW, run_id=RUN, org_id=ORG, cause=cause) for _ in range(2))
    other = say(PAUSED, NOW, run_id=OTHER, org_id=ORG, cause=cause)
    assert first.id == again.id != other.id
    assert (first.subject, first.tenantid, first.causationid, first.correlationid) == (
        RUN,
        ORG,
        cause.id,
        cause.id,
    )
    assert other.subject == OTHER


def test_an_event_without_a_cause_begins_a_chain() -> None:
    """Its id is new."""
    first, second = (say(PAUSED, NOW, run_id=RUN, org_id=ORG, cause=None) for _ in range(2))
    assert first.id != second.id
    assert (first.subject, first.tenantid, first.causationid) == (RUN, ORG, None)


def test_a_given_id_is_used() -> None:
    """With and without a cause."""
    cause = events.new(JobSubmitted(run_id=RUN), now=NOW, subject=RUN, tenant=ORG)
    assert {say(PAUSED, NOW, run_id=RUN, org_id=ORG, cause=one, event_id=ID).id for one in (cause, None)} == {ID}
