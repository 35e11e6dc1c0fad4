"""Workers: who they are, whether their hearts beat, and what they have in hand.

Procrastinate keeps an id and a heartbeat of each. What else an operator wants to know, a worker writes down in the
statement that registers it; the row goes when the worker does, or when the next one starts after its death.
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
"""Both tables in one commit, so that no worker is ever known by half."""
FORGET = "DELETE FROM engine.workers WHERE worker_id = %(worker_id)s"
PRUNE_STALLED = """
DELETE FROM public.procrastinate_workers p USING engine.workers w
 WHERE w.worker_id = p.id AND p.last_heartbeat < now() - %(seconds)s * interval '1 second'
RETURNING p.id AS worker_id
"""
"""Of this program alone: another one that uses the database may give its workers more time."""

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
    """A queue row that a worker took; `worker_id` is None when the worker has been forgotten meanwhile."""

    row_id: int
    worker_id: int | None
    task_name: str
    queue_name: str
    attempts: int
    since: datetime | None
    age: timedelta | None


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that is registered.

    `is_stale`: taken for dead, its session ended or its heartbeat is too old.
    `is_known`: it said who it is; a worker of an older program did not. `queues` None: it did not say which it serves.
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
        """Whether it takes rows of `queue`; one that did not say is given the benefit of the doubt."""
        return self.queues is None or queue in self.queues

    @property
    def label(self) -> str:
        """What to call it in a sentence."""
        return (
            f"{self.worker_id} ({self.name or 'worker'} on {self.host}, pid {self.pid})"
            if self.is_known
            else str(self.worker_id)
        )


def list_workers(connection: Connection) -> list[Worker]:
    """Every registered worker of this program with its deliveries, the longest registered first.

    A worker that did not say who it is may be another program's: it is listed while it has rows of this one in hand.
    """
    limits = {"stalled_after": settings().stalled_after, "queues": wiring().queues()}
    found = connection.cursor(row_factory=class_row(Worker)).execute(_WORKERS, limits).fetchall()
    by_id = {worker.worker_id: worker for worker in found}
    for row in deliveries(connection):
        if row.worker_id in by_id:
            by_id[row.worker_id].in_hand.append(row)
    return found


def deliveries(connection: Connection) -> list[InHand]:
    """Every row of this program that is in hand, also of workers that are no longer registered."""
    return connection.cursor(row_factory=class_row(InHand)).execute(_IN_HAND, [wiring().queues()]).fetchall()


def serving(workers: Iterable[Worker], queue: str) -> list[Worker]:
    """Those of `workers` that live and take rows of `queue`."""
    return [worker for worker in workers if not worker.is_stale and worker.serves(queue)]


@dataclass(frozen=True, slots=True)
class Introduction:
    """What the next worker of this task is called and serves."""

    name: str | None = None
    queues: Sequence[str] | None = None
    fair_share: FairShare | None = None


_introduction: ContextVar[Introduction] = ContextVar("introduction")


def introduce(name: str | None, queues: Iterable[str] | None, fair_share: FairShare | None = None) -> None:
    """Say who is about to register in this task; Procrastinate's manager is not told when it registers a worker.

    `fair_share` are the deliveries that it will have.
    """
    _introduction.set(Introduction(name, None if queues is None else list(queues), fair_share))


def fair_share_of_introduced() -> FairShare | None:
    """The deliveries of the worker that was introduced in this task."""
    return _introduction.get(Introduction()).fair_share


def introduced(session_key: int | None) -> dict[str, Any]:
    """The parameters of `REGISTER` for the worker introduced in this task; `session_key`: the lock of its process."""
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
    """A digest of the types and versions of events that this program serves: the same for the same contract."""
    table = wiring()
    served = sorted(f"{one.type}/{one.version}" for one in {*table.handlers, *table.effects})
    return hashlib.sha256(" ".join(served).encode()).hexdigest()[:12]


@cache
def version() -> str:
    """The version of this checkout; the program is run from it and never installed."""
    project = Path(__file__).parent.parent.parent.parent / "pyproject.toml"
    return str(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"])
