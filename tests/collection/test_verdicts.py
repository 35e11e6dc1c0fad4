"""What becomes of an item of a result."""

from __future__ import annotations

from typing import Any

import pytest

from app.collection.fixtures.collector import found
from app.collection.verdicts import ASKED_AGAIN, Verdict, judge, missing, unwanted_names
from events import new_id
from events.collection import PageCompleted

FAILED: dict[str, Any] = {"data": None, "error_code": "timeout", "error_message": "too slow"}


def test_an_item_with_data_is_completed() -> None:
    """Whatever may still be asked."""
    assert judge(found("X"), frozenset(), 0) == Verdict("completed")


@pytest.mark.parametrize(("left", "status"), [(2, "again"), (1, "again"), (0, "failed")])
def test_an_error_that_can_pass_is_repeated_while_repeats_are_left(left: int, status: str) -> None:
    """With the reason, in either case."""
    assert judge(found("X", **FAILED), frozenset(), left) == Verdict(status, "timeout", "too slow")


def test_any_other_error_is_final() -> None:
    """A code that is not known to pass is not repeated."""
    assert "not_found" not in ASKED_AGAIN
    assert judge(found("X", data=None, error_code="not_found"), frozenset(), 2) == Verdict("failed", "not_found")


@pytest.mark.parametrize("listed", ["B0X", "b0x", "ACME GmbH", "acme", "the_seller"])
def test_an_unwanted_item_is_skipped(listed: str) -> None:
    """By its id or a seller's names, also if it has an error."""
    item = found("B0X", data={"normalized_name": "acme", "user_name": "The_Seller", "feedback_score": 1})
    verdict = judge(item, unwanted_names([listed]), 2)
    assert (verdict.status, verdict.error_code) == ("skipped", "unwanted")
    assert judge(found("b0x", **FAILED), unwanted_names(["B0X"]), 2).status == "skipped"


def test_other_fields_do_not_make_an_item_unwanted() -> None:
    """A title is no name."""
    assert judge(found("B0X", data={"title": "acme"}), unwanted_names(["acme"]), 0).status == "completed"


def test_an_item_that_a_result_leaves_out_has_failed() -> None:
    """With the page's own reason, if the page failed."""
    about: dict[str, Any] = {"run_id": new_id(), "page_id": new_id(), "attempt": 1}
    assert missing(PageCompleted(**about, status="completed")).error_code == "not_returned"
    failed = PageCompleted(**about, status="failed", error_code="request_refused", error_message="no")
    assert missing(failed) == Verdict("failed", "request_refused", "no")
