"""Worker processes of benchmarks: of this program and of its baselines."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from app import children
from app.bench.job_fixtures import NotExact
from app.errors import SetupError


@contextmanager
def working(environment: Mapping[str, str], count: int = 1) -> Iterator[list[int]]:
    """Run `count` processes of `cli.py work` during the block. Yields their pids."""
    with ExitStack() as stack:
        command = [sys.executable, "cli.py", "work"]
        worker_pool = [stack.enter_context(running(command, environment)) for _ in range(count)]
        yield [process.pid for process in worker_pool]


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run a process during the block. Raises `NotExact` with the end of its output if it ended earlier."""
    with tempfile.TemporaryFile() as words:
        process = children.start(command, environment=environment, stdout=words, stderr=words)
        try:
            yield process
            if process.poll() is not None:
                words.seek(0)
                raise NotExact(f"a worker ended by itself: {words.read().decode(errors='replace')[-500:]}")
        finally:
            children.stop(process)


def peak_memory(pid: int) -> float:
    """Return the peak resident memory of a process in MiB (VmHWM). Raises `SetupError` without Linux's /proc."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise SetupError(f"cannot read peak memory from /proc/<pid>/status: {error}") from error
    (kib,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(kib) / 1024


def server_cpu(backend: int) -> float:
    """Return the CPU seconds that the running processes of a PostgreSQL server have used. `backend`: pid of one.

    Only for a server on this machine. Raises `SetupError` without Linux's /proc.
    """
    postmaster = _parent(backend)
    if postmaster is None:
        raise SetupError(f"cannot read the server's CPU time: /proc/{backend}/stat is missing")
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    return sum(_run_time(pid) for pid in pids if _parent(pid) == postmaster)


def _parent(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:  # the process has ended
        return None
    return int(stat.rpartition(")")[2].split()[1])


def _run_time(pid: int) -> float:
    try:
        nanoseconds, *_ = Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()
    except OSError:
        return 0.0
    return int(nanoseconds) / 1e9
