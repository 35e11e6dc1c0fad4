"""Watch a job or run: read it after each NOTIFY, and show its progress until it has ended."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from uuid import UUID

from app.commands.output import emit, note

# Imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from app.context import Connection
    from app.engine.batches import Batch

_LOOK_ANYWAY_S = 1.0
_SHORTEST_PAUSE_S = 0.2
_WINDOW_S = 10.0
_LINE_EVERY_S = 5.0
_PATIENCE_S = 3.0


class Watched(Protocol):
    """The progress of something that ends. `done` of `total_items` items have a result."""

    @property
    def status(self) -> str:
        """The status; `pending` until a worker has begun."""

    @property
    def total_items(self) -> int:
        """The number of items that are known."""

    @property
    def done(self) -> int:
        """The number of items that have a result."""

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""


W = TypeVar("W", bound=Watched)


@dataclass(frozen=True, slots=True)
class Progress:
    """A job's progress. `rate`: items a second over the last 10 s. `seconds_left`: open items divided by `rate`."""

    job_id: UUID
    status: str
    total_items: int
    success_count: int
    error_count: int
    by_error_type: dict[str, int]
    rate: float
    seconds_left: float | None

    @property
    def done(self) -> int:
        """Items that have a result."""
        return self.success_count + self.error_count

    @property
    def is_over(self) -> bool:
        """Whether the job has ended."""
        return self.status in {"completed", "failed"}

    def line(self, succeeded: str = "shipped") -> str:
        """Return the progress in one line. `succeeded`: the label of the successful items."""
        errors = ", ".join(f"{count} {name}" for name, count in self.by_error_type.items())
        left = f", {self.seconds_left:.0f} s left" if self.seconds_left is not None and not self.is_over else ""
        return (
            f"{self.status}: {self.done}/{self.total_items} done, {self.success_count} {succeeded}, "
            f"{self.error_count} failed{f' ({errors})' if errors else ''}, {self.rate:.0f}/s{left}"
        )


@dataclass(slots=True)
class Speedometer:
    """Items a second over the last 10 s."""

    seen: deque[tuple[float, int]] = field(default_factory=deque)

    def rate(self, done: int) -> float:
        """Add a sample. Returns items a second over the window."""
        now = time.monotonic()
        self.seen.append((now, done))
        while len(self.seen) > 2 and self.seen[1][0] < now - _WINDOW_S:  # noqa: PLR2004 - two points make a slope
            self.seen.popleft()
        began, first = self.seen[0]
        return (done - first) / (now - began) if now > began else 0.0


def watch(batch: Batch[Any, Any], tenant_id: UUID, job_id: UUID, *, as_json: bool, succeeded: str) -> Progress:
    """Show a job's progress until it has ended. Returns the last progress. Raises `NotFound`.

    `succeeded`: the label of the successful items.
    """
    return show_until_over(follow(batch, tenant_id, job_id), lambda progress: progress.line(succeeded), as_json=as_json)


def show_until_over(progresses: Iterator[W], line: Callable[[W], str], *, as_json: bool) -> W:
    """Show the progress of a job or run until it has ended. Returns the last progress.

    `line`: return the progress in one line. Output: one JSON line a change, a progress bar on a terminal, or a line
    every 5 s.
    """
    began, told = time.monotonic(), False
    with _shown(line, as_json=as_json) as show:
        for progress in progresses:
            show(progress)
            if not told and progress.status == "pending" and time.monotonic() - began > _PATIENCE_S:
                told = True
                note("it has not begun: no worker is running (`python cli.py work`), or it waits; see `explain`")
    return progress


def follow(batch: Batch[Any, Any], tenant_id: UUID, job_id: UUID) -> Iterator[Progress]:
    """Yield a job's progress after changes, at most every 0.2 s, until the job has ended."""
    speed = Speedometer()
    return changes_of(job_id, lambda eyes: _look(eyes, batch, tenant_id, job_id, speed))


def changes_of(id_: UUID, look: Callable[[Connection], W]) -> Iterator[W]:
    """Yield what `look` returns after changes of the row `id_`, at most every 0.2 s, until it is over."""
    from app import database
    from app.engine.progress import listen

    with database.connect(autocommit=True) as listener, database.connect(autocommit=True) as eyes:
        changes = listen(listener, timeout=_LOOK_ANYWAY_S)
        while True:
            progress = look(eyes)
            yield progress
            if progress.is_over:
                return
            time.sleep(_SHORTEST_PAUSE_S)
            while (change := next(changes)) is not None and not change.concerns(id_):
                pass


def _look(
    connection: Connection, batch: Batch[Any, Any], tenant_id: UUID, job_id: UUID, speed: Speedometer
) -> Progress:
    from app.context import Context
    from app.engine.batches.lifecycle import get_job
    from app.engine.batches.store import count_errors

    job = get_job(Context.start(connection, tenant_id), batch, job_id)
    total, done, failed = batch.counters(job)
    errors = count_errors(connection, batch, job_id) if failed else {}
    rate = speed.rate(done + failed)
    left = (total - done - failed) / rate if rate > 0 else None
    return Progress(job.id, job.status, total, done, failed, errors, round(rate, 2), left)


@contextmanager
def _shown(line: Callable[[W], str], *, as_json: bool) -> Iterator[Callable[[W], None]]:
    if as_json:
        yield lambda progress: emit(progress, as_json=True)
    elif sys.stdout.isatty():
        with _bar(line) as show:
            yield show
    else:
        yield _lines(line)


def _lines(line: Callable[[W], str]) -> Callable[[W], None]:
    last = 0.0

    def show(progress: W) -> None:
        nonlocal last
        if progress.is_over or time.monotonic() - last >= _LINE_EVERY_S:
            last = time.monotonic()
            emit(line(progress), as_json=False)
            sys.stdout.flush()

    return show


@contextmanager
def _bar(line: Callable[[W], str]) -> Iterator[Callable[[W], None]]:
    from rich import progress as rich

    columns = (rich.BarColumn(), rich.TaskProgressColumn(), rich.TextColumn("{task.description}"))
    with rich.Progress(*columns) as bar:
        task = bar.add_task("", total=None)
        yield lambda seen: bar.update(task, total=seen.total_items, completed=seen.done, description=line(seen))
