"""Child processes can be stopped, whatever signals this process ignores or blocks."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app import children
from app.commands.signals import interruptible
from tests.helpers.children import ROOT, child, default_signals, finished, ignored_signals, read_line

LIMIT_S = 20
STOPPERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

REPORT = """
import json, os, signal
ignored = [int(n) for n in signal.valid_signals() if signal.getsignal(n) is signal.SIG_IGN]
blocked = [int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, ())]
print(json.dumps({"ignored": ignored, "blocked": blocked, "leads": os.getsid(0) == os.getpid()}))
"""
WAIT = "import signal; print('ready', flush=True); signal.pause()"


@contextmanager
def blocked_signals(*numbers: signal.Signals) -> Iterator[None]:
    """Block signals in this thread."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def report() -> dict[str, object]:
    """Return the signals and the session of a new child."""
    found: dict[str, object] = json.loads(finished(sys.executable, "-c", REPORT).stdout)
    return found


def test_a_child_starts_with_default_signals_in_a_session_of_its_own() -> None:
    """Ignored and blocked signals, and the terminal, do not reach it.

    Python itself ignores SIGPIPE and SIGXFSZ, as in the interpreter that reports here.
    """
    plain = report()
    assert plain == {"ignored": [signal.SIGPIPE, signal.SIGXFSZ], "blocked": [], "leads": True}
    with ignored_signals(*STOPPERS), blocked_signals(signal.SIGTERM, signal.SIGUSR1):
        assert report() == plain


@pytest.mark.parametrize("number", STOPPERS)
def test_a_child_of_a_process_that_ignores_a_signal_ends_by_it(number: signal.Signals) -> None:
    """A script's background job ignores SIGINT and SIGQUIT, `nohup` ignores SIGHUP."""
    with ignored_signals(number):
        process = children.start([sys.executable, "-c", WAIT], stdout=subprocess.PIPE)
    try:
        assert read_line(process.stdout) == "ready\n"
        process.send_signal(number)
        assert process.wait(LIMIT_S) != 0
    finally:
        children.stop(process)


def test_a_child_that_does_not_stop_is_killed() -> None:
    """SIGTERM first, SIGKILL after the time limit."""
    stubborn = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WAIT}"
    with child(sys.executable, "-c", stubborn, stdout=subprocess.PIPE) as process:
        read_line(process.stdout)
        children.stop(process, 0.1)
        assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_ends_its_children(number: signal.Signals) -> None:
    """They have their own sessions, so the command must unwind, also when a terminal ends."""
    with default_signals(number), pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(number)


def test_a_command_under_nohup_outlives_its_terminal() -> None:
    """An ignored SIGHUP stays ignored."""
    with ignored_signals(signal.SIGHUP), interruptible():
        signal.raise_signal(signal.SIGHUP)


def test_processes_are_started_in_one_place() -> None:
    """In `app.children`, except an editor and the server's binaries."""
    allowed = {"app/children.py", "app/postgres/binaries.py", "app/commands/editing.py"}
    sources = [file for folder in ("app", "tests") for file in (ROOT / folder).rglob("*.py")]
    starts = re.compile(r"subprocess\.(Popen|run|call|check_\w+)\(|create_subprocess|os\.(fork|spawn|posix_spawn)")
    found = {str(file.relative_to(ROOT)) for file in sources if starts.search(file.read_text())}
    assert found - {"tests/test_children.py"} == allowed
