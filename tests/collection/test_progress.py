"""The progress of a run, and its expected cost at the end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.collection.progress import cost_at_completion, pages_of, progress_of
from app.collection.store import Run
from tests.collection.conftest import Team


@pytest.fixture
def run(team: Team) -> Run:
    """A run of four pages for 100 cents each."""
    return team.create()


def at(run: Run, checkpoint: dict[str, Any], **values: Any) -> Run:
    """Return a run with another checkpoint and other values."""
    return replace(run, checkpoint=checkpoint, **{"status": "running", **values})


@pytest.mark.parametrize(
    ("checkpoint", "status", "pages"),
    [
        ({}, "running", (0, 4)),
        ({"books": {"pages": 1, "done": False}}, "running", (1, 4)),
        ({"books": {"pages": 4, "done": False}}, "running", (4, 5)),
        ({"books": {"pages": 2, "done": True}}, "running", (2, 2)),
        ({"books": {"pages": 2, "done": False}}, "cancelled", (2, 2)),
    ],
)
def test_the_expected_pages_follow_the_checkpoint(
    run: Run, checkpoint: dict[str, Any], status: str, pages: tuple[int, int]
) -> None:
    """A category that has ended expects no more. One with more pages than estimated expects one more."""
    assert pages_of(at(run, checkpoint, status=status)) == pages


@pytest.mark.parametrize(
    ("checkpoint", "values", "cents"),
    [
        ({}, {}, 400),
        ({"books": {"pages": 2, "done": False}}, {"actual_cost_cents": 60}, 120),
        ({"books": {"pages": 2, "done": False}}, {"actual_cost_cents": 50, "overrun_cents": 10}, 120),
        ({"books": {"pages": 5, "done": False}}, {"actual_cost_cents": 100}, 120),
        ({"books": {"pages": 2, "done": True}}, {"actual_cost_cents": 60}, 60),
        ({"books": {"pages": 2, "done": False}}, {"actual_cost_cents": 60, "status": "failed"}, 60),
    ],
)
def test_remaining_pages_cost_as_much_as_those_so_far(
    run: Run, checkpoint: dict[str, Any], values: dict[str, Any], cents: int
) -> None:
    """Before the first page, the estimate's price counts. A run that has ended costs what was charged."""
    assert cost_at_completion(at(run, checkpoint, **values)) == cents


def test_progress_is_shown_on_one_line(run: Run) -> None:
    """Failed items, the reason of a pause and an overrun are named if there are any."""
    assert progress_of(run).line == (
        "pending: 0/4 pages, 0 items; 0 of 2500 cents spent, 0 reserved, about 400 at completion"
    )
    paused = at(
        run,
        {"books": {"pages": 4, "done": True}},
        status="paused",
        pause_reason="overrun",
        total_items=5,
        processed_items=3,
        failed_items=1,
        actual_cost_cents=2500,
        overrun_cents=7,
    )
    progress = progress_of(paused)
    assert progress.line == (
        "paused (overrun): 4/4 pages, 3 items, 1 failed; 2500 of 2500 cents spent + 7 over the cap, 0 reserved,"
        " about 2507 at completion"
    )
    assert (progress.done, progress.is_over) == (4, False)
    assert progress_of(at(run, {}, status="cancelled")).is_over
