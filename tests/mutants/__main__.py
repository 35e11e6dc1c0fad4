"""Run mutants: `python -m tests.mutants list`, `python -m tests.mutants run [--only TEXT] [--jobs 2]`.

A mutant is a small wrong change. It is made in a copy of the checkout, and its tests are run there: a failing test
catches it. First the tests are run without a change, because a test that always fails catches everything.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Annotated, Any

import typer

from tests.helpers.children import child
from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import ROOT, Mutant

LIMIT_S = 400.0
"""A mutant that waits for ever is caught too."""
_LIMIT_OF_ALL_S = 3600.0
_STOP_LIMIT_S = 90.0
LEAST_CAUGHT = 0.95
_NOT_COPIED = ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", ".hypothesis")
_PASSED, _FAILED = 0, 1

program = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a mutant: `caught`, `survived`, or `broken` if its tests could not be run."""

    mutant: Mutant
    number: int
    outcome: str
    seconds: float
    by: str

    def __str__(self) -> str:
        """Return one line."""
        told = (
            f"{self.outcome:8} {self.number:3} {self.mutant.file}: {self.mutant.why} ({self.seconds:.0f} s) {self.by}"
        )
        return told.rstrip()


@contextmanager
def copied(checkout: Path) -> Iterator[Path]:
    """Copy a checkout for the length of the block."""
    with tempfile.TemporaryDirectory(prefix="m-") as place:
        copy = Path(place) / "c"
        copytree(checkout, copy, ignore=_NOT_COPIED)
        yield copy


def run_tests(copy: Path, tests: str, limit: float = LIMIT_S) -> tuple[int, str]:
    """Run tests in a copy until one fails. Returns pytest's exit code, and the first failed test or the last line."""
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", f"--basetemp={copy.parent / 't'}"]
    # PYTHONPATH comes before the checkout that the virtual environment names. The limit is the runner's.
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with child(*command, *tests.split(), environment=environment, directory=copy, **pipes) as process:
        try:
            out, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            # As Ctrl-C: pytest stops its server.
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=_STOP_LIMIT_S)
            return _FAILED, "timed out"
    failed = [line for line in out.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return process.returncode, (failed or out.splitlines()[-1:] or [""])[0]


def judge(checkout: Path, number: int, mutant: Mutant) -> Verdict:
    """Apply a mutant to a copy and run its tests there."""
    began = time.monotonic()
    with copied(checkout) as copy:
        try:
            mutant.apply(copy)
        except LookupError as error:
            return Verdict(mutant, number, "broken", 0.0, str(error))
        code, by = run_tests(copy, mutant.tests)
    outcome = {_PASSED: "survived", _FAILED: "caught"}.get(code, "broken")
    return Verdict(mutant, number, outcome, time.monotonic() - began, "" if code == _PASSED else by)


def chosen(only: list[str]) -> dict[int, Mutant]:
    """Return the mutants whose number, file or reason contains one of the texts; all without texts."""
    return {
        number: mutant
        for number, mutant in enumerate(MUTANTS, start=1)
        if not only or any(text == str(number) or text in f"{mutant.file} {mutant.why}" for text in only)
    }


Only = Annotated[list[str] | None, typer.Option(help="A number, or a part of a file's name or of the reason.")]


@program.command("list")
def show(only: Only = None) -> None:
    """Print the mutants."""
    for number, mutant in chosen(only or []).items():
        survives = f" (survives: {mutant.survives})" if mutant.survives else ""
        typer.echo(f"{number:3} {mutant.file}: {mutant.why}{survives}")


@program.command()
def run(only: Only = None, jobs: int = 2, *, trust: bool = False) -> None:
    """Run mutants; exit code 1 if fewer than 95 % are caught. `--trust` skips the run without a change."""
    mutants = chosen(only or [])
    # What is edited meanwhile is not tested: all copies are made of the first.
    with copied(ROOT) as checkout:
        verdicts = list(_judged(checkout, mutants, jobs, trust=trust))
    counted = Counter(verdict.outcome for verdict in verdicts)
    caught, survived, broken = (counted[outcome] for outcome in ("caught", "survived", "broken"))
    typer.echo(f"{caught} of {len(verdicts)} caught, {survived} survived, {broken} broken")
    raise typer.Exit(caught < LEAST_CAUGHT * len(verdicts))


def _judged(checkout: Path, mutants: dict[int, Mutant], jobs: int, *, trust: bool) -> Iterator[Verdict]:
    if not trust:
        tests = sorted({part for mutant in mutants.values() for part in mutant.tests.split()})
        with copied(checkout) as copy:
            code, words = run_tests(copy, " ".join(tests), limit=_LIMIT_OF_ALL_S)
        if code != _PASSED:
            raise SystemExit(f"the tests fail without any change: {words}")
    with ThreadPoolExecutor(jobs) as threads:
        for verdict in threads.map(lambda one: judge(checkout, *one), mutants.items()):
            typer.echo(verdict)
            yield verdict


if __name__ == "__main__":
    program()
