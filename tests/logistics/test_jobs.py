"""Robot jobs: status transitions."""

from __future__ import annotations

import pytest

from app.engine.batches.rules import TRANSITIONS, JobStatus
from app.engine.inspect.invariants import audit
from app.errors import Conflict, InvalidInput
from app.logistics import jobs
from app.logistics.jobs import create_robot_job
from app.program import INVARIANTS
from tests.helpers.shops import Shop

STATES: tuple[JobStatus, ...] = ("pending", "processing", "completed", "failed")
ALLOWED = {
    ("pending", "processing"),
    ("pending", "failed"),
    ("processing", "completed"),
    ("processing", "failed"),
    ("completed", "processing"),
    ("failed", "processing"),
}
PATHS: dict[JobStatus, tuple[JobStatus, ...]] = {
    "pending": (),
    "processing": ("processing",),
    "completed": ("processing", "completed"),
    "failed": ("failed",),
}


@pytest.mark.parametrize("after", STATES)
@pytest.mark.parametrize("before", STATES)
def test_a_job_changes_its_status_only_as_allowed(shop: Shop, before: JobStatus, after: JobStatus) -> None:
    """`Conflict` names the allowed transitions, and the job stays as it was."""
    job = create_robot_job(shop.context, shop.order(1))
    for status in PATHS[before]:
        job = jobs.update_job_status(shop.context, job.id, status)
    if (before, after) in ALLOWED:
        moved = jobs.update_job_status(shop.context, job.id, after)
        assert moved.status == after
        assert (moved.completed_at is not None) == (after in {"completed", "failed"})
    else:
        with pytest.raises(Conflict, match=f"a job that is {before} cannot become {after}, only "):
            jobs.update_job_status(shop.context, job.id, after)
        assert jobs.get_robot_job(shop.context, job.id) == job


def test_an_unknown_status_is_refused(shop: Shop) -> None:
    """The message names the known ones."""
    job = create_robot_job(shop.context, shop.order(1))
    with pytest.raises(InvalidInput, match="choose one of pending, processing, completed, failed"):
        jobs.update_job_status(shop.context, job.id, "done")  # type: ignore[arg-type]
    assert TRANSITIONS.keys() == set(STATES)


def test_a_begun_job_violates_no_invariant(shop: Shop) -> None:
    """Status and timestamps agree."""
    job = create_robot_job(shop.context, shop.order(1))
    jobs.update_job_status(shop.context, job.id, "processing")
    assert [verdict for verdict in audit(shop.connection, INVARIANTS) if not verdict.holds] == []
