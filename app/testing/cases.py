"""Run the crash enumeration of domains: the cases that their fixtures declare (`app.fixtures`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.context import Connection
from app.engine.registration import Domain
from app.fixtures import CrashCase, Crashes
from app.loading import fixtures, parts
from app.program import WIRING
from app.settings import using
from app.tenancy.store import create_workspace
from app.testing.crashes import Report, crash_everywhere
from app.testing.database import Database
from app.testing.drain import drain
from app.testing.faults import Fault


def served(domain: Domain) -> list[str]:
    """Return the event types that the domain's handlers and effects serve, sorted."""
    wirings = parts(domain).wirings
    return sorted(str(payload.type) for wiring in wirings for payload in (*wiring.handlers, *wiring.effects))


def cases(domain: Domain) -> list[CrashCase[Any]]:
    """Return the domain's cases; none if it declares no crash enumeration."""
    crashes = fixtures(domain).crashes
    return list(crashes.cases) if crashes else []


def without_case(domain: Domain) -> list[str]:
    """Return the event types that the domain serves and for which it declares no case, sorted."""
    covered = {case.payload.type for case in cases(domain)}
    return [name for name in served(domain) if name not in covered]


def run_case(database: Database, connection: Connection, domain: Domain, case: CrashCase[Any]) -> Report:
    """Crash the delivery of a case at every statement. Returns the points and the number of crashes.

    `connection`: to the empty `database`, in autocommit mode. Raises `AssertionError`, as `crash_everywhere` does.
    """
    crashes = fixtures(domain).crashes
    if crashes is None:
        raise LookupError(f"domain {domain.name}: its fixtures declare no crash enumeration")
    workspace = create_workspace(connection, f"crashes of {domain.name}")
    with using(**case.settings), crashes.world(connection, workspace.id) as world:
        return _run(database, crashes, case, world)


def _run(database: Database, crashes: Crashes[Any], case: CrashCase[Any], world: Any) -> Report:
    given = case.arrange(world)
    if case.drained:
        drain(queues=list(case.drained))
    return crash_everywhere(
        database,
        WIRING.handlers.get(case.payload) or WIRING.effects[case.payload],
        given,
        arrange=lambda: crashes.reset(world),
        observe=lambda _: crashes.observe(world),
        ignore=crashes.ignore,
        batch_size=case.batch_size,
        dead=case.dead,
        makes_room=case.makes_room,
        hold=(lambda other: other.execute(case.hold)) if case.hold else None,
        faults=faults(case),
    )


def faults(case: CrashCase[Any]) -> Sequence[Fault]:
    """Return the faults to try at each statement of a case."""
    return [Fault.DIES_BEFORE] if case.quick else list(Fault)
