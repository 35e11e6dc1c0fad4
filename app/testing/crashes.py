"""Crash points, enumerated: wherever a worker dies, the state is in the end that of an undisturbed run.

The delivery of some events runs once undisturbed, and each statement of it is a point. Then, for every point and every
fault that can strike there, everything starts again from the same tables, the fault strikes, a dead worker's
deliveries are rescued, a healthy worker delivers until nothing waits, and the states are compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from app.context import Connection
from app.engine.domain import Effect, Handler, Invariant, Policy, Wiring, wiring
from app.program import INVARIANTS
from app.testing.database import Database
from app.testing.faults import Fault, Point, Strike
from app.testing.runs import Laboratory, Run, Scenario, laboratory, waiting_events
from events import Event

_LONGEST_TEXT = 240


@dataclass(frozen=True, slots=True)
class Report:
    """What was tried: the points of the undisturbed run, and how many cases there were of each fault."""

    points: Sequence[Point]
    tried: Mapping[Fault, int]

    @property
    def cases(self) -> int:
        """How many faults there were in all."""
        return sum(self.tried.values())


def crash_everywhere(  # noqa: PLR0913 - each names a part of the experiment, and most are left out
    database: Database,
    served: Handler | Effect | Wiring,
    events: Sequence[Event[Any]] = (),
    *,
    arrange: Callable[[], object] = lambda: None,
    observe: Callable[[Connection], object] = lambda _: None,
    ignore: Collection[str] = (),
    batch_size: int | None = None,
    dead: int = 0,
    policy: Policy | None = None,
    invariants: Iterable[Invariant] = INVARIANTS,
    makes_room: bool = False,
) -> Report:
    """Deliver `events` undisturbed, then with every fault at every statement; it must all come to the same.

    `served` is the handler or the effect of the events' type, in place of the one that the wiring in force names, or
    a whole wiring. Without `events` those are delivered that wait in the queue; else they are published first, so
    many a row as `batch_size` says. Each run starts with the database as the caller left it, which is also how the
    caller finds it afterwards; `arrange()` makes the world outside of it what it was.

    What is compared: the rows of all tables but the queue's and the engine's, without moments, without numbers and
    ids that a default makes, and without what `ignore` names ("schema.table" or "schema.table.column"); how many
    events of each type are applied or dead, of which `dead` are expected under the `policy`; whatever
    `observe(connection)` returns. Besides, after the fault and at the end, each event is waiting, applied or dead and
    not two of these, nothing has followed from one that was not applied, and in the end the `invariants` hold. And
    delivered twice, the events come to the same as once.

    `makes_room`: each delivery of effects is asked to end early, for others that wait, as its first call begins.

    Raises `AssertionError` that names the fault, the statement and the difference, and `TypeError` for events of more
    than one type that a single handler or effect is to serve. Not to be called in an event loop.
    """
    with laboratory(database, policy or Policy()) as room:
        given = events or waiting_events(room.connection)
        scenario = Scenario(
            _wiring(served, given),
            tuple(given),
            bool(events),
            arrange,
            observe,
            frozenset(ignore),
            batch_size,
            tuple(invariants),
            makes_room,
        )
        return _everywhere(room, scenario, dead)


def _wiring(served: Handler | Effect | Wiring, events: Sequence[Event[Any]]) -> Wiring:
    if isinstance(served, Wiring):
        return served
    kinds = {type(event.data) for event in events}
    if len(kinds) != 1:
        raise TypeError(f"events of one type are needed, and these are of {len(kinds)}: hand in a whole wiring")
    (kind,) = kinds
    own = wiring()
    handlers = {payload: handler for payload, handler in own.handlers.items() if payload is not kind}
    effects = {payload: effect for payload, effect in own.effects.items() if payload is not kind}
    if isinstance(served, Effect):
        return replace(own, handlers=handlers, effects={**effects, kind: served})
    return replace(own, handlers={**handlers, kind: served}, effects=effects)


def _everywhere(room: Laboratory, scenario: Scenario, dead: int) -> Report:
    calm = room.run(scenario)
    _accept(calm, dead)
    _same(calm, room.run(scenario), "in a second undisturbed run (name what differs from run to run in `ignore`)")
    _same(calm, room.run(scenario, twice=True), "when the events are delivered twice")
    tried: Counter[Fault] = Counter()
    for fault in Fault:
        # Until it finds no more points: when calls run side by side, their number can differ from run to run.
        for at in count():
            run = room.run(scenario, Strike(fault, at))
            _same(calm, run, _when(run, fault))
            if run.struck is None:
                break
            tried[fault] += 1
    return Report(calm.points, tried)


def _when(run: Run, fault: Fault) -> str:
    if run.struck is None:
        return "in a run that no fault struck"
    text = run.points[run.struck].text
    short = text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]} …"
    return f"when {fault.value} point {run.struck + 1}:\n\n    {short}\n"


def _accept(calm: Run, dead: int) -> None:
    """Raise if already the undisturbed run is not what a test wants to start from."""
    if calm.complaints:
        raise AssertionError("\n".join(["undisturbed, the events come to no good end", *calm.complaints]))
    if len(calm.deaths) != dead:
        raise AssertionError("\n".join([f"{dead} dead letters expected of an undisturbed run", *calm.deaths]))


def _same(calm: Run, run: Run, when: str) -> None:
    different = calm.state.differences(run.state)
    if not (different or run.complaints):
        return
    lines = [when, *run.complaints]
    if different:
        lines += ["the end differs: - is undisturbed only, + is only here", *different]
    raise AssertionError("\n".join(lines))
