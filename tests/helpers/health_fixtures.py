"""Examinations in tests: faults that are brought about and taken away again, and what the doctor finds meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from app.context import Connection
from app.engine import event_types
from app.engine.health.doctor import Finding, Limits, check_context, examine
from app.program import CHECKUPS
from tests.helpers.support import scalar

SUBJECTS = [checkup.subject for checkup in CHECKUPS]


def findings(limits: Limits | None = None) -> list[Finding]:
    """What the doctor finds; whatever is wrong comes with what to do."""
    with check_context(limits) as examined:
        found = examine(examined, CHECKUPS)
    assert all(one.remedy for one in found if one.level != "ok")
    assert sorted({one.subject for one in found}) == sorted(SUBJECTS)
    return found


def of(subject: str, limits: Limits | None = None) -> list[tuple[str, str]]:
    """Level and text of what is found of one subject."""
    return [(one.level, one.what) for one in findings(limits) if one.subject == subject]


@contextmanager
def fault(address: str, begin: str, end: str) -> Iterator[Connection]:
    """A fault that somebody with this login brings about, and takes away."""
    with psycopg.connect(address, autocommit=True) as admin:
        admin.execute(begin)
        try:
            yield admin
        finally:
            admin.execute(end)


def enlist(connection: Connection) -> int:
    """Register a worker that serves every queue and lives for longer than the test, and its event types; its id."""
    event_types.register(connection)
    worker_id = int(scalar(connection, "SELECT worker_id FROM procrastinate_register_worker_v1()"))
    connection.execute(
        "INSERT INTO engine.workers (worker_id, host, pid, version) VALUES (%s, 'h', 1, '1')", [worker_id]
    )
    connection.execute("UPDATE public.procrastinate_workers SET last_heartbeat = now() + interval '1 hour'")
    return worker_id
