"""The choice of one workspace or organisation among several."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import pytest

from app.errors import InvalidInput, NotFound
from app.tenancy.choice import NAMED, as_id, the_one, the_only


@dataclass(frozen=True)
class Thing:
    """Something with an id and a name."""

    id: UUID
    name: str


ONE, TWIN = Thing(UUID(int=1), "Acme"), Thing(UUID(int=2), "Acme")
CALLED = Thing(UUID(int=3), str(UUID(int=1)))
"""Its name is another one's id."""


def test_an_id_comes_before_a_name() -> None:
    """A text that is the id of one and the name of another means the first."""
    assert the_one("org", [CALLED, ONE], str(ONE.id)) is ONE
    assert the_one("org", [CALLED], str(ONE.id)) is CALLED
    assert (as_id(str(ONE.id)), as_id("Acme")) == (ONE.id, None)


def test_none_and_several_are_errors_with_a_remedy() -> None:
    """The names of many are cut."""
    with pytest.raises(NotFound, match=r"^org: there is no 'Acme'; `orgs list` shows them$"):
        the_one("org", [], "Acme")
    with pytest.raises(InvalidInput, match=f"2 are called 'Acme': give an id: {ONE.id}, {TWIN.id}"):
        the_one("org", [ONE, TWIN], "Acme")
    with pytest.raises(NotFound, match="there is none yet"):
        the_only("org", [])
    with pytest.raises(InvalidInput, match=r"choose one with --org: (Acme, ){9}Acme, \.\.\.$"):
        the_only("org", [ONE] * (NAMED + 1))
    assert the_only("org", [ONE]) is ONE
