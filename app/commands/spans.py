"""Parse spans of time: 30s, 10m, 2h, 7d."""

from __future__ import annotations

from datetime import timedelta

from app.errors import InvalidInput

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def span(option: str, text: str) -> timedelta:
    """Parse an option's span. Raises `InvalidInput` unless it is a positive number with a unit s, m, h or d."""
    try:
        found = timedelta(**{_UNITS[text[-1:]]: float(text[:-1])})
    except (KeyError, ValueError, OverflowError):
        found = timedelta(0)
    if found <= timedelta(0):
        message = f"{option}: {text!r} is not a span of time; write 30s, 10m, 2h or 7d"
        raise InvalidInput(message)
    return found
