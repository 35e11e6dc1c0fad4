"""Child processes of tests: default signals, a time limit, and ended with the test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

from app import children
from tests.helpers.waits import LIMIT_S

ROOT = children.ROOT
CLI = (sys.executable, "cli.py")


@contextmanager
def child(*command: str, environment: Mapping[str, str] | None = None, **pipes: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a process that ends with the block, by SIGTERM or SIGKILL. `pipes`: as for `subprocess.Popen`."""
    process = children.start(command, environment=environment, **pipes)
    try:
        yield process
    finally:
        # SIGTERM first: it may have started others, which have sessions of their own.
        children.stop(process)
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()


def finished(
    *command: str, environment: Mapping[str, str] | None = None, stdin: Any = subprocess.DEVNULL, limit: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and capture its output. Raises `TimeoutExpired` after `limit` seconds."""
    pipes = {"stdin": stdin, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with child(*command, environment=environment, **pipes) as process:
        out, err = process.communicate(timeout=limit)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def read_line(stream: IO[str] | None, limit: float = LIMIT_S) -> str:
    """Return the next line of a child's pipe; empty at its end. Fails after `limit` seconds."""
    assert stream is not None
    lines: list[str] = []
    # A thread, because what the stream has buffered is not seen by select().
    reader = threading.Thread(target=lambda: lines.append(stream.readline()), daemon=True)
    reader.start()
    reader.join(limit)
    assert lines, f"no line within {limit:.0f} s"
    return lines[0]


@contextmanager
def default_signals(*numbers: signal.Signals) -> Iterator[None]:
    """Give signals their default effect, even if the test run was started with them ignored."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ignored_signals(*numbers: signal.Signals) -> Iterator[None]:
    """Ignore signals, as a background job of a script and `nohup` do."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def without_database_urls() -> dict[str, str]:
    """Return the environment of this process without the variables that name a database."""
    return {name: value for name, value in os.environ.items() if "DATABASE_URL" not in name}
