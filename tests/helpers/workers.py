"""Workers in processes of their own. A pool ends those that still run."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app import children

APP = "--app=app.engine.queue.app"
_STOP_LIMIT_S = 20


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker process with the test's environment. `log`: its output."""

    process: subprocess.Popen[str]
    log: Path

    def stop(self, limit: float = _STOP_LIMIT_S) -> int:
        """Send SIGTERM and wait. Returns the exit status. Raises `TimeoutExpired` after `limit` seconds."""
        self.process.terminate()
        return self.process.wait(limit)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self.process.kill()
        assert self.process.wait(_STOP_LIMIT_S) == -signal.SIGKILL


@dataclass(frozen=True, slots=True)
class WorkerPool:
    """Starts workers. `directory`: for their logs."""

    directory: Path
    workers: list[Worker]

    def work(self, *arguments: str) -> Worker:
        """Start `python cli.py work`, the supervised worker."""
        return self._start(sys.executable, "cli.py", "work", *arguments)

    def plain(self, *arguments: str) -> Worker:
        """Start Procrastinate's own worker by `python -m`, in the directory of the program."""
        return self._start(sys.executable, "-m", "procrastinate", APP, "worker", *arguments)

    def script(self, *arguments: str) -> Worker:
        """Start Procrastinate's own worker by its console script."""
        return self._start(str(Path(sys.executable).with_name("procrastinate")), APP, "worker", *arguments)

    def _start(self, *command: str) -> Worker:
        log = self.directory / f"worker-{len(self.workers)}.log"
        with log.open("wb") as file:
            process = children.start(command, stdout=file, stderr=file)
        self.workers.append(Worker(process, log))
        return self.workers[-1]


@contextmanager
def worker_pool(directory: Path) -> Iterator[WorkerPool]:
    """A pool whose workers end with the block."""
    made = WorkerPool(directory, [])
    try:
        yield made
    finally:
        for worker in made.workers:
            children.kill(worker.process)
