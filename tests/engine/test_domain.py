"""Wiring: the routes, queues and keys that follow from handlers and effects, and the wiring in use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from app.context import Connection
from app.engine import domain
from app.engine.domain import Lockable, Wiring
from app.engine.routing import EFFECTS_PRIORITY, EVENTS_PRIORITY, Route
from events import Event
from events.contracts import Served
from tests.helpers.calls import keyed, word_key
from tests.helpers.sequences import Step
from tests.helpers.toy import Echo, Made, Outside, Said, Wanted, say, want

TENANT = UUID(int=1)


def test_events_of_handlers_have_one_route(outside: Outside) -> None:
    """The same object for all, so that `publish()` can compare by identity."""
    wiring = outside.wiring()
    route = wiring.route(say("a"))
    assert route == Route("events", EVENTS_PRIORITY, 500)
    assert wiring.route(say("b")) is route
    assert wiring.share(say("a")) is None


def test_events_of_an_effect_have_its_queue_and_their_share(outside: Outside) -> None:
    """The account is a field of the event's data; without it, or if it is empty, the tenant is the share."""
    wiring = outside.wiring(batch_size=7)
    event = want("a", limit="x", tenant=TENANT)
    assert wiring.route(event) == Route("toys", EFFECTS_PRIORITY, 7, effect_of="toy/call.wanted", share=str(TENANT))
    effect = replace(wiring.effects[Wanted], account="limit")
    by_account = Wiring(wiring.handlers, {Wanted: effect})
    assert by_account.share(event) == f"{TENANT}/x"
    assert by_account.share(want("a", tenant=TENANT)) == str(TENANT)
    assert by_account.share(want("a")) == "-"


def test_a_type_that_nobody_serves_has_no_route(outside: Outside) -> None:
    """The error names the type and the setting."""
    with pytest.raises(LookupError, match=r"toy/word.said: .*TALLYMAN_DOMAINS"):
        Wiring({}, {}).route(say("a"))


def test_an_effect_cannot_be_sequenced(outside: Outside) -> None:
    """Its calls run concurrently: `TypeError` when the wiring is declared."""
    with pytest.raises(TypeError, match=r"toy/step.taken"):
        Wiring({}, {Step: outside.wiring().effects[Wanted]})


def test_queues_and_served_types_follow_from_handlers_and_effects(outside: Outside) -> None:
    """The queue of handlers is always there."""
    wiring = outside.wiring()
    other = replace(wiring.effects[Wanted], queue="another")
    both = Wiring({Said: wiring.handlers[Said]}, {Wanted: wiring.effects[Wanted], Made: other})
    assert (both.queues(), both.effect_queues()) == (["another", "events", "toys"], ["another", "toys"])
    assert both.served() == {
        "toy/word.said": Served("events", "handler"),
        "toy/call.wanted": Served("toys", "effect"),
        "toy/call.made": Served("another", "effect"),
    }
    assert Wiring({}, {}).queues() == ["events"]


def test_only_effects_have_call_keys(outside: Outside) -> None:
    """By the event's id."""
    said, wanted = say("a"), want("a")
    assert outside.wiring().call_keys([said, wanted]) == {wanted.id: wanted.id}
    assert keyed(outside).call_keys([said, wanted]) == {wanted.id: word_key(wanted)}


def test_a_type_has_the_owner_that_declared_it(outside: Outside) -> None:
    """Without a declaration it is the type's part before the slash."""
    wiring = replace(outside.wiring(), owners={Echo: "toys"})
    assert (wiring.owner(Echo), wiring.owner(Said)) == ("toys", "toy")


def test_locks_run_in_their_order(outside: Outside) -> None:
    """One order for all deliveries prevents deadlocks."""
    calls: list[tuple[str, int]] = []

    def lock(name: str) -> Any:
        def run(_connection: Connection, events: Sequence[Event[Any]]) -> None:
            calls.append((name, len(events)))

        return run

    connection: Any = None
    Wiring({}, {}, locks=[lock("jobs"), lock("items")]).lock(connection, [say("a"), say("b")])
    assert calls == [("jobs", 2), ("items", 2)]
    assert Lockable("s", "t", lambda _: None).name == "s.t"


def test_the_wiring_that_was_chosen_last_is_in_use(outside: Outside) -> None:
    """Blocks may end in any order: each ends its own choice, also of two equal wirings."""
    one, two = Wiring({}, {}), Wiring({}, {})
    assert one == two
    before = domain.wiring()
    first, second = domain.use(one), domain.use(two)
    first.__enter__()
    second.__enter__()
    assert domain.wiring() is two
    first.__exit__(None, None, None)
    assert domain.wiring() is two
    second.__exit__(None, None, None)
    assert domain.wiring() is before
