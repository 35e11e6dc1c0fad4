"""Objects, such as items, that wait for the outcome of a dead effect when its letter is closed by hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from app.context import Connection, HandlerContext
from app.engine import domain
from app.engine.dead_letters import endings
from app.errors import Conflict
from app.testing.published import assert_published
from events import Event, new_id
from tests.helpers.dead_letters import dead
from tests.helpers.support import scalar
from tests.helpers.toy import Made, Outside, Wanted, say, want

OBJECTS = {"first": new_id(), "second": new_id()}
"""The objects that wait for a call, by its word."""


def open_(_connection: Connection, wanted: Sequence[Event[Wanted]]) -> Mapping[UUID, UUID]:
    """Return the objects that wait."""
    return {event.id: OBJECTS[event.data.word] for event in wanted if event.data.word in OBJECTS}


def discard(context: HandlerContext, wanted: Sequence[Event[Wanted]], why: str) -> Iterable[Event[Any]]:
    """End each object with the reason."""
    return [event.follow(Made(word=event.data.word, outcome=why), context.now) for event in wanted]


@pytest.fixture
def _waited_for(outside: Outside) -> Iterator[None]:
    wiring = outside.wiring()
    effect = replace(wiring.effects[Wanted], open_=open_, discard=discard)
    with domain.use(domain.Wiring(wiring.handlers, {Wanted: effect})):
        yield


@pytest.mark.usefixtures("_waited_for")
def test_only_effects_with_an_open_object_are_waited_for(connection: Connection) -> None:
    """Handlers' events, and effects whose object has ended, are left out."""
    first = want("first")
    letters = dead(connection, first, want("ended"), say("handled"))
    assert endings.waiting(connection, letters) == {first.id: OBJECTS["first"]}


@pytest.mark.usefixtures("_waited_for")
def test_a_letter_whose_object_waits_cannot_be_resolved(connection: Connection) -> None:
    """`Conflict` names the objects; a letter without a waiting object can be resolved."""
    with pytest.raises(Conflict, match=rf"1 of them .*: {OBJECTS['first']};"):
        endings.end_waiting(connection, dead(connection, want("first"), say("x")), "resolve", "because")
    endings.end_waiting(connection, dead(connection, want("ended")), "resolve", "because")
    assert scalar(connection, "SELECT count(*) FROM public.procrastinate_jobs") == 0


@pytest.mark.usefixtures("_waited_for")
def test_discarding_ends_the_objects_with_the_reason(connection: Connection) -> None:
    """The events that the effect returns are published."""
    endings.end_waiting(connection, dead(connection, want("first"), want("second"), say("x")), "discard", "too old")
    assert_published(connection, Made, count=2, outcome="too old")
    assert_published(connection, Made, count=1, word="first")


def test_an_effect_without_objects_can_be_closed_in_any_way(connection: Connection, outside: Outside) -> None:
    """Without `open_` and `discard` nothing waits and nothing is published."""
    letters = dead(connection, want("first"))
    assert endings.waiting(connection, letters) == {}
    for action in ("resolve", "discard"):
        endings.end_waiting(connection, letters, action, "because")
    assert scalar(connection, "SELECT count(*) FROM public.procrastinate_jobs") == 0
