"""Worker pool: supervised worker processes, and a process manager that replaces ended ones."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app import children

_STOP_LIMIT_S = 20.0


@dataclass(slots=True, eq=False)
class Worker:
    """A worker process. `frozen`: stopped by SIGSTOP. `told`: the signal sent to end it."""

    process: subprocess.Popen[str]
    log: Path
    frozen: bool = False
    told: signal.Signals | None = None

    @property
    def pid(self) -> int:
        """Return the process id, which is also registered in the database."""
        return self.process.pid

    def send(self, number: signal.Signals) -> None:
        """Send a signal. Ignored if the process has ended."""
        self.process.send_signal(number)


class WorkerPool:
    """The workers of a run. `exits`: counts of ends by exit code and signal sent."""

    def __init__(self, directory: Path, environment: Mapping[str, str], size: int) -> None:
        self.exits: Counter[str] = Counter()
        self.workers: list[Worker] = []
        self._directory = directory
        self._environment = environment
        self._size = size
        self._started = 0

    def fill(self) -> None:
        """Count ended workers and replace them, as a process manager does."""
        for worker in [one for one in self.workers if one.process.poll() is not None]:
            self.workers.remove(worker)
            self.exits[_end(worker)] += 1
        while len(self.workers) < self._size:
            self._start()

    def at_work(self) -> list[Worker]:
        """Return the running workers that received no signal."""
        return [one for one in self.workers if one.process.poll() is None and not one.frozen and one.told is None]

    def kill(self, worker: Worker) -> None:
        """Send SIGKILL and wait for the process to end."""
        worker.told = signal.SIGKILL
        children.kill(worker.process)

    def tell_to_stop(self, worker: Worker) -> None:
        """Send SIGTERM: the worker may return its rows to the queue."""
        worker.told = signal.SIGTERM
        worker.send(signal.SIGTERM)

    def freeze(self, worker: Worker) -> None:
        """Send SIGSTOP: the heartbeat stops, the connections stay open."""
        worker.frozen = True
        worker.send(signal.SIGSTOP)

    def thaw(self, worker: Worker) -> None:
        """Send SIGCONT: the worker continues."""
        worker.frozen = False
        worker.send(signal.SIGCONT)

    def stop(self) -> None:
        """Send SIGTERM to all workers and wait 20 s. Send SIGKILL to those still running."""
        for worker in self.workers:
            self.thaw(worker)
            self.tell_to_stop(worker)
        for worker in self.workers:
            children.wait(worker.process, _STOP_LIMIT_S)
            self.exits[_end(worker)] += 1
        self.workers.clear()

    def _start(self) -> None:
        self._started += 1
        log = self._directory / f"worker-{self._started}.log"
        command = [sys.executable, "cli.py", "work"]
        with log.open("wb") as file:
            process = children.start(command, environment=self._environment, stdout=file, stderr=file)
        self.workers.append(Worker(process, log))


@contextmanager
def worker_pool(directory: Path, environment: Mapping[str, str], size: int) -> Iterator[WorkerPool]:
    """Yield a pool of `size` workers that log to `directory`. All end with the block."""
    directory.mkdir(exist_ok=True)
    made = WorkerPool(directory, environment, size)
    try:
        made.fill()
        yield made
    finally:
        made.stop()


def _end(worker: Worker) -> str:
    code = worker.process.returncode
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit {code}"
    return f"{how} ({'told ' + worker.told.name if worker.told else 'by itself'})"
