"""A run: set the stage, let everybody loose, stop the faults, wait until it is quiet, and compare.

Whatever ends it, an interrupt included, its processes end with it. Its directory stays if anything was wrong.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.chaos import ending
from app.chaos.actors import Actor
from app.chaos.auditor import Auditor
from app.chaos.cancellations import Cancellations
from app.chaos.clerk import Clerk
from app.chaos.courier import Courier
from app.chaos.crew import crew
from app.chaos.model import Model
from app.chaos.producer import Producer
from app.chaos.recovery import Watch
from app.chaos.report import Report
from app.chaos.saboteur import Saboteur
from app.chaos.scene import Scene
from app.chaos.scheduler import Scheduler
from app.chaos.stage import Stage, stage
from app.chaos.tenants import Flooding, Hanging, Small
from app.chaos.waits import Waits
from app.errors import SetupError
from app.postgres import embedded

_START_LIMIT_S = 60.0
"""Seconds for the workers to begin, and for the faults that every run has: on a busy machine both take a while."""
_LAST_TURN_S = 100.0
_ACTORS: tuple[type[Actor], ...] = (
    Producer,
    Producer,
    Courier,
    Courier,
    Clerk,
    Scheduler,
    Cancellations,
    Flooding,
    Hanging,
    Small,
)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for: how long faults are done, from which seed, to how many workers."""

    minutes: float
    seed: int
    workers: int


def run(wanted: Wanted, say: Say) -> Report:
    """Play a run from beginning to end; the report tells where its directory is, if it was kept.

    It is kept if there were violations, or if the run itself failed; not if it was interrupted.
    """
    home = Path(tempfile.mkdtemp(prefix="tallyman-chaos-"))
    report, keep = Report(wanted.seed, wanted.minutes), True
    try:
        with stage(home) as set_up:
            say(f"seed {wanted.seed}; server, portal and logs in {home}")
            _play(set_up, wanted, report, say)
        keep = bool(report.violations)
    except KeyboardInterrupt:
        keep = False
        raise
    finally:
        if keep:
            say(f"kept for you to look at: {home}")
            report.home = home
        else:
            _clear(home)
    return report


def _clear(home: Path) -> None:
    with suppress(OSError):
        embedded.reset(home)  # where the path is long, the socket's directory is elsewhere
    shutil.rmtree(home, ignore_errors=True)


def _play(set_up: Stage, wanted: Wanted, report: Report, say: Say) -> None:
    model, watch = Model(), Watch(set_up)
    with crew(set_up.home / "logs", set_up.environment, wanted.workers) as workers:
        scene = Scene(set_up, workers, watch, wanted.minutes * 60)
        _wait_for(scene)
        watch.start()
        _let_loose(scene, wanted, model, report, say)
        report.quiet_after = ending.settle(scene, model)
        workers.stop()
        watch.finish()
        ending.judge(scene, model, report)
        ending.count(scene, model, report)


def _wait_for(scene: Scene) -> None:
    """Until all workers have begun. Raises `SetupError` when they do not."""
    end = time.monotonic() + _START_LIMIT_S
    while not scene.is_complete():
        if time.monotonic() > end:
            raise SetupError(
                f"the workers have not begun after {_START_LIMIT_S:.0f} s; see {scene.stage.home / 'logs'}"
            )
        time.sleep(0.1)


def _let_loose(scene: Scene, wanted: Wanted, model: Model, report: Report, say: Say) -> None:
    """Let everybody do what they do for as long as is wanted, and look the invariants up meanwhile."""
    actors = [kind(scene.stage, model, f"{wanted.seed}-{number}") for number, kind in enumerate(_ACTORS)]
    began = time.monotonic()
    saboteur, auditor = Saboteur(scene, model, wanted.seed, began, say), Auditor(scene.stage, began)
    waits = Waits(scene.stage)
    for thread in (*actors, saboteur, auditor, waits):
        thread.start()
    try:
        threading.Event().wait(wanted.minutes * 60)
        saboteur.opened.wait(_START_LIMIT_S)
    finally:
        saboteur.finish()
    report.faults = saboteur.faults
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
