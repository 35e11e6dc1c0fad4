"""Worker pool: supervised workers as processes, and a process manager that starts a new one for each that ended."""

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
    """One worker process. `frozen`: it was sent SIGSTOP and not SIGCONT; `told`: the signal that should end it."""

    process: subprocess.Popen[str]
    log: Path
    frozen: bool = False
    told: signal.Signals | None = None

    @property
    def pid(self) -> int:
        """Its process id, which is also what it registers under."""
        return self.process.pid

    def send(self, number: signal.Signals) -> None:
        """Send a signal; one that ended by itself meanwhile does not mind."""
        self.process.send_signal(number)


class WorkerPool:
    """Workers of one run; `exits` counts how they ended, by what they were told and their exit code."""

    def __init__(self, directory: Path, environment: Mapping[str, str], size: int) -> None:
        self.exits: Counter[str] = Counter()
        self.workers: list[Worker] = []
        self._directory = directory
        self._environment = environment
        self._size = size
        self._started = 0

    def fill(self) -> None:
        """Note who ended, and start as many new ones: what a process manager does."""
        for worker in [one for one in self.workers if one.process.poll() is not None]:
            self.workers.remove(worker)
            self.exits[_end(worker)] += 1
        while len(self.workers) < self._size:
            self._start()

    def at_work(self) -> list[Worker]:
        """Those that run and were not told anything."""
        return [one for one in self.workers if one.process.poll() is None and not one.frozen and one.told is None]

    def kill(self, worker: Worker) -> None:
        """SIGKILL: nothing of it can clean up. Returns when it is gone."""
        worker.told = signal.SIGKILL
        children.kill(worker.process)

    def tell_to_stop(self, worker: Worker) -> None:
        """SIGTERM: it may hand back what it has."""
        worker.told = signal.SIGTERM
        worker.send(signal.SIGTERM)

    def freeze(self, worker: Worker) -> None:
        """SIGSTOP: its heart does not beat, its connections stay."""
        worker.frozen = True
        worker.send(signal.SIGSTOP)

    def thaw(self, worker: Worker) -> None:
        """SIGCONT: it goes on as if nothing had happened."""
        worker.frozen = False
        worker.send(signal.SIGCONT)

    def stop(self) -> None:
        """Ask everybody to stop and wait until they have; one that does not is killed."""
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
    """`size` workers that log into `directory`; none is left when the block ends."""
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
