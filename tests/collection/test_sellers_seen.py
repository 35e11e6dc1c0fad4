"""From the result of a seller's item to the organisation's list of sellers."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from app.collection.merges import list_merges
from app.collection.sellers import list_sellers
from app.collection.sellers_seen import ItemResult, record
from tests.collection.conftest import Team
from tests.helpers.sellers import make_run


def result(team: Team, run_id: UUID, external_id: str, **given: Any) -> ItemResult:
    """The result of a seller's item."""
    said = {"item_type": "ebay_seller", "status": "completed", "data": {}, **given}
    return ItemResult(org_id=team.org_id, run_id=run_id, external_id=external_id, **said)


def test_a_seller_is_recorded_with_its_metadata(team: Team) -> None:
    """Under the user's name, without its case."""
    run_id = make_run(team)
    data = {"feedback_score": 12, "item_count": 3}
    with team.connection.transaction():
        record(team.connection, [result(team, run_id, "Top_Deals", data=data)])
    (one,) = list_sellers(team.context)
    assert (one.display_name, one.platform_id, one.feedback_score, one.item_count, one.times_seen) == (
        "top_deals",
        "top_deals",
        12,
        3,
        1,
    )


def test_a_user_and_a_shop_are_one_from_the_item_that_shows_both(team: Team) -> None:
    """Until then they are two sellers with one name."""
    run_id = make_run(team)
    with team.connection.transaction():
        record(team.connection, [result(team, run_id, "deals"), result(team, run_id, "shop:deals")])
    assert {one.normalized_name for one in list_sellers(team.context)} == {"deals", "shop:deals"}
    data = {"user_name": "deals", "shop_slug": "deals"}
    with team.connection.transaction():
        record(team.connection, [result(team, make_run(team), "deals", data=data)])
    (one,) = list_sellers(team.context)
    assert (one.normalized_name, one.other_names, one.times_seen) == ("deals", ["deals"], 2)
    assert len(list_merges(team.context)) == 1


def test_the_name_that_the_item_shows_is_the_name_that_is_compared(team: Team) -> None:
    """Accents, case and legal form aside. The user's name is the platform's id of the seller."""
    run_id = make_run(team)
    shown = (("bikes1", "Müller Bikes GmbH"), ("bikes2", "MULLER BIKES"), ("bikes3", "  "))
    with team.connection.transaction():
        record(team.connection, [result(team, run_id, name, data={"display_name": text}) for name, text in shown])
    found = {one.normalized_name: (one.display_name, one.platform_id) for one in list_sellers(team.context)}
    assert found == {"muller bikes": ("MULLER BIKES", "bikes2"), "bikes3": ("bikes3", "bikes3")}


@pytest.mark.parametrize(
    "given",
    [
        {"status": "failed"},
        {"status": "skipped"},
        {"item_type": "amazon_product"},
        {"data": {"user_name": "other one"}},
    ],
)
def test_other_results_record_no_seller(team: Team, given: dict[str, Any]) -> None:
    """A failed or skipped item, a product, and a seller with two names."""
    with team.connection.transaction():
        record(team.connection, [result(team, make_run(team), "deals", **given)])
    assert list_sellers(team.context) == []


@pytest.mark.parametrize("value", [-1, True, "12", 2**31, None, 1.5])
def test_metadata_that_is_no_count_is_left_out(team: Team, value: object) -> None:
    """The seller is recorded without it."""
    with team.connection.transaction():
        record(team.connection, [result(team, make_run(team), "deals", data={"feedback_score": value})])
    assert list_sellers(team.context)[0].feedback_score is None
