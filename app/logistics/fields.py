"""Field types for user input (text on one line), and validation errors as text."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from app.errors import InvalidInput

# Control characters that str.split() keeps, and surrogates from arguments that are not valid UTF-8.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_SUBJECT = re.compile(r"^(?:Value error, |[A-Z][a-z]+(?: input)? should )")


def _on_one_line(value: Any) -> Any:
    """Replace each run of white space, including line breaks, by one space."""
    return " ".join(value.split()) if isinstance(value, str) else value


def is_printable(text: str) -> bool:
    """Whether `text` has no control characters and can be encoded as UTF-8."""
    return not _UNPRINTABLE.search(text)


def _printable(value: str) -> str:
    if not is_printable(value):
        raise ValueError("must not hold control characters")
    return value


def _none_if_blank(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _email(value: str) -> str:
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", value):
        raise ValueError("must be an e-mail address such as name@example.org")
    return value


Word = Annotated[str, Field(min_length=1, max_length=100), BeforeValidator(_on_one_line), AfterValidator(_printable)]
"""Up to 100 characters on one line."""
Phrase = Annotated[str, Field(min_length=1, max_length=500), BeforeValidator(_on_one_line), AfterValidator(_printable)]
"""Up to 500 characters on one line."""
OptionalWord = Annotated[Word | None, BeforeValidator(_none_if_blank)]
OptionalEmail = Annotated[Annotated[Phrase, AfterValidator(_email)] | None, BeforeValidator(_none_if_blank)]


def carrier_name(typed: str) -> str:
    """Return a carrier's name in its stored form, in lower case. Raises `InvalidInput` for an invalid name."""
    name = typed.strip().lower()
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", name):
        raise InvalidInput(f"carrier: {typed!r} is not a valid name; use up to 40 letters a to z, digits, - and _")
    return name


def explain(error: ValidationError) -> str:
    """Return a validation error on one line, e.g. `units: must be greater than 0`. Leaves out values, for secrecy."""
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(
        f"{(problem['loc'] or ('row',))[0]}: {_words(problem['type'], problem['msg'])}" for problem in problems
    )


def _words(kind: str, message: str) -> str:
    if kind in {"missing", "string_too_short"}:
        return "must not be empty"
    said, found = _SUBJECT.subn("", message, count=1)
    if not found or kind == "value_error":
        return said
    return f"must {said.partition(', unable')[0]}"
