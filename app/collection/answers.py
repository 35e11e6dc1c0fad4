"""What a marketplace answers, checked at the door: every field is bounded, and its texts fit into the database."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

MOST_CENTS = 100_000_000
"""Highest bill for one call: one million of a currency with cents."""
MOST_ITEMS = 500
"""Most items of one page: an event has room for 128 KiB of an answer and for 200 bytes more for each."""
LARGEST_DATA = 16 * 1024
"""About how many characters an item's data may take as JSON."""
_NUMBER = 20  # characters of a number at most
_LARGEST_INTEGER = 10**18
_LONGEST_MESSAGE = 500


def printable(text: str) -> str:
    """Return a text from outside without control characters, at most 500 characters."""
    if len(text) <= _LONGEST_MESSAGE and text.isprintable():
        return text.strip()
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()[:_LONGEST_MESSAGE]


def _plain(text: str) -> str:
    # The no-break space of prices is not "printable" in Python.
    if not text.isprintable() and not all(letter.isprintable() or letter == "\u00a0" for letter in text):
        raise PydanticCustomError("control_character", "a control character")
    return text


def _name(text: str) -> str:
    """Return a name without space around it, which sources add and a table cannot show."""
    trimmed = text.strip()
    if not trimmed:
        raise PydanticCustomError("blank", "blank")
    return _plain(trimmed)


def _fits_jsonb(data: dict[str, Any]) -> dict[str, Any]:
    """Refuse what PostgreSQL's jsonb refuses (NUL, NaN, infinity), and too much of anything."""
    if _size(data) > LARGEST_DATA:
        raise PydanticCustomError("too_large", "too large")
    return data


def _size(value: Any) -> int:
    """Return about how many characters a value takes. Raises `PydanticCustomError` for what jsonb refuses."""
    match value:
        case str():
            if "\x00" in value or "\\u0000" in value:  # the queue refuses the escaped form as well
                raise PydanticCustomError("nul_character", "a NUL character")
            return len(value) + 2
        case dict():
            return sum(_size(name) + _size(inner) + 2 for name, inner in value.items())
        case list():
            return sum(_size(inner) + 1 for inner in value)
        case float() if not math.isfinite(value):
            raise PydanticCustomError("not_finite", "not a finite number")
        case int() if abs(value) >= _LARGEST_INTEGER:
            raise PydanticCustomError("too_large", "too large")
    return _NUMBER


Cents = Annotated[int, Field(strict=True, ge=0, le=MOST_CENTS)]
_Word = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_plain)]
_Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_name)]
_Code = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,100}$")]
_Cursor = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_plain)]


class RawItem(BaseModel):
    """A product or seller as the marketplace spells it. With `error_code`, the marketplace could not get this item."""

    model_config = ConfigDict(frozen=True)

    item_type: Literal["amazon_product", "ebay_seller"]
    external_id: _Name
    marketplace: _Name
    data: Annotated[dict[str, Any], AfterValidator(_fits_jsonb)] = Field(default_factory=dict)
    error_code: _Code | None = None
    error_message: Annotated[str, AfterValidator(printable)] | None = None


class PageResult(BaseModel):
    """A bought page: its bill in cents, the next page's cursor (None: this was the last), and its items."""

    model_config = ConfigDict(frozen=True)

    charged_cents: Cents
    next_cursor: _Cursor | None = None
    items: tuple[RawItem, ...] = Field(max_length=MOST_ITEMS)


class Page(PageResult):
    """A page result with the reference of its call, as it is sent."""

    reference: _Word

    def result(self) -> PageResult:
        """Return the result without the reference."""
        return PageResult.model_construct(
            charged_cents=self.charged_cents, next_cursor=self.next_cursor, items=self.items
        )


class Bill(BaseModel):
    """The part of an answer that is a bill."""

    charged_cents: Cents


class Found(BaseModel):
    """The charged calls with the references that were asked for."""

    pages: list[Page] = Field(max_length=100)


class Quote(BaseModel):
    """The size of a category, and the price of one page in cents."""

    model_config = ConfigDict(frozen=True)

    category_id: _Word
    pages: Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
    price_cents: Cents


class Quotes(BaseModel):
    """The quotes of several categories."""

    quotes: list[Quote] = Field(max_length=1_000)


class Refusal(BaseModel):
    """Why a marketplace refuses a request."""

    detail: str
