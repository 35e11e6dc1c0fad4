"""Items that a run has found."""

from __future__ import annotations

import pytest

from app.collection.fixtures.collector import found
from app.collection.found import ItemCount, count_items, list_items
from app.collection.runs import Run
from app.errors import InvalidInput
from tests.collection.conftest import Team


@pytest.fixture
def run(team: Team) -> Run:
    """A run of three items, one of which has failed."""
    run = team.start()
    team.spend(run, 7, more=False, items=[found("A"), found("B"), found("C", data=None, error_code="gone")])
    return run


def test_items_are_counted_by_status_and_error(team: Team, other: Team, run: Run) -> None:
    """None for another organisation."""
    assert count_items(team.context, run.id) == [ItemCount("completed", None, 2), ItemCount("failed", "gone", 1)]
    assert count_items(other.context, run.id) == []


def test_items_are_listed_in_pages(team: Team, other: Team, run: Run) -> None:
    """By id. Each has its data or error, and its part of the page's cost."""
    first = list_items(team.context, run.id, limit=2)
    rest = list_items(team.context, run.id, after=first[-1].id)
    listed = [*first, *rest]
    assert [item.id for item in listed] == sorted(item.id for item in listed)
    assert sorted((item.external_id, item.status, item.cost_cents) for item in listed) == [
        ("A", "completed", 3),
        ("B", "completed", 2),
        ("C", "failed", 2),
    ]
    assert all(item.completed_at is not None for item in listed)
    assert list_items(other.context, run.id) == []


def test_items_are_filtered_by_status(team: Team, run: Run) -> None:
    """An unknown status or a limit out of range is refused."""
    (failed,) = list_items(team.context, run.id, status="failed")
    assert (failed.external_id, failed.data, failed.error_code) == ("C", None, "gone")
    assert list_items(team.context, run.id, status="skipped") == []
    with pytest.raises(InvalidInput):
        list_items(team.context, run.id, status="lost")
    for limit in (0, 1001):
        with pytest.raises(InvalidInput, match="limit"):
            list_items(team.context, run.id, limit=limit)
