"""The end of a run: wait until it is quiet, check the laws, and count."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import LiteralString

import psycopg

from app.chaos import laws
from app.chaos.fault_context import FaultContext
from app.chaos.model import Model
from app.chaos.operator import replay_all
from app.chaos.part import ChaosPart
from app.chaos.recovery import Watch
from app.chaos.report import Recovery, Report, Violation, summarise
from app.context import Connection
from app.engine.dead_letters.awaited import Progress
from app.engine.queue.job_manager import CANNOT_RECORD
from app.engine.worker.stopping import CUT_SHORT
from app.errors import Conflict

QUIET_LIMIT_S = 120.0
"""Seconds after the last fault within which all accepted work must be done."""
_LOOK_EVERY_S = 0.2

_WAITING = "SELECT count(*) FROM engine.waiting()"
_COUNTS: dict[str, LiteralString] = {
    "events": "SELECT count(DISTINCT event_id) FROM chaos.said",
    "applied": "SELECT count(*) FROM engine.event_log",
    "letters": "SELECT count(*) FROM engine.failed_jobs",
    "replayed": "SELECT count(*) FROM engine.failed_jobs WHERE replay_count > 0",
    "still dead": "SELECT count(*) FROM engine.failed_jobs WHERE resolved_at IS NULL",
    "rescues": "SELECT count(*) FROM engine.rescues",
}
_FINE = {"exit 0 (told SIGTERM)", "killed by SIGKILL (told SIGKILL)", "exit 1 (by itself)"}
_FINE |= {f"exit {CANNOT_RECORD} ({how})" for how in ("by itself", "told SIGTERM")}
_FINE |= {f"exit {CUT_SHORT} (told SIGTERM)"}
"""Allowed ends of a worker: stopped, stopped at its time limit, killed, stopped retrying the database, or unable to
record an outcome. The exit codes are those of `work --help`."""


class _TooLong(Exception):
    """The run was not quiet within the time limit."""


def wait_until_quiet(fault_context: FaultContext, model: Model, parts: Sequence[ChaosPart]) -> float | None:
    """Replay dead letters and wait until no work is left. Returns the seconds, None after `QUIET_LIMIT_S`.

    All faults have ended. Workers that exit are still replaced.
    """
    began = time.monotonic()

    def patience(_progress: Progress | None = None) -> None:
        fault_context.worker_pool.fill()
        if time.monotonic() - began > QUIET_LIMIT_S:
            raise _TooLong

    try:
        while not _is_quiet(fault_context, model, parts, patience):
            patience()
            time.sleep(_LOOK_EVERY_S)
    except _TooLong:
        return None
    return time.monotonic() - began


def _is_quiet(
    fault_context: FaultContext, model: Model, parts: Sequence[ChaosPart], patience: Callable[[Progress], None]
) -> bool:
    try:
        with fault_context.stage.connect() as connection:
            if _number(connection, _WAITING) or fault_context.watch.still_waiting() or not fault_context.is_complete():
                return False
            return replay_all(connection, model.hopeless, parts, patience) == 0
    except (psycopg.OperationalError, Conflict):
        return False


def judge(fault_context: FaultContext, model: Model, parts: Sequence[ChaosPart], report: Report) -> None:
    """Check the laws on the quiet database and in the outside world. Adds violations to the report."""
    with fault_context.stage.overlook() as connection:
        works = [part.work for part in parts if part.work is not None]
        blocked = [event_id for part in parts for event_id in part.blocked(connection)]
        report.violations += laws.check(connection, model, works, blocked)
        for part in parts:
            findings = part.laws(connection, fault_context.freezes)
            report.violations += findings.violations
            report.known_limits += findings.known_limits
    report.violations += [*wrong_ends(fault_context.worker_pool.exits), *_gone_on(fault_context.watch)]
    if report.quiet_after is None:
        report.violations.append(Violation("everything is done in time", f"not within {QUIET_LIMIT_S:.0f} s"))


def count(fault_context: FaultContext, model: Model, parts: Sequence[ChaosPart], report: Report) -> None:
    """Fill in the report's counts."""
    with fault_context.stage.overlook() as connection:
        found = {what: _number(connection, query) for what, query in _COUNTS.items()}
    items = sum(len(submission.names) for submission, _ in model.accepted.values())
    report.accepted = {"jobs": len(model.accepted), "items": items, "events": found["events"]}
    report.applied = found["applied"]
    report.dead = {what: found[what] for what in ("letters", "replayed", "still dead")}
    report.dead["hopeless"] = len(model.hopeless)
    counters = Counter[str]()
    for part in parts:
        counters.update(part.counts())
    report.portal = dict(counters)
    report.did = {**dict(sorted(model.done.items())), "rescues": found["rescues"]}
    report.exits = dict(sorted(fault_context.worker_pool.exits.items()))
    report.recovery = _recoveries(fault_context.watch.seconds())


def _recoveries(seconds: Mapping[str, list[float]]) -> dict[str, Recovery]:
    together = [one for some in seconds.values() for one in some]
    return {"all": summarise(together), **{kind: summarise(some) for kind, some in seconds.items()}}


def wrong_ends(exits: Mapping[str, int]) -> Iterator[Violation]:
    """Return a violation for each undocumented end of a worker. `exits`: counts of ends, as in `WorkerPool`."""
    for how, times in exits.items():
        if how not in _FINE:
            yield Violation("a worker ends as it was told, or as it is documented", f"{times} times: {how}")


def _gone_on(watch: Watch) -> Iterator[Violation]:
    if waiting := watch.still_waiting():
        yield Violation("interrupted work goes on", f"{len(waiting)} deliveries have not: {waiting[:5]}")


def _number(connection: Connection, query: LiteralString) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0
