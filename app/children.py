"""Start child processes with default signals, an empty signal mask and a session of their own.

A child inherits which signals are ignored and which are blocked. A background job of a script, `nohup` and some CI
runners ignore SIGINT or SIGHUP: without a reset, the child could not be stopped by them.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parent.parent
"""The checkout: the working directory of a child unless it is given another."""

STOP_LIMIT_S = 15.0
"""Seconds from SIGTERM to SIGKILL."""

_STOPPERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

# `preexec_fn` is unsafe in a process with threads, so a small interpreter resets the signals and becomes the command.
_RESET = f"""
import os, signal, sys
for number in {tuple(int(one) for one in _STOPPERS)}:
    signal.signal(number, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, ())
os.execvp(sys.argv[1], sys.argv[1:])
"""


def start(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    directory: Path = ROOT,
    stdin: int | IO[Any] = subprocess.DEVNULL,
    stdout: int | IO[Any] | None = None,
    stderr: int | IO[Any] | None = None,
) -> subprocess.Popen[str]:
    """Start a command in `directory`, in a session of its own; its pipes carry text.

    Ctrl-C and the end of a terminal do not reach it: the caller stops it. `environment`: this process's if None.
    """
    return subprocess.Popen(
        [*_reset(), *command],
        cwd=directory,
        env=environment,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        text=True,
        start_new_session=True,
    )


def stop(process: subprocess.Popen[Any], limit: float = STOP_LIMIT_S) -> None:
    """Send SIGTERM, and SIGKILL if the process still runs after `limit` seconds. Returns when it has ended."""
    process.terminate()
    wait(process, limit)
    if process.stdout:
        process.stdout.close()


def wait(process: subprocess.Popen[Any], limit: float = STOP_LIMIT_S) -> int:
    """Wait for a process that has been told to stop, and kill it after `limit` seconds. Its exit code."""
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        kill(process)
        return process.returncode


def kill(process: subprocess.Popen[Any]) -> None:
    """Send SIGKILL and wait. Raises `TimeoutExpired` if the process does not end, as one stuck in the kernel."""
    process.kill()
    process.wait(STOP_LIMIT_S)


def _reset() -> list[str]:
    """The interpreter that resets the signals, if there is anything to reset."""
    ignored = any(signal.getsignal(number) is signal.SIG_IGN for number in _STOPPERS)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return [sys.executable, "-I", "-S", "-c", _RESET] if ignored or blocked else []
