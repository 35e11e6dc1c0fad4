"""Rules of collection runs: transitions, names, estimates, input checks. Pure: no database, no clock, no network."""

from __future__ import annotations

import re

from app.errors import InvalidInput


def marketplace_name(typed: str) -> str:
    """Return a marketplace's name in its stored form, in lower case. Raises `InvalidInput` for an invalid name."""
    name = typed.strip().lower()
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,59}", name):
        message = f"marketplace: {typed!r} is not a valid name; use up to 60 letters a to z, digits, dots and -"
        raise InvalidInput(message)
    return name
