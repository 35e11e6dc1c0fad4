"""Spans of time as people write them: 30s, 10m, 2h, 7d."""

from __future__ import annotations

from datetime import timedelta

from app.errors import InvalidInput

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def span(option: str, text: str) -> timedelta:
    """The span that an option's text means. Raises `InvalidInput` for what is none, or is not positive."""
    try:
        found = timedelta(**{_UNITS[text[-1:]]: float(text[:-1])})
    except (KeyError, ValueError, OverflowError):
        found = timedelta(0)
    if found <= timedelta(0):
        message = f"{option}: {text!r} is no span of time; write 30s, 10m, 2h or 7d"
        raise InvalidInput(message)
    return found
