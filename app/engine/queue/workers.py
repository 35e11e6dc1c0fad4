"""Registered workers: identity, heartbeat and current deliveries.

Procrastinate stores an id and a heartbeat. The statement that registers a worker also stores its name, host, pid,
queues and version in `engine.workers`. The row is deleted when the worker stops or, if it crashed, when the next worker
registers after its registration was pruned.
"""

from __future__ import annotations

import hashlib
import os
import socket
import tomllib
from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from psycopg.rows import class_row

from app.context import Connection
from app.engine.domain import wiring
from app.engine.queue.fair_share import FairShare
from app.settings import settings

REGISTER = """
WITH registered AS (
    SELECT worker_id FROM public.procrastinate_register_worker_v1()
), gone AS (
    DELETE FROM engine.workers w
     WHERE NOT EXISTS (SELECT FROM public.procrastinate_workers p WHERE p.id = w.worker_id)
)
INSERT INTO engine.workers (worker_id, name, host, pid, queues, version, knows, session_key, server_started_at)
SELECT worker_id, %(name)s, %(host)s, %(pid)s, %(queues)s::text[], %(version)s, %(knows)s, %(session_key)s::integer,
       pg_postmaster_start_time()
  FROM registered
RETURNING worker_id
"""
"""Both tables in one commit, so that a worker is never registered in only one."""
FORGET = "DELETE FROM engine.workers WHERE worker_id = %(worker_id)s"
PRUNE_STALLED = """
DELETE FROM public.procrastinate_workers p USING engine.workers w
 WHERE w.worker_id = p.id AND p.last_heartbeat < now() - %(seconds)s * interval '1 second'
RETURNING p.id AS worker_id
"""
"""Only this program's workers: another program in the same database may allow its workers a longer time."""

_WORKERS = """
SELECT p.id AS worker_id, w.name, w.host, w.pid, w.queues, w.version, w.knows, w.started_at, p.last_heartbeat,
       now() - p.last_heartbeat AS heartbeat_age,
       p.last_heartbeat < now() - %(stalled_after)s * interval '1 second'
       OR p.id IN (SELECT worker_id FROM engine.gone_workers()) AS is_stale,
       w.worker_id IS NOT NULL AS is_known
  FROM public.procrastinate_workers p LEFT JOIN engine.workers w ON w.worker_id = p.id
 WHERE w.worker_id IS NOT NULL
    OR EXISTS (SELECT FROM public.procrastinate_jobs j
                WHERE j.worker_id = p.id AND j.status = 'doing'
                  AND engine.is_ours(j.task_name, j.queue_name, %(queues)s))
 ORDER BY p.id
"""
_IN_HAND = """
SELECT j.id AS row_id, j.worker_id, j.task_name, j.queue_name, j.attempts, started.at AS since,
       clock_timestamp() - started.at AS age
  FROM public.procrastinate_jobs j,
       LATERAL (SELECT max(e.at) AS at FROM public.procrastinate_events e
                 WHERE e.job_id = j.id AND e.type = 'started') started
 WHERE j.status = 'doing' AND engine.is_ours(j.task_name, j.queue_name, %s)
 ORDER BY j.id
"""


@dataclass(frozen=True, slots=True)
class InHand:
    """A queue row in delivery. `worker_id` is None if its worker's registration was deleted."""

    row_id: int
    worker_id: int | None
    task_name: str
    queue_name: str
    attempts: int
    since: datetime | None
    age: timedelta | None


@dataclass(frozen=True, slots=True)
class Worker:
    """A registered worker.

    `is_stale`: declared dead, because its session ended or its heartbeat is too old. `is_known`: it stored its
    identity; a worker of an older program did not. `queues` is None if it did not register its queues.
    """

    worker_id: int
    name: str | None
    host: str | None
    pid: int | None
    queues: list[str] | None
    version: str | None
    started_at: datetime | None
    last_heartbeat: datetime
    heartbeat_age: timedelta
    is_stale: bool
    is_known: bool
    knows: str | None = None
    in_hand: list[InHand] = field(default_factory=list)

    def serves(self, queue: str) -> bool:
        """Whether the worker serves `queue`. True for a worker that did not register its queues."""
        return self.queues is None or queue in self.queues

    @property
    def label(self) -> str:
        """The worker's id, name, host and pid, for messages."""
        return (
            f"{self.worker_id} ({self.name or 'worker'} on {self.host}, pid {self.pid})"
            if self.is_known
            else str(self.worker_id)
        )


def list_workers(connection: Connection) -> list[Worker]:
    """Return every registered worker of this program with its deliveries, ordered by id.

    A worker without a stored identity may be another program's: it is listed while it delivers rows of this program.
    """
    limits = {"stalled_after": settings().stalled_after, "queues": wiring().queues()}
    found = connection.cursor(row_factory=class_row(Worker)).execute(_WORKERS, limits).fetchall()
    by_id = {worker.worker_id: worker for worker in found}
    for row in deliveries(connection):
        if row.worker_id in by_id:
            by_id[row.worker_id].in_hand.append(row)
    return found


def deliveries(connection: Connection) -> list[InHand]:
    """Return every row of this program that is in delivery, also those of workers that are no longer registered."""
    return connection.cursor(row_factory=class_row(InHand)).execute(_IN_HAND, [wiring().queues()]).fetchall()


def serving(workers: Iterable[Worker], queue: str) -> list[Worker]:
    """Return those of `workers` that are alive and serve `queue`."""
    return [worker for worker in workers if not worker.is_stale and worker.serves(queue)]


@dataclass(frozen=True, slots=True)
class Introduction:
    """Name, queues and fair share of the worker that this task registers next."""

    name: str | None = None
    queues: Sequence[str] | None = None
    fair_share: FairShare | None = None


_introduction: ContextVar[Introduction] = ContextVar("introduction")


def introduce(name: str | None, queues: Iterable[str] | None, fair_share: FairShare | None = None) -> None:
    """Set the identity of the worker that this task registers next.

    A context variable carries it, because Procrastinate's manager receives no arguments when it registers a worker.
    `fair_share`: the running deliveries of that worker.
    """
    _introduction.set(Introduction(name, None if queues is None else list(queues), fair_share))


def fair_share_of_introduced() -> FairShare | None:
    """Return the fair share of the worker introduced in this task."""
    return _introduction.get(Introduction()).fair_share


def introduced(session_key: int | None) -> dict[str, Any]:
    """Return the parameters of `REGISTER` for the worker introduced in this task. `session_key`: its process's lock."""
    who = _introduction.get(Introduction())
    return {
        "name": who.name,
        "queues": who.queues,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "version": version(),
        "knows": knows(),
        "session_key": session_key,
    }


def knows() -> str:
    """Return a digest (12 hex digits) of the event types and versions that this program serves."""
    table = wiring()
    served = sorted(f"{one.type}/{one.version}" for one in {*table.handlers, *table.effects})
    return hashlib.sha256(" ".join(served).encode()).hexdigest()[:12]


@cache
def version() -> str:
    """Return the version of this checkout from pyproject.toml; the program is never installed as a package."""
    project = Path(__file__).parent.parent.parent.parent / "pyproject.toml"
    return str(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"])
