"""Suggestions of sellers that may be one."""

from __future__ import annotations

from uuid import uuid4

import pytest

from app.collection.merges import merge
from app.collection.sellers import record_seen
from app.collection.similar import LEAST, Name, pairs, similar
from app.errors import InvalidInput
from tests.collection.conftest import Team
from tests.helpers.sellers import make_run, seen


def names(*texts: str) -> list[Name]:
    """Names seen in one run each."""
    return [Name(uuid4(), text, text, "ebay", 1) for text in texts]


@pytest.mark.parametrize(
    ("one", "other", "is_similar"),
    [
        ("green garden tools", "green garden tool", True),
        ("green garden tools", "garden tools green", True),  # the words in another order
        ("muller bikes", "mueller bikes", True),
        ("muller bikes", "bikes", False),
        ("ana", "bob", False),
        ("north star", "south star", False),
    ],
)
def test_similarity_is_that_of_the_sorted_words(one: str, other: str, *, is_similar: bool) -> None:
    """Above the default least similarity, or not."""
    assert bool(pairs(names(one, other), LEAST)) is is_similar


def test_the_most_similar_pair_comes_first_and_the_seller_of_more_runs_is_kept() -> None:
    """Each pair is given once."""
    often = Name(uuid4(), "green garden tool", "green garden tool", "ebay", 5)
    found = pairs([*names("green garden tools", "green garden toolz"), often], 80)
    assert found[0].kept is often
    assert [pair.percent for pair in found] == sorted((pair.percent for pair in found), reverse=True)
    assert len(found) == len({frozenset({pair.kept.id, pair.other.id}) for pair in found}) == 3


def test_platforms_are_not_compared_with_each_other() -> None:
    """The same name on two platforms is two sellers."""
    one, other = Name(uuid4(), "ana", "ana", "ebay", 1), Name(uuid4(), "ana", "ana", "etsy", 1)
    assert pairs([one, other], 50) == []


def test_suggestions_leave_merged_sellers_out_and_merge_nothing(team: Team, other: Team) -> None:
    """A pair disappears from the suggestions with its merge. Other organisations are not seen."""
    with team.connection.transaction():
        record_seen(team.connection, [seen(team, make_run(team), name) for name in ("Ana Store", "Anna Store")])
    (pair,) = similar(team.context)
    assert similar(other.context) == []
    merge(team.context, pair.kept.id, [pair.other.id], actor="olga")
    assert similar(team.context) == []


@pytest.mark.parametrize("least", [0, -1, 101])
def test_a_wrong_least_similarity_is_refused(team: Team, least: float) -> None:
    """It is a percentage."""
    with pytest.raises(InvalidInput, match="least: must be above 0 and at most 100"):
        similar(team.context, least=least)
