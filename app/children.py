"""Start child processes with default signal handlers, an empty signal mask and a new session.

A child process inherits ignored and blocked signals. Background jobs of scripts, `nohup` and some CI runners ignore
SIGINT or SIGHUP. Without a reset, these signals could not stop the child.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parent.parent
"""The root of the checkout: the default working directory of a child."""

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
    """Start a command in `directory`, in a new session, with text pipes. Returns the process.

    Ctrl-C and the end of the terminal do not stop it; the caller must. `environment`: default this process's.
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
    """Wait for a process to end, and send SIGKILL after `limit` seconds. Returns its exit code."""
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        kill(process)
        return process.returncode


def kill(process: subprocess.Popen[Any]) -> None:
    """Send SIGKILL and wait. Raises `TimeoutExpired` if the process does not end."""
    process.kill()
    process.wait(STOP_LIMIT_S)


def _reset() -> list[str]:
    """Return the command prefix that resets signals; an empty list if there is nothing to reset."""
    ignored = any(signal.getsignal(number) is signal.SIG_IGN for number in _STOPPERS)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return [sys.executable, "-I", "-S", "-c", _RESET] if ignored or blocked else []
