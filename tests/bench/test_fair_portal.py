"""The stage of `bench fairness`: what it sets for its measurement counts for nobody else."""

from __future__ import annotations

import pytest

from app.bench.fair_portal import _taking
from app.engine.queue.job_manager import FencedManager
from app.engine.worker.app import app


@pytest.mark.parametrize("by_share", [False, True])
def test_the_program_fetches_as_before_after_a_measurement(monkeypatch: pytest.MonkeyPatch, *, by_share: bool) -> None:
    """The value of the class counts again. A seeded bug of another test sets that one, in the same process."""
    with _taking(by_share=by_share):
        assert app.job_manager.by_share is by_share
    for own in (False, True):
        monkeypatch.setattr(FencedManager, "by_share", own)
        assert app.job_manager.by_share is own
