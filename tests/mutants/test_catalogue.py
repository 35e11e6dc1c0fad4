"""The mutants fit the current code: each can be applied, and its tests exist."""

from __future__ import annotations

import ast
from collections import Counter

import pytest

from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import ROOT, Mutant


@pytest.mark.parametrize("number", range(1, len(MUTANTS) + 1))
def test_a_mutant_applies_to_todays_code(number: int) -> None:
    """Its old text occurs once, its new text differs and can be parsed, and its tests exist.

    If a change of the program fails here, change the mutant accordingly, or remove it with its rule.
    """
    mutant = MUTANTS[number - 1]
    text = (ROOT / mutant.file).read_text()
    changed = mutant.applied(text)
    assert changed != text
    if mutant.file.endswith(".py"):
        ast.parse(changed)
    assert mutant.why
    for test in mutant.tests.split():
        path, _, name = test.partition("::")
        assert (ROOT / path).exists(), test
        assert not name or f"def {name}" in (ROOT / path).read_text(), test


def test_a_mutant_is_listed_once_and_almost_all_are_to_be_caught() -> None:
    """A survivor has a reason, and at most one of twenty survives."""
    assert not [change for change, n in Counter((m.file, m.old, m.new) for m in MUTANTS).items() if n > 1]
    assert sum(bool(mutant.survives) for mutant in MUTANTS) <= len(MUTANTS) * 0.05


def test_a_mutant_that_does_not_apply_is_an_error() -> None:
    """Its text occurs never or twice."""
    mutant = Mutant("x.py", "a", "b", "tests", "why")
    assert mutant.applied("a c") == "b c"
    for text in ("", "a a"):
        with pytest.raises(LookupError, match=f"occurs {text.count('a')} times"):
            mutant.applied(text)
