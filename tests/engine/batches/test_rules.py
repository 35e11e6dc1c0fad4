"""Rules of jobs with items: status transitions, input checks, fingerprints, references."""

from __future__ import annotations

from itertools import product
from typing import Any
from uuid import UUID

import pytest

from app.engine.batches import rules
from app.errors import Conflict, InvalidInput
from events import new_id
from tests.helpers.cards import Requested, Submitted

ITEM = UUID(int=1)
ALLOWED = {
    ("pending", "processing"),
    ("pending", "failed"),
    ("processing", "completed"),
    ("processing", "failed"),
    ("completed", "processing"),
    ("failed", "processing"),
}


@pytest.mark.parametrize(("before", "after"), list(product(rules.TRANSITIONS, rules.TRANSITIONS)))
def test_a_job_changes_its_status_only_as_allowed(before: str, after: str) -> None:
    """The error names both and what is allowed. A job that ended runs again by a retry."""
    if (before, after) in ALLOWED:
        rules.check_transition(before, after)
        return
    with pytest.raises(Conflict, match=f"^status: a job that is {before} cannot become {after}, only "):
        rules.check_transition(before, after)


@pytest.mark.parametrize("status", ["", "done", "PENDING", "success"])
def test_an_unknown_status_is_refused(status: str) -> None:
    """The error names the known ones."""
    for check in (rules.check_job_status, lambda status: rules.check_transition("pending", status)):
        with pytest.raises(InvalidInput, match=r"^status: .*choose one of pending, processing, completed, failed"):
            check(status)
    with pytest.raises(InvalidInput, match="choose one of success, error"):
        rules.check_word(status + "x", ["success", "error"])


@pytest.mark.parametrize(("limit", "is_valid"), [(0, False), (1, True), (1000, True), (1001, False), (-1, False)])
def test_a_page_has_1_to_1000_rows(limit: int, *, is_valid: bool) -> None:
    """The error names the field."""
    if is_valid:
        rules.check_page(limit)
        return
    with pytest.raises(InvalidInput, match=f"^limit: must be 1 to 1000, not {limit}"):
        rules.check_page(limit)


@pytest.mark.parametrize("key", [None, "k", "k" * 200, "order 7 ñ"])
def test_a_key_is_printable_and_bounded(key: str | None) -> None:
    """A request may have none."""
    rules.check_key(key)


@pytest.mark.parametrize("key", ["", "k" * 201, "a\nb", "a\x00", "\x1b[31m"])
def test_a_bad_key_is_refused(key: str) -> None:
    """The error names the field."""
    with pytest.raises(InvalidInput, match=r"^idempotency_key: "):
        rules.check_key(key)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "items: must not be empty"),
        ([{"a": 1}, {"a": 1, "b": 2}], "items: number 2 gives a, b, not a"),
        ([{}], "items: number 1 gives nothing, not a"),
        ([{"b": 1}], "items: number 1 gives b, not a"),
    ],
)
def test_each_row_has_exactly_the_columns(rows: list[dict[str, Any]], message: str) -> None:
    """The error names the row and its columns."""
    rules.check_rows("items", [{"a": 1}, {"a": 2}], ["a"])
    with pytest.raises(InvalidInput, match=f"^{message}$"):
        rules.check_rows("items", rows, ["a"])


def test_a_fingerprint_depends_on_the_content_alone() -> None:
    """Neither on the order of fields nor of items; repeated items count."""
    request, items = {"paper": "matt", "size": 1}, [{"address": "a", "copies": 1}, {"address": "b", "copies": 2}]
    found = rules.fingerprint(request, items)
    assert len(found) == 64
    assert rules.fingerprint({"size": 1, "paper": "matt"}, [{"copies": 2, "address": "b"}, items[0]]) == found
    others = [
        rules.fingerprint({**request, "paper": "glossy"}, items),
        rules.fingerprint(request, items[:1]),
        rules.fingerprint(request, [*items, items[0]]),
        rules.fingerprint(request, [{**items[0], "copies": 3}, items[1]]),
    ]
    assert len({found, *others}) == 5


def test_an_attempt_at_an_item_has_one_request_and_one_reference() -> None:
    """The id of the request is derived, so a repeated one is the same event. Another attempt or type has another."""
    found = rules.request_id(Requested, ITEM, 0)
    assert found == rules.request_id(Requested, ITEM, 0)
    others = [rules.request_id(Requested, ITEM, 1), rules.request_id(Submitted, ITEM, 0)]
    assert len({found, rules.request_id(Requested, new_id(), 0), *others}) == 4
    assert rules.reference(ITEM, 2) == f"{ITEM}-2"
    assert rules.references(ITEM, 2) == [f"{ITEM}-0", f"{ITEM}-1", f"{ITEM}-2"]


def test_long_lists_of_ids_are_cut() -> None:
    """After twenty, with the number of the others."""
    assert rules.name_some([1, 2]) == "1, 2"
    assert rules.name_some(range(20)).endswith(", 19")
    assert rules.name_some(range(23)).endswith(", 19 and 3 more")


def test_a_payload_takes_the_values_that_are_its_fields() -> None:
    """Others are ignored; a missing one is an error of pydantic."""
    values = {"job_id": ITEM, "item_id": ITEM, "attempt": 0, "paper": "matt", "address": "a", "copies": 7}
    made = rules.payload(Requested, values)
    assert (made.address, made.paper) == ("a", "matt")
    assert rules.cancelled_by("ana", "wrong text") == "cancelled by ana: wrong text"
