"""Journeys: the whole program in separate processes, from a fresh checkout."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil
import pytest

from app import children
from tests.helpers.children import CLI, read_line

PATIENCE_S = 100
KEYS = {
    "job_id",
    "status",
    "total_items",
    "success_count",
    "error_count",
    "by_error_type",
    "portal_accepted",
    "portal_duplicates",
    "job_completed_events",
    "run_id",
    "run_status",
    "run_items",
    "elapsed_s",
}
"""What the last line of `demo --json` has, at least."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine with only a checkout: no database, no settings."""

    home: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `python cli.py …`."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TALLYMAN_")}
        environment = {**kept, "TALLYMAN_HOME": str(self.home)}
        for name in ("DATABASE_URL", "MIGRATION_DATABASE_URL"):
            environment.pop(name, None)
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = children.start([*CLI, *arguments], environment=environment, **pipes)
        self.started.append(process)
        return process

    def run(self, *arguments: str) -> tuple[int, list[dict[str, Any]], str]:
        """Run a command. Returns its exit code, JSON lines and stderr."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=PATIENCE_S)
        return process.returncode, [json.loads(line) for line in out.splitlines()], err

    def left(self) -> list[str]:
        """Return all processes of this home, by command line, directory or environment."""
        return [" ".join(process.cmdline()) for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error):
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            said = [*process.cmdline(), process.cwd(), process.environ().get("TALLYMAN_HOME", "")]
            return any(str(self.home) in one for one in said)
        return False


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine that is cleaned up afterwards."""
    made = Machine(tmp_path / "home")
    try:
        yield made
    finally:
        made.start("db", "stop").communicate(timeout=PATIENCE_S)
        for process in made.started:
            children.stop(process)
            process.communicate(timeout=PATIENCE_S)


def test_the_demo_keeps_every_promise_and_leaves_nothing_running(machine: Machine) -> None:
    """Although a worker is killed: each order once at the portal, exact counters, one completion a generation."""
    code, rows, err = machine.run("demo", "--json", "--orders", "60")
    assert code == 0, err
    assert "Traceback" not in err
    (last,) = rows
    assert last.keys() >= KEYS
    assert (last["status"], last["total_items"]) == ("completed", 60)
    assert last["success_count"] + last["error_count"] == 60
    assert sum(last["by_error_type"].values()) == last["error_count"]
    assert (last["portal_accepted"], last["portal_duplicates"]) == (last["success_count"], 0)
    assert last["job_completed_events"] == last["generations"] == 2
    assert (last["run_status"], last["run_pages"], last["run_items"]) == ("completed", 20, 200)
    assert last["run_cost_cents"] == last["marketplace_charged_cents"] > 0
    assert "paused (budget)" in err
    assert last["elapsed_s"] > 0
    assert "killed worker" in err
    assert "BROKEN" not in err
    assert machine.left() == []
    _, (status,), _ = machine.run("db", "status", "--json")
    assert status["running"] is False


def test_a_demo_that_is_stopped_half_way_leaves_nothing_running(machine: Machine) -> None:
    """Portal, workers and server end with it."""
    demo = machine.start("demo", "--json", "--orders", "300")
    assert demo.stderr is not None
    read_until(demo.stderr, "processing:")
    assert machine.left()
    demo.send_signal(signal.SIGTERM)
    _, err = demo.communicate(timeout=PATIENCE_S)
    assert demo.returncode == 130
    assert "Traceback" not in err
    assert machine.left() == []


def read_until(stream: IO[str], words: str) -> None:
    """Read lines until one contains the text."""
    seen: list[str] = []
    while line := read_line(stream):
        seen.append(line)
        if words in line:
            return
    raise AssertionError(seen)
