"""The law of waits is broken by a row that others pass, and not by a slow machine."""

from __future__ import annotations

from app.chaos.waits import LONGEST_S, Comparison, Look

ROW = 4711
TURNS = 30
MOST_PASSED = {"events": 1000, "robots": 150}


def looked(seconds: float, calls: int, *, present: tuple[bool, ...] = (True,) * TURNS) -> Comparison:
    """Return the waits after looks at one effect's row. Each look comes this many seconds and calls after the last."""
    waits = Comparison(MOST_PASSED)
    for action, is_there in enumerate(present):
        rows = {ROW: "robots"} if is_there else {}
        waits.note(Look(rows, {"events": 0, "robots": action * calls}, action * seconds))
    return waits


def test_a_row_that_others_pass_is_found() -> None:
    """It waits longer than the limit while more calls end than the limit: one violation."""
    waits = looked(0.5, 20)
    assert (TURNS - 1) * 0.5 > LONGEST_S
    assert MOST_PASSED["robots"] < (TURNS - 1) * 20
    assert len(waits.violations) == 1
    assert (waits.longest["robots"].seconds, waits.longest["robots"].passed) == ((TURNS - 1) * 0.5, (TURNS - 1) * 20)


def test_a_slow_machine_breaks_nothing() -> None:
    """A row may wait while nothing else is done. A gap between two looks counts for at most a second."""
    assert looked(0.5, 1).violations == []
    assert looked(60.0, 1000, present=(True,) * 5).violations == []


def test_a_row_that_is_taken_begins_anew() -> None:
    """A row that returns to the queue has not waited before."""
    assert looked(0.5, 20, present=(*(True,) * 15, False, *(True,) * 15)).violations == []
