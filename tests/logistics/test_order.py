"""Orders: validation of their fields."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from app.errors import InvalidInput
from app.logistics.order import as_json, checked
from tests.helpers.order_rows import row


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("reference", value) for value in ("", " ", "x" * 101, "a\x00")),
        *(("units", value) for value in (0, -1, "1.5", "many", 2**31)),
        *(("weight_kg", value) for value in (0, "-1", "nan", "inf", "1.2345", "12345678")),
        *(("declared_value_cents", value) for value in (-1, "1.50", 10**16)),
        ("recipient_email", "a@b"),
        ("city", None),
        ("colour", "red"),
    ],
)
def test_a_bad_field_of_an_order_is_refused(field: str, value: Any) -> None:
    """The limits fit the database and portals."""
    with pytest.raises(ValidationError, match=field):
        row("A").model_validate({**row("A").model_dump(), field: value})


def test_new_values_are_returned_in_their_stored_form() -> None:
    """Text on one line, numbers as numbers. Blank optional fields are none."""
    assert checked({"city": " Santa\nFe ", "units": "3", "weight_kg": "1.5", "department": " "}) == {
        "city": "Santa Fe",
        "units": 3,
        "weight_kg": Decimal("1.5"),
        "department": None,
    }
    assert checked({"status": "cancelled", "tracking_number": "T-1"}) == {
        "status": "cancelled",
        "tracking_number": "T-1",
    }
    assert checked({}) == {}


def test_every_wrong_field_is_named() -> None:
    """Fields that cannot be changed with those that can; invalid values with their rule."""
    with pytest.raises(InvalidInput) as refused:
        checked({"reference": "X", "units": 0, "city": "", "status": "lost", "colour": "red"})
    message = str(refused.value)
    for part in (
        "reference: cannot be changed; recipient_name, ",
        "colour: cannot be changed",
        "units: must be greater",
    ):
        assert part in message
    assert "city: must not be empty" in message
    assert "status: must be" in message


def test_a_weight_is_a_json_number_that_reads_back_unchanged() -> None:
    """Up to ten digits."""
    weights = [Decimal("0.001"), Decimal("9999999.999"), Decimal("1.5")]
    assert [Decimal(str(as_json({"w": weight})["w"])) for weight in weights] == weights
    assert as_json({"units": 1, "city": None}) == {"units": 1, "city": None}
