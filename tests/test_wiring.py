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


def test_there_are_events() -> None:
    """An empty list would prove nothing."""
    assert {"robot/job.submitted", "robot/item.requested", "robot/item.completed"} < {one.type for one in KNOWN}


@pytest.mark.parametrize("payload", KNOWN, ids=lambda payload: str(payload.type))
def test_an_event_has_one_consumer(payload: type[Payload]) -> None:
    """A handler or an effect."""
    assert (payload in WIRING.handlers) != (payload in WIRING.effects)


def test_every_consumer_has_an_event() -> None:
    """Of the program."""
    assert {*WIRING.handlers, *WIRING.effects} == set(KNOWN)


def test_a_queues_name_fits_into_its_channel() -> None:
    """Otherwise queues would share a channel. Events have their own queue."""
    queues = [effect.queue for effect in WIRING.effects.values()]
    assert all(0 < len(queue.encode()) <= LONGEST_QUEUE and queue.isascii() for queue in queues)
    assert EVENTS_QUEUE not in queues
    assert WIRING.queues() == sorted({EVENTS_QUEUE, *queues})


def test_handlers_are_functions_and_calls_are_coroutines() -> None:
    """A handler runs in its transaction, a call outside any."""
    assert not any(inspect.iscoroutinefunction(handler) for handler in WIRING.handlers.values())
    assert all(inspect.iscoroutinefunction(effect.call) for effect in WIRING.effects.values())
    assert all(0 < effect.batch_size <= MOST_IN_A_ROW for effect in WIRING.effects.values())


def test_every_invariant_has_its_own_name() -> None:
    """So the lines of the audit differ."""
    names = [invariant.name for invariant in INVARIANTS]
    assert len(names) == len(set(names))
