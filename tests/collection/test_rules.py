"""Rules of runs: the state machine, names, estimates and input checks."""

from __future__ import annotations

import re
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.collection import rules
from app.collection.rules import TRANSITIONS, CategoryPlan
from app.context import Connection
from app.errors import Conflict, InvalidInput
from tests.helpers.support import scalar

RUN = UUID(int=7)
PLAN = CategoryPlan("books", 10, 25)


def test_the_trigger_allows_the_same_transitions(connection: Connection) -> None:
    """The trigger's list equals `TRANSITIONS`, which covers every status of the table."""
    body = scalar(connection, "SELECT prosrc FROM pg_proc WHERE oid = 'collection.check_transition()'::regprocedure")
    assert set(re.findall(r"\('(\w+)', '(\w+)'\)", body)) == {
        (before, after) for before, allowed in TRANSITIONS.items() for after in allowed
    }
    check = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'collection_runs_status_check'"
    assert set(re.findall(r"'(\w+)'::text", scalar(connection, check))) == set(TRANSITIONS)


def test_the_defaults_are_those_of_the_table(connection: Connection) -> None:
    """An organisation without settings has what a row with defaults would give it."""
    statement = """
    SELECT column_name, column_default::integer FROM information_schema.columns
     WHERE table_name = 'collection_settings' AND data_type = 'integer'
    """
    assert dict(connection.execute(statement).fetchall()) == {
        "budget_cap_cents": rules.CAP_CENTS,
        "soft_warning_percent": rules.WARNING_PERCENT,
        "max_concurrent_runs": rules.CONCURRENT_RUNS,
    }


@pytest.mark.parametrize(("before", "after"), list(product(TRANSITIONS, repeat=2)))
def test_a_transition_is_allowed_or_refused_with_the_state(before: Any, after: Any) -> None:
    """A refusal names the run, its state and the request."""
    if after in TRANSITIONS[before]:
        rules.check_transition(RUN, before, after, "changed")
        return
    with pytest.raises(Conflict, match=rf"^run: {RUN} is {before} \(budget\): it cannot be changed$"):
        rules.check_transition(RUN, before, after, "changed", "budget")


def test_an_estimate_is_pages_times_price() -> None:
    """Over all categories."""
    assert rules.estimated_cost([PLAN, CategoryPlan("toys", 3, 7), CategoryPlan("none", 0, 99)]) == 271


def test_an_estimate_above_the_cap_is_refused_with_both_figures() -> None:
    """Unless it is allowed. An estimate of exactly the cap is accepted."""
    with pytest.raises(InvalidInput, match=r"^categories: the estimate is 2,501 cents and the cap 2,500 cents"):
        rules.check_estimate(2501, 2500, allowed=False)
    rules.check_estimate(2501, 2500, allowed=True)
    rules.check_estimate(2500, 2500, allowed=False)
    with pytest.raises(InvalidInput, match="more than a run can cost"):
        rules.check_estimate(rules.MOST_CENTS + 1, 2500, allowed=True)


@pytest.mark.parametrize(
    ("categories", "name"),
    [
        (["books"], "2026-11-28 books"),
        (["books", "toys", "shoes"], "2026-11-28 books, toys, shoes"),
        (["a", "b", "c", "d", "e"], "2026-11-28 a, b, c and 2 more"),
    ],
)
def test_a_name_is_made_from_the_day_and_the_categories(categories: list[str], name: str) -> None:
    """A long list is cut."""
    assert rules.run_name(None, date(2026, 11, 28), categories) == name


def test_a_made_name_of_long_categories_fits() -> None:
    """A made name is as long as a typed one may be, at most."""
    made = rules.run_name(None, date(2026, 11, 28), ["x" * 200, "y" * 200])
    assert len(made) == 200
    assert made.startswith("2026-11-28 xxx")


def test_a_typed_name_is_kept_on_one_line() -> None:
    """An empty or too long one is refused by field."""
    assert rules.run_name("  my \n run ", date(2026, 11, 28), ["books"]) == "my run"
    for typed in ("", "  ", "x" * 201, "a\x00b"):
        with pytest.raises(InvalidInput, match=r"^name: "):
            rules.run_name(typed, date(2026, 11, 28), ["books"])


@pytest.mark.parametrize(
    "categories",
    [
        [],
        [PLAN, PLAN],
        [CategoryPlan("", 1, 1)],
        [CategoryPlan(" x", 1, 1)],
        [CategoryPlan("x" * 201, 1, 1)],
        [CategoryPlan("a\x00", 1, 1)],
        [CategoryPlan("x", -1, 1)],
        [CategoryPlan("x", rules.MOST_PAGES + 1, 1)],
        [CategoryPlan("x", 1, -1)],
        [CategoryPlan("x", 1, rules.MOST_CENTS + 1)],
        [CategoryPlan(f"c{n}", 1, 1) for n in range(rules.MOST_CATEGORIES + 1)],
    ],
)
def test_invalid_categories_are_refused(categories: list[CategoryPlan]) -> None:
    """The error names the field."""
    with pytest.raises(InvalidInput, match=r"^categories: "):
        rules.check_plan(categories)


@pytest.mark.parametrize("unwanted", [[""], ["x" * 201], ["a\nb"], [f"x{n}" for n in range(rules.MOST_UNWANTED + 1)]])
def test_invalid_unwanted_items_are_refused(unwanted: list[str]) -> None:
    """The error names the field."""
    with pytest.raises(InvalidInput, match=r"^unwanted: "):
        rules.check_unwanted(unwanted)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ((-1, None, None), "budget_cap_cents"),
        ((rules.MOST_CENTS + 1, None, None), "budget_cap_cents"),
        ((None, 0, None), "soft_warning_percent"),
        ((None, 101, None), "soft_warning_percent"),
        ((None, None, 0), "max_concurrent_runs"),
        ((None, None, 1001), "max_concurrent_runs"),
    ],
)
def test_settings_out_of_range_are_refused(given: tuple[int | None, int | None, int | None], field: str) -> None:
    """The error names the field."""
    with pytest.raises(InvalidInput, match=f"^{field}: must be "):
        rules.check_settings(*given)
    rules.check_settings(0, 100, 1)


def test_a_fingerprint_distinguishes_requests() -> None:
    """The order of categories and of unwanted items does not matter; every value does."""
    same = rules.fingerprint("amazon.de", ["a", "b"], None, None, ["x", "y"])
    assert rules.fingerprint("amazon.de", ["b", "a"], None, None, ["y", "x", "x"]) == same
    others = {
        rules.fingerprint("amazon.com", ["a", "b"], None, None, ["x", "y"]),
        rules.fingerprint("amazon.de", ["a"], None, None, ["x", "y"]),
        rules.fingerprint("amazon.de", ["a", "b"], "name", None, ["x", "y"]),
        rules.fingerprint("amazon.de", ["a", "b"], None, 0, ["x", "y"]),
        rules.fingerprint("amazon.de", ["a", "b"], None, None, ["x"]),
    }
    assert len(others) == 5
    assert same not in others


def test_the_drawing_shows_the_same_transitions() -> None:
    """The diagram in docs/collection.md has an arrow for each transition, and no other."""
    text = (Path(__file__).parents[2] / "docs" / "collection.md").read_text(encoding="utf-8")
    arrows = set(re.findall(r"^    (\w+) --> (\w+):", text, re.MULTILINE))
    assert arrows == {(before, after) for before, allowed in TRANSITIONS.items() for after in allowed}
