"""Enumerate crash points: wherever a worker crashes, the final state must be that of a run without faults.

A first run delivers the events without faults. Each statement is a point. Then each fault is tried at each point. A run
restores the tables, delivers until the fault, rescues the deliveries of a dead worker, delivers the rest with a healthy
worker, and compares the final state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any
from uuid import UUID

from app.context import Connection
from app.engine.domain import Effect, Handler, Invariant, Policy, Wiring, wiring
from app.program import INVARIANTS
from app.testing.database import Database
from app.testing.faults import Fault, Point, Strike
from app.testing.published import everything
from app.testing.runs import Laboratory, Run, Scenario, laboratory, waiting_events
from events import Event

_LONGEST_TEXT = 240


@dataclass(frozen=True, slots=True)
class Report:
    """The points of the run without faults, and the number of cases tried for each fault."""

    points: Sequence[Point]
    tried: Mapping[Fault, int]

    @property
    def cases(self) -> int:
        """Return the number of cases of all faults."""
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
    hold: Callable[[Connection], object] | None = None,
    faults: Collection[Fault] = tuple(Fault),
) -> Report:
    """Deliver `events` without faults, then with every fault at every statement. All runs must end in the same state.

    `served`: a handler or effect for the events' type, which replaces that of the current wiring, or a whole wiring.
    `events` are published first, `batch_size` a queue row. Without `events`, the queue's waiting events are delivered.
    Each run starts from the database as the caller left it. It is restored at the end. `arrange()` resets the outside
    world before each run.

    Compared: rows of all tables except those of the queue and the engine, without times and without default-generated
    numbers and ids; `ignore` excludes more ("schema.table" or "schema.table.column"). Also compared: the number of
    applied and dead events by type, and the value of `observe(connection)`. `dead`: dead letters expected under
    `policy`. Also checked, after the fault and at the end: each event is in exactly one of waiting, applied and dead;
    no event has a cause that was not applied. At the end, the `invariants` hold. Events delivered twice must give the
    same state.

    `makes_room`: request each delivery of effects to end early as its first call begins.

    `hold(connection)` locks rows in the transaction of another session. The session holds them until the fault has
    occurred or no row is due; a healthy worker delivers what waited. The end must be that of a run without locks.
    Raises `AssertionError` if no event waited for them.

    `faults`: the faults to try.

    Raises `AssertionError` with the fault, the statement and the difference, and `TypeError` for events of several
    types unless `served` is a wiring. Do not call it in an event loop.
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
            hold,
            _repeated(room.connection, given),
        )
        return _everywhere(room, scenario, dead, faults)


def _wiring(served: Handler | Effect | Wiring, events: Sequence[Event[Any]]) -> Wiring:
    if isinstance(served, Wiring):
        return served
    kinds = {type(event.data) for event in events}
    if len(kinds) != 1:
        raise TypeError(f"events: must be of one type, not {len(kinds)}, for one handler or effect; pass a wiring")
    (kind,) = kinds
    own = wiring()
    handlers = {payload: handler for payload, handler in own.handlers.items() if payload is not kind}
    effects = {payload: effect for payload, effect in own.effects.items() if payload is not kind}
    if isinstance(served, Effect):
        return replace(own, handlers=handlers, effects={**effects, kind: served})
    return replace(own, handlers={**handlers, kind: served}, effects=effects)


def _repeated(connection: Connection, events: Sequence[Event[Any]]) -> frozenset[UUID]:
    """Return the ids of the events that are applied or dead already: they wait for another delivery."""
    done = {one.id for one in everything(connection) if one.place != "waiting"}
    return frozenset(event.id for event in events if event.id in done)


def _everywhere(room: Laboratory, scenario: Scenario, dead: int, faults: Collection[Fault]) -> Report:
    calm = room.run(replace(scenario, hold=None))
    _accept(calm, dead)
    second = room.run(scenario)
    _same(calm, second, "in a second undisturbed run (name what differs from run to run in `ignore`)")
    if scenario.hold is not None and not second.set_aside:
        raise AssertionError("hold: no event waited for the locks; hold rows that the deliveries need")
    _same(calm, room.run(scenario, twice=True), "when the events are delivered twice")
    tried: Counter[Fault] = Counter()
    for fault in faults:
        # Until no point is left: with concurrent calls, the number of points can differ between runs.
        for at in count():
            run = room.run(scenario, Strike(fault, at))
            _same(calm, run, _when(run, fault))
            if run.struck is None:
                break
            tried[fault] += 1
    return Report(second.points, tried)


def _when(run: Run, fault: Fault) -> str:
    if run.struck is None:
        return "in a run that no fault struck"
    text = run.points[run.struck].text
    short = text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]} …"
    return f"when {fault.value} point {run.struck + 1}:\n\n    {short}\n"


def _accept(calm: Run, dead: int) -> None:
    """Raise `AssertionError` if the run without faults has violations or an unexpected number of dead letters."""
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
