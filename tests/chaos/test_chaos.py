"""`chaos` as a command: a short run under faults breaks no law, reports what it did, and leaves nothing behind."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.children import CLI, finished

ROOT = Path(__file__).parent.parent.parent
SHORT = "0.1"
SEED = "4"
LIMIT_S = 200.0
"""A busy machine included, and the time that a run has to become quiet."""


def chaos(*arguments: str, temporary: Path) -> subprocess.CompletedProcess[str]:
    """Run the command with a temporary directory of its own."""
    environment = {"PATH": "/usr/bin:/bin", "TMPDIR": str(temporary), "HOME": str(temporary)}
    return finished(*CLI, "chaos", *arguments, environment=environment, limit=LIMIT_S)


@pytest.fixture(scope="module")
def short_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Run a few seconds with a seed. Returns the result and the run's directory."""
    temporary = tmp_path_factory.mktemp("t")
    return chaos("--minutes", SHORT, "--seed", SEED, "--json", temporary=temporary), temporary


def test_a_short_run_breaks_no_law(short_run: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    """Workers are killed and the server is restarted while jobs run."""
    ended, temporary = short_run
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    report: dict[str, Any] = json.loads(ended.stdout)
    assert (report["seed"], report["violations"]) == (int(SEED), [])
    assert report["faults_by_kind"]["kill"] > 0
    assert report["faults_by_kind"]["freeze"] > 0
    assert report["faults_by_kind"]["restart_immediate"] > 0
    assert min(report["accepted"].values()) > 0
    assert report["applied"] > report["accepted"]["items"]
    assert report["recovery"]["all"]["deliveries"] > 0
    assert report["home"] is None
    assert list(temporary.iterdir()) == []


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    """Exit code 2, and nothing is started."""
    for wrong in (["--minutes", "0"], ["--workers", "0"], ["--seed", "none"]):
        assert chaos(*wrong, temporary=tmp_path).returncode == 2
    assert list(tmp_path.iterdir()) == []
