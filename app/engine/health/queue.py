"""Checkups of the queue: workers, backlogs, stuck deliveries, dead letters, and table bloat."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg.rows import class_row

from app.engine.health.doctor import CheckContext, Checkup, Finding
from app.engine.inspect.backlog import Backlog, backlogs
from app.engine.queue.workers import InHand, Worker, deliveries, list_workers
from app.settings import settings

_NAMED = 5

_DEAD_LETTERS = """
SELECT count(*) AS letters, min(failed_at) AS oldest FROM engine.failed_jobs WHERE resolved_at IS NULL
"""
_BLOAT = """
SELECT schemaname || '.' || relname AS name, n_live_tup AS live, n_dead_tup AS dead, last_autovacuum
  FROM pg_stat_user_tables
 WHERE n_dead_tup > %s
   AND (schemaname = 'public' AND relname LIKE 'procrastinate\\_%%' OR schemaname = 'engine')
 ORDER BY n_dead_tup DESC
"""


@dataclass(frozen=True, slots=True)
class _DeadLetters:
    letters: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class _Bloated:
    name: str
    live: int
    dead: int
    last_autovacuum: datetime | None


def _workers(context: CheckContext) -> Iterator[Finding]:
    found = list_workers(context.service)
    stale = [worker for worker in found if worker.is_stale]
    if len(found) == len(stale):
        yield Finding("warning", "workers", "no worker is alive", "start one: `python cli.py work`")
    for worker in stale:
        age = worker.heartbeat_age.total_seconds()
        what = f"worker {worker.label} has sent no heartbeat for {age:.0f} s and counts as dead"
        remedy = (
            "check whether its process runs; live workers rescue its deliveries, the next worker that starts removes it"
        )
        yield Finding("warning", "workers", what, remedy)
    for worker in found:
        if not worker.is_known:
            what = f"worker {worker.worker_id} is of an older program: it ignores pauses"
            yield Finding("warning", "workers", what, "restart it with this program")
    yield from _programs([worker for worker in found if worker.is_known and not worker.is_stale])


def _programs(alive: Sequence[Worker]) -> Iterator[Finding]:
    """Report live workers of different program versions, as during a rolling deployment."""
    programs: dict[tuple[str | None, str | None], list[str]] = {}
    for worker in alive:
        programs.setdefault((worker.version, worker.knows), []).append(worker.label)
    if len(programs) > 1:
        told = "; ".join(
            f"version {version} (events {knows or '?'}): {', '.join(labels[:_NAMED])}"
            + (f" and {len(labels) - _NAMED} more" if len(labels) > _NAMED else "")
            for (version, knows), labels in programs.items()
        )
        what = f"workers of {len(programs)} programs are running: {told}"
        remedy = "finish the deployment: events that one of them does not know wait meanwhile, for a limited time"
        yield Finding("warning", "workers", what, remedy)


def _queues(context: CheckContext) -> Iterator[Finding]:
    limit = timedelta(seconds=context.limits.oldest_waiting_s)
    for one in backlogs(context.service):
        name = one.queue_name
        if (pause := one.pause) is not None:
            what = f"{name} is paused since {pause.paused_at:%Y-%m-%d %H:%M} by {pause.paused_by}: {pause.reason}"
            yield Finding("info", "queues", f"{what}; {_waiting(one)}", f"`queues resume {name}` when that is over")
        elif one.due and not one.workers:
            yield Finding("problem", "queues", f"no worker serves {name}; {_waiting(one)}", f"`work --queue {name}`")
        elif one.oldest is not None and one.oldest > limit:
            remedy = "start more workers, or check the running ones: `workers list`, `stats`"
            yield Finding("warning", "queues", f"{name} does not keep up; {_waiting(one)}", remedy)
        if one.failed:
            what = f"{name}: {one.failed} failed in the queue itself, for example with a task that no worker knows"
            yield Finding("warning", "queues", what, "the workers' sweep dead-letters them: `dead list`")


def _waiting(one: Backlog) -> str:
    oldest = f", the oldest for {one.oldest.total_seconds():.0f} s" if one.oldest else ""
    return f"{one.due} waiting{oldest}"


def _stuck(context: CheckContext) -> Iterator[Finding]:
    workers = {worker.worker_id: worker for worker in list_workers(context.service)}
    alive = [worker for worker in workers.values() if not worker.is_stale]
    rows = deliveries(context.service)
    if orphans := [row for row in rows if not _is_held(row, workers)]:
        what = f"{len(orphans)} in hand of workers that are gone: {_named(orphans)}"
        remedy = f"live workers rescue them within {settings().rescue_interval:.0f} s" if alive else "start a worker"
        yield Finding("warning" if alive else "problem", "deliveries", what, remedy)
    limit = timedelta(seconds=settings().longest_run)
    if long := [row for row in rows if row.age is not None and row.age > limit]:
        what = f"{len(long)} in hand for longer than {limit.total_seconds():.0f} s: {_named(long)}"
        remedy = "live workers should have rescued them: check their logs, restart them"
        yield Finding("problem", "deliveries", what, remedy)


def _is_held(row: InHand, workers: dict[int, Worker]) -> bool:
    return row.worker_id in workers and not workers[row.worker_id].is_stale


def _named(rows: Sequence[InHand]) -> str:
    more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
    return ", ".join(f"row {row.row_id} ({row.task_name}, {row.queue_name})" for row in rows[:_NAMED]) + more


def _dead_letters(context: CheckContext) -> Iterator[Finding]:
    for one in context.service.cursor(row_factory=class_row(_DeadLetters)).execute(_DEAD_LETTERS):
        if one.oldest is not None:
            what = f"{one.letters} unresolved, the oldest since {one.oldest:%Y-%m-%d %H:%M}"
            yield Finding("warning", "dead letters", what, "`dead list --group` shows their errors")


def _bloat(context: CheckContext) -> Iterator[Finding]:
    cursor = context.service.cursor(row_factory=class_row(_Bloated))
    for one in cursor.execute(_BLOAT, [context.limits.most_dead_rows]):
        last = f"{one.last_autovacuum:%Y-%m-%d %H:%M}" if one.last_autovacuum else "never"
        what = f"{one.name} has {one.dead} dead rows beside {one.live} live ones; last autovacuum: {last}"
        remedy = f"end old transactions that block vacuum (see transactions), then VACUUM {one.name}"
        yield Finding("warning", "tables", what, remedy)


QUEUE = (
    Checkup("workers", _workers, "workers are alive"),
    Checkup("queues", _queues, "no event waits too long"),
    Checkup("deliveries", _stuck, "no delivery is stuck"),
    Checkup("dead letters", _dead_letters, "there are none"),
    Checkup("tables", _bloat, "the queue's tables are vacuumed"),
)
