"""Results of an external robot service: the verdict of each. tests/web/test_callbacks.py posts them over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from app.errors import InvalidInput
from app.logistics.callbacks import MOST_RESULTS, Verdict, take_results
from app.testing.published import assert_published
from events.robot import ItemCompleted
from tests.helpers.robot_results import submitted, success
from tests.helpers.shops import Shop


def take(shop: Shop, results: list[Any], message_id: str = "msg_1") -> list[Verdict]:
    """Take results in a transaction of their own."""
    with shop.connection.transaction():
        return take_results(shop.context, message_id, results)


def test_each_result_is_published_under_an_id_of_its_message_and_position(shop: Shop) -> None:
    """A repeated message publishes the same events, another one does not."""
    _, items = submitted(shop, 2)
    said = [success(item).model_dump(mode="json") for item in items]
    first = take(shop, said)
    assert [(one.verdict, one.item_id) for one in first] == [("accepted", item.id) for item in items]
    assert take(shop, said) == first
    assert {one.event_id for one in take(shop, said, "msg_2")}.isdisjoint(one.event_id for one in first)
    assert_published(shop.connection, ItemCompleted, count=4)


def test_a_result_that_is_none_is_not_published(shop: Shop) -> None:
    """The others are."""
    _, (item,) = submitted(shop, 1)
    bad = {"item_id": str(item.id), "status": "success"}
    said = take(shop, [bad, success(item).model_dump(mode="json"), None])
    assert [(one.verdict, one.item_id, one.event_id is None) for one in said] == [
        ("invalid", item.id, True),
        ("accepted", item.id, False),
        ("invalid", None, True),
    ]
    assert_published(shop.connection, ItemCompleted, count=1)


@pytest.mark.parametrize("count", [0, MOST_RESULTS + 1])
def test_a_message_has_a_limited_number_of_results(shop: Shop, count: int) -> None:
    """At least one."""
    with pytest.raises(InvalidInput, match=f"^body: must have 1 to {MOST_RESULTS} results, not {count}$"):
        take(shop, [{}] * count)
