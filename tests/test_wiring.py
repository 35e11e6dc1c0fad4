"""Wiring: every event has one consumer, and every consumer an event."""

from __future__ import annotations

import inspect

import pytest

import events
from app.engine.routing import EVENTS_QUEUE, MOST_IN_A_ROW
from app.program import INVARIANTS, WIRING
from events.base import KINDS, Payload

LONGEST_QUEUE = 40
"""Bytes: Procrastinate's channel of a queue is `procrastinate_queue_v1#` and its name, and PostgreSQL cuts at 63."""

KNOWN = sorted(
    (kind.payload for kind in KINDS.values() if kind.payload.__module__.startswith(f"{events.__name__}.")),
    key=lambda payload: payload.type,
)
"""What the program's own events say; tests have events of theirs."""


def test_there_are_events_to_look_at() -> None:
    """A list that is empty proves nothing."""
    assert {"robot/job.submitted", "robot/item.requested", "robot/item.completed"} < {one.type for one in KNOWN}


@pytest.mark.parametrize("payload", KNOWN, ids=lambda payload: str(payload.type))
def test_an_event_has_one_consumer(payload: type[Payload]) -> None:
    """A handler or an effect: neither none nor both."""
    assert (payload in WIRING.handlers) != (payload in WIRING.effects)


def test_nobody_waits_for_what_is_never_said() -> None:
    """Whatever is wired is an event of the program."""
    assert {*WIRING.handlers, *WIRING.effects} == set(KNOWN)


def test_a_queues_name_fits_into_its_channel() -> None:
    """Else two queues would wake each other's workers, or none. Events have a queue of their own."""
    queues = [effect.queue for effect in WIRING.effects.values()]
    assert all(0 < len(queue.encode()) <= LONGEST_QUEUE and queue.isascii() for queue in queues)
    assert EVENTS_QUEUE not in queues
    assert WIRING.queues() == sorted({EVENTS_QUEUE, *queues})


def test_handlers_touch_the_database_and_effects_the_outside() -> None:
    """A handler is a plain function, which runs in its transaction; a call is a coroutine, which runs in none."""
    assert not any(inspect.iscoroutinefunction(handler) for handler in WIRING.handlers.values())
    assert all(inspect.iscoroutinefunction(effect.call) for effect in WIRING.effects.values())
    assert all(0 < effect.batch_size <= MOST_IN_A_ROW for effect in WIRING.effects.values())


def test_every_promise_has_a_name_of_its_own() -> None:
    """The audit's lines can be told apart."""
    names = [invariant.name for invariant in INVARIANTS]
    assert len(names) == len(set(names))
