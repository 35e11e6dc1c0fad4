"""Merge the wirings of several domains into the wiring of a program."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from app.context import HandlerContext
from app.engine.domain import Lockable, Wiring
from app.engine.merge import merged
from app.engine.subscribers import subscriber
from app.errors import SetupError
from events import Event
from tests.helpers.toy import Echo, Outside, Said, Wanted


def nothing(_context: HandlerContext, _events: list[Event[Any]]) -> Iterable[Event[Any]]:
    """Do nothing."""
    return ()


def lock(*_: object) -> None:
    """Lock nothing."""


def test_a_merged_wiring_has_everything_and_knows_the_owners() -> None:
    """Handlers, effects, forecasts, locks and lockables of all parts, in their order."""
    effect = Outside().wiring().effects[Wanted]
    lockable = Lockable("s", "t", lambda _: None)
    one = Wiring({Said: nothing}, {}, forecasts={Said: lambda *_: {}}, locks=[lock])
    two = Wiring({Echo: nothing}, {Wanted: effect}, lockables=[lockable])
    made = merged([("one", one), ("two", two)], tables=["s.t"], schemas=["s"], migrations={"one": Path("/migrations")})
    assert (made.handlers, made.effects) == ({Said: nothing, Echo: nothing}, {Wanted: effect})
    assert set(made.forecasts) == {Said}
    assert [*made.locks, *made.lockables] == [lock, lockable]
    assert (made.tables, made.schemas, made.migrations) == (["s.t"], ["s"], {"one": Path("/migrations")})
    assert made.owners == {Said: "one", Echo: "two", Wanted: "two"}


@pytest.mark.parametrize("by", ["handler", "effect"])
def test_an_event_type_is_served_once(by: str) -> None:
    """By a handler or an effect, of one domain. The error names the type and the domains."""
    effect = Outside().wiring().effects[Wanted]
    other = Wiring({Said: nothing}, {}) if by == "handler" else Wiring({}, {Said: effect})
    with pytest.raises(SetupError, match=r"event type 'toy/word\.said' is claimed twice: by one and by two; an event"):
        merged([("one", Wiring({Said: nothing}, {})), ("two", other)])
    with pytest.raises(SetupError, match=r"'toy/word\.said' is claimed twice: by one; an event"):
        merged([("one", Wiring({Said: nothing}, {})), ("one", other)])


def test_subscriptions_to_one_type_are_collected() -> None:
    """Each subscriber gets a copy; the owner's domain may be merged before or after them."""
    one, two = (subscriber(f"{name}/x", handlers={Said: nothing}) for name in ("a", "b"))
    made = merged([("a", one), ("toys", Wiring({Said: nothing}, {})), ("b", two)])
    assert [payload.type for payload in made.subscriptions[Said]] == ["a/x:toy/word.said", "b/x:toy/word.said"]


def test_a_subscribers_name_is_declared_once() -> None:
    """Also if the types differ."""
    one, two = subscriber("a/y", handlers={Said: nothing}), subscriber("a/y", handlers={Said: nothing})
    toys = Wiring({Said: nothing}, {})
    with pytest.raises(SetupError, match=r"subscriber 'a/y' is claimed twice: by one and by two; rename one"):
        merged([("toys", toys), ("one", one), ("two", two)])


def test_a_subscription_needs_an_owner() -> None:
    """A type without a handler, or with an effect, has none to subscribe to."""
    effect = Outside().wiring().effects[Wanted]
    with pytest.raises(SetupError, match=r"subscriber a/z: toy/call\.wanted has no handler in this program"):
        merged([("toys", Wiring({}, {Wanted: effect})), ("a", subscriber("a/z", handlers={Wanted: nothing}))])
