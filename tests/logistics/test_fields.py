"""Field types for user input, and validation errors as text."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.errors import InvalidInput
from app.logistics.fields import OptionalEmail, OptionalWord, Phrase, Word, carrier_name, explain, is_printable


class Row(BaseModel):
    """A row with a field of each type."""

    model_config = ConfigDict(extra="forbid")

    word: Word = "w"
    phrase: Phrase = "p"
    optional: OptionalWord = None
    email: OptionalEmail = None
    units: int = Field(default=1, gt=0)


def problem(**fields: object) -> str:
    """Return the text of the validation error of these fields."""
    with pytest.raises(ValidationError) as refused:
        Row.model_validate(fields)
    return explain(refused.value)


def test_text_is_put_on_one_line() -> None:
    """Blank optional text counts as none."""
    row = Row.model_validate({"word": " two\n words ", "optional": " \t ", "email": ""})
    assert (row.word, row.optional, row.email) == ("two words", None, None)


@pytest.mark.parametrize("text", ["a\x00", "a\x1b[31m", "a\x7f", "a\x9f"])
def test_control_characters_are_refused(text: str) -> None:
    """Text that cannot be encoded as UTF-8 is not printable either."""
    assert not is_printable(text)
    assert not is_printable("a\ud800")
    assert is_printable("ñ 漢字 🚚")
    assert problem(word=text, phrase=text) == (
        "word: must not hold control characters; phrase: must not hold control characters"
    )


@pytest.mark.parametrize("email", ["name", "name@host", "@b.org", "a b@c.org", "a@b@c.org"])
def test_an_email_has_a_name_and_a_domain(email: str) -> None:
    """The error has an example."""
    assert Row(email="name@example.org").email == "name@example.org"
    assert problem(email=email) == "email: must be an e-mail address such as name@example.org"


def test_every_field_of_an_error_is_named_without_its_value() -> None:
    """Values may be secret."""
    assert problem(word="", units=0) == "word: must not be empty; units: must be greater than 0"
    assert problem(word="x" * 101).startswith("word: must have at most 100 characters")
    assert problem(units="hunter2") == "units: must be a valid integer"
    assert "hunter2" not in problem(units="hunter2", password="hunter2")
    with pytest.raises(ValidationError) as refused:
        Row.model_validate("hunter2")
    assert "hunter2" not in explain(refused.value)


@pytest.mark.parametrize("typed", ["DHL", " dhl ", "dhl"])
def test_a_carriers_name_is_stored_in_lower_case(typed: str) -> None:
    """Without blanks around it."""
    assert carrier_name(typed) == "dhl"
    for bad in ("", "-dhl", "d h l", "x" * 41, "dhl/"):
        with pytest.raises(InvalidInput, match=r"^carrier: "):
            carrier_name(bad)
