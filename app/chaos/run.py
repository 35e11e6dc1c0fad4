"""A run: set up, start actors and faults, stop the faults, wait until it is quiet, and check the laws.

Its processes end with it, also on an interrupt. Its directory is kept after a violation or an error.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from app.chaos import ending
from app.chaos.auditor import Auditor
from app.chaos.fault_context import FaultContext
from app.chaos.fault_scheduler import FaultScheduler, deck
from app.chaos.model import Model
from app.chaos.operator import Operator
from app.chaos.part import ActorOf, Chaos, ChaosPart
from app.chaos.producer import Producer
from app.chaos.recovery import Watch
from app.chaos.redelivery import Redelivery
from app.chaos.report import Report
from app.chaos.results import Results
from app.chaos.scheduler import Scheduler
from app.chaos.setup import declared, opened, stage
from app.chaos.stage import Stage
from app.chaos.waits import Waits
from app.chaos.worker_pool import worker_pool
from app.errors import SetupError
from app.postgres import embedded

_START_LIMIT_S = 60.0
"""Seconds for the workers to start, and for the opening faults. Generous for busy machines."""
_LAST_TURN_S = 100.0
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Parameters of a run: minutes of faults, seed, number of workers."""

    minutes: float
    seed: int
    workers: int


def run(wanted: Wanted, say: Say) -> Report:
    """Execute a run with the parts of all installed domains. `report.home` is its directory, if it was kept.

    Raises `SetupError` if no domain declares a part. The directory is kept after violations or an error of the run
    itself, not after an interrupt.
    """
    chaos = declared()
    home = Path(tempfile.mkdtemp(prefix="tallyman-chaos-"))
    report, keep = Report(wanted.seed, wanted.minutes), True
    try:
        environment = {name: value for one in chaos for name, value in one.environment.items()}
        with stage(home, environment) as set_up:
            say(f"seed {wanted.seed}; server, portal and logs in {home}")
            _play(set_up, chaos, wanted, report, say)
        keep = bool(report.violations)
    except KeyboardInterrupt:
        keep = False
        raise
    finally:
        if keep:
            say(f"kept for inspection: {home}")
            report.home = home
        else:
            _clear(home)
    return report


def _clear(home: Path) -> None:
    with suppress(OSError):
        embedded.reset(home)  # for a long path, the socket's directory is elsewhere
    shutil.rmtree(home, ignore_errors=True)


def _play(set_up: Stage, chaos: list[Chaos], wanted: Wanted, report: Report, say: Say) -> None:
    model, watch = Model(), Watch(set_up)
    with (
        opened(chaos, set_up, model) as parts,
        worker_pool(set_up.home / "logs", set_up.environment, wanted.workers) as workers,
    ):
        fault_context = FaultContext(set_up, workers, watch, wanted.minutes * 60)
        _wait_for(fault_context)
        watch.start()
        _let_loose(fault_context, wanted, model, parts, report, say)
        report.quiet_after = ending.wait_until_quiet(fault_context, model, parts)
        workers.stop()
        watch.finish()
        ending.judge(fault_context, model, parts, report)
        ending.count(fault_context, model, parts, report)


def _actors(parts: Sequence[ChaosPart]) -> Iterator[ActorOf]:
    """Yield the actors of a run: for the jobs of every part, the operator, and the parts' own."""
    for work in [part.work for part in parts if part.work is not None]:
        yield from (partial(Producer, work=work), partial(Producer, work=work))
        yield from (partial(Results, work=work), partial(Results, work=work), partial(Scheduler, work=work))
    yield from (Redelivery, Redelivery, partial(Operator, parts=parts))
    for part in parts:
        yield from part.actors


def _wait_for(fault_context: FaultContext) -> None:
    """Wait until all workers are registered. Raises `SetupError` after 60 s."""
    end = time.monotonic() + _START_LIMIT_S
    while not fault_context.is_complete():
        if time.monotonic() > end:
            raise SetupError(
                f"the workers did not start within {_START_LIMIT_S:.0f} s; see {fault_context.stage.home / 'logs'}"
            )
        time.sleep(0.1)


def _let_loose(
    fault_context: FaultContext, wanted: Wanted, model: Model, parts: Sequence[ChaosPart], report: Report, say: Say
) -> None:
    """Run actors, faults and checks of the invariants for the wanted time."""
    makers = enumerate(_actors(parts))
    actors = [make(fault_context.stage, model, f"{wanted.seed}-{number}") for number, make in makers]
    began = time.monotonic()
    fault_scheduler, auditor = (
        FaultScheduler(fault_context, model, deck(wanted.seed, parts), began, say),
        Auditor(fault_context.stage, began),
    )
    waits = Waits(fault_context.stage, [queue for part in parts for queue in part.queues])
    for thread in (*actors, fault_scheduler, auditor, waits):
        thread.start()
    try:
        threading.Event().wait(wanted.minutes * 60)
        fault_scheduler.opened.wait(_START_LIMIT_S)
    finally:
        fault_scheduler.finish()
    report.faults = fault_scheduler.faults
    say(f"  {time.monotonic() - began:6.1f} s  the last fault is over")
    for actor in actors:
        actor.over.set()
    for actor in actors:
        actor.finish(_LAST_TURN_S)
    auditor.finish()
    waits.finish()
    report.violations += [*auditor.violations, *waits.found.violations]
    report.waits = waits.found.longest
    report.audits = auditor.audits
