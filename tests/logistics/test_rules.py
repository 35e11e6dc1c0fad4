"""Rules of robot jobs: input checks, fingerprints, request ids."""

from __future__ import annotations

from typing import get_args
from uuid import UUID, uuid5

import pytest

from app.errors import InvalidInput
from app.logistics import rules
from events.robot import ErrorType

ONE, TWO = UUID(int=1), UUID(int=2)


def test_a_list_of_orders_names_each_once() -> None:
    """An empty list, and each order that is named more than once, is an error that names the field."""
    rules.check_order_list([ONE, TWO])
    with pytest.raises(InvalidInput, match="order_ids: must name at least one order"):
        rules.check_order_list([])
    with pytest.raises(InvalidInput, match=f"order_ids: 1 named more than once: {ONE}$"):
        rules.check_order_list([ONE, TWO, ONE, ONE])


def test_a_fingerprint_depends_on_carrier_and_orders() -> None:
    """Not on their order."""
    found = rules.fingerprint("a", [ONE, TWO])
    assert found == rules.fingerprint("a", [TWO, ONE])
    others = [rules.fingerprint("b", [ONE, TWO]), rules.fingerprint("a", [ONE])]
    assert len({found, *others, rules.fingerprint("a", [ONE, ONE])}) == 4


def test_the_id_of_a_request_is_kept_across_versions() -> None:
    """Waiting requests and marks of calls of an older version have it."""
    assert rules.request_id(ONE, 3) == uuid5(ONE, "robot/item.requested/3")


@pytest.mark.parametrize("word", get_args(ErrorType))
def test_error_types_are_known_by_name(word: str) -> None:
    """Another name is an error that lists them."""
    assert rules.error_type(word) == word
    with pytest.raises(InvalidInput, match=r"^type: 'x' is not an error type; choose one of validation, "):
        rules.error_type("x")
