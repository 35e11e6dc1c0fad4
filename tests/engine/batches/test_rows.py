"""Rows of jobs and items."""

from __future__ import annotations

from dataclasses import fields
from uuid import uuid4

import pytest

from app.engine.batches.rows import Item, ItemState, Job
from app.engine.batches.tables import JobTable


@pytest.mark.parametrize(
    ("status", "is_open"), [("pending", True), ("processing", True), ("success", False), ("error", False)]
)
def test_an_item_is_open_until_it_has_a_result(status: str, *, is_open: bool) -> None:
    """By the engine's word."""
    state = ItemState(uuid4(), uuid4(), uuid4(), status, 0, ())  # type: ignore[arg-type]
    assert state.is_open is is_open


def test_the_default_columns_are_those_of_a_table_by_default() -> None:
    """A domain that names no columns declares `Job` and `Item`."""
    table = JobTable(schema="a", jobs="b")
    assert {table.total, table.succeeded, table.failed} <= {field.name for field in fields(Job)}
    assert {"job_id", "status", "retry_count"} <= {field.name for field in fields(Item)}
