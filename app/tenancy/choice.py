"""Choose one of several workspaces or organisations, by id or name, or because it is the only one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar
from uuid import UUID

from app.errors import InvalidInput, NotFound

NAMED = 10
"""Most names that an error lists."""


class Named(Protocol):
    """Something with an id and a name."""

    @property
    def id(self) -> UUID:
        """Its id."""

    @property
    def name(self) -> str:
        """Its name, which others may have too."""


N = TypeVar("N", bound=Named)


def as_id(wanted: str) -> UUID | None:
    """Return the id that a text is; None if it is no id."""
    try:
        return UUID(wanted)
    except ValueError:
        return None


def the_one(what: str, found: Sequence[N], wanted: str) -> N:
    """Return the one that has `wanted` as its id, else as its name. `what`: its kind in errors, such as `org`.

    Raises `NotFound` if there is none, and `InvalidInput`, with their ids, if several have the name.
    """
    found = [one for one in found if one.id == as_id(wanted)] or found
    if not found:
        raise NotFound(f"{what}: there is no {wanted!r}; `{what}s list` shows them")
    if len(found) > 1:
        ids = ", ".join(str(one.id) for one in found)
        raise InvalidInput(f"{what}: {len(found)} are called {wanted!r}: give an id: {ids}")
    return found[0]


def the_only(what: str, found: Sequence[N]) -> N:
    """Return the only one of at most `NAMED` + 1 that were found.

    Raises `NotFound` if there is none and `InvalidInput` if there are several.
    """
    if not found:
        raise NotFound(f"{what}: there is none yet; `workspaces create NAME` makes one")
    if len(found) > 1:
        names = ", ".join(one.name for one in found[:NAMED]) + (", ..." if len(found) > NAMED else "")
        raise InvalidInput(f"{what}: there are several; choose one with --{what}: {names}")
    return found[0]
