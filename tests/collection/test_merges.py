"""Merges of sellers: by a person, by what the source says, and undone."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from app.collection.merges import SOURCE, list_merges, merge, merge_as_told, undo
from app.collection.sellers import Seller, list_sellers, record_seen
from app.engine import audit_log
from app.errors import Conflict, InvalidInput, NotFound
from tests.collection.conftest import Team
from tests.helpers.sellers import make_run, seen


def find(team: Team, *names: str, run_id: UUID | None = None) -> list[UUID]:
    """Record sellers in a run (by default a new one). Returns their ids."""
    run = run_id or make_run(team)
    with team.connection.transaction():
        record_seen(team.connection, [seen(team, run, name) for name in names])
    rows = team.connection.execute(
        "SELECT normalized_name, id FROM collection.sellers WHERE org_id = %s", [team.org_id]
    ).fetchall()
    found: dict[str, UUID] = dict(rows)
    return [found[name.lower()] for name in names]


def listed(team: Team) -> dict[str, Seller]:
    """The sellers that stand for themselves, by name."""
    return {one.display_name: one for one in list_sellers(team.context)}


def test_a_merged_seller_is_not_listed_and_its_runs_count_for_the_other(team: Team) -> None:
    """A run in which both were found counts once."""
    both = make_run(team)
    ana, anna = find(team, "Ana", "Anna", run_id=both)
    find(team, "Anna")
    merge(team.context, ana, [anna], actor="olga", reason="one shop")
    (one,) = list_sellers(team.context)
    assert (one.id, one.times_seen, one.other_names) == (ana, 2, ["Anna"])
    assert audit_log.history(team.connection, anna)[0].reason == "one shop"


def test_a_later_sighting_of_a_merged_name_counts_for_the_seller_that_stays(team: Team) -> None:
    """Pages go on to show the merged name."""
    ana, anna = find(team, "Ana", "Anna")
    merge(team.context, ana, [anna], actor="olga")
    later = make_run(team)
    find(team, "Anna", run_id=later)
    (one,) = list_sellers(team.context)
    assert (one.times_seen, one.last_seen_run_id) == (2, later)


def test_an_undo_restores_both_counts_with_what_came_since(team: Team) -> None:
    """Each name has the runs in which it was found itself."""
    ana, anna = find(team, "Ana", "Anna")
    (done,) = merge(team.context, ana, [anna], actor="olga")
    find(team, "Anna")
    undone = undo(team.context, done.id, actor="pia")
    assert (undone.undone_by, undone.undone_at is not None) == ("pia", True)
    assert {name: one.times_seen for name, one in listed(team).items()} == {"Ana": 1, "Anna": 2}
    with pytest.raises(NotFound, match="can be undone"):
        undo(team.context, done.id, actor="pia")


def test_an_undo_by_the_merged_seller_takes_its_own_names_along(team: Team) -> None:
    """Sellers that were merged into it before go back to it, and not to themselves."""
    ana, anna, anne = find(team, "Ana", "Anna", "Anne")
    merge(team.context, anna, [anne], actor="olga")
    merge(team.context, ana, [anna], actor="olga")
    assert listed(team)["Ana"].other_names == ["Anna", "Anne"]
    undo(team.context, anna, actor="olga")
    assert {name: one.other_names for name, one in listed(team).items()} == {"Ana": [], "Anna": ["Anne"]}


def test_merges_are_undone_in_any_order(team: Team) -> None:
    """An earlier merge can be undone while a later one holds."""
    ana, anna, anne = find(team, "Ana", "Anna", "Anne")
    (first,) = merge(team.context, anna, [anne], actor="olga")
    (second,) = merge(team.context, ana, [anna], actor="olga")
    undo(team.context, first.id, actor="olga")
    assert {name: one.other_names for name, one in listed(team).items()} == {"Ana": ["Anna"], "Anne": []}
    undo(team.context, second.id, actor="olga")
    assert {name: one.other_names for name, one in listed(team).items()} == {"Ana": [], "Anna": [], "Anne": []}
    assert [one.undone_by for one in list_merges(team.context)] == ["olga", "olga"]


def test_what_cannot_be_merged_is_refused_and_nothing_changes(team: Team, other: Team) -> None:
    """Each error names the seller and the remedy."""
    ana, anna, anne = find(team, "Ana", "Anna", "Anne")
    (foreign,) = find(other, "Ana")
    merge(team.context, ana, [anna], actor="olga")
    with pytest.raises(InvalidInput, match="at least one"):
        merge(team.context, ana, [], actor="olga")
    with pytest.raises(InvalidInput, match="twice"):
        merge(team.context, ana, [anne, ana], actor="olga")
    with pytest.raises(NotFound, match=f"{foreign} is no seller"):
        merge(team.context, ana, [anne, foreign], actor="olga")
    with pytest.raises(Conflict, match=r"Anna was merged into .* before"):
        merge(team.context, anne, [anna], actor="olga")
    with pytest.raises(NotFound):
        undo(other.context, anna, actor="olga")
    with pytest.raises(NotFound):
        undo(team.context, uuid4(), actor="olga")
    assert set(listed(team)) == {"Ana", "Anne"}


def test_a_shop_is_merged_into_its_owner_when_the_source_says_so(team: Team) -> None:
    """A shop's slug and its owner's user name are two sellers until the source says that they are one."""
    owner, shop = find(team, "ana", "shop:ana")
    assert set(listed(team)) == {"ana", "shop:ana"}
    with team.connection.transaction():
        merge_as_told(team.connection, [(team.org_id, "ebay", "shop:ana", "ana")] * 2)
    (one,) = list_sellers(team.context)
    assert (one.id, one.other_names, one.times_seen) == (owner, ["shop:ana"], 1)
    assert [(one.merged_id, one.merged_by) for one in list_merges(team.context)] == [(shop, SOURCE)]


def test_a_merge_that_a_person_undid_is_not_repeated_by_the_source(team: Team) -> None:
    """A person's decision stands."""
    _, shop = find(team, "ana", "shop:ana")
    told = [(team.org_id, "ebay", "shop:ana", "ana")]
    with team.connection.transaction():
        merge_as_told(team.connection, told)
    undo(team.context, shop, actor="olga")
    with team.connection.transaction():
        merge_as_told(team.connection, told)
    assert set(listed(team)) == {"ana", "shop:ana"}
