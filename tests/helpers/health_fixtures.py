"""Faults for health checks, and the findings of the doctor."""

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
    """Return all findings of the doctor. Checks that each finding that is not `ok` has a remedy."""
    with check_context(limits) as examined:
        found = examine(examined, CHECKUPS)
    assert all(one.remedy for one in found if one.level != "ok")
    assert sorted({one.subject for one in found}) == sorted(SUBJECTS)
    return found


def of(subject: str, limits: Limits | None = None) -> list[tuple[str, str]]:
    """Return level and text of the findings about a subject."""
    return [(one.level, one.what) for one in findings(limits) if one.subject == subject]


@contextmanager
def fault(address: str, begin: str, end: str) -> Iterator[Connection]:
    """Run `begin` at the start of the block and `end` at its end, with this login."""
    with psycopg.connect(address, autocommit=True) as admin:
        admin.execute(begin)
        try:
            yield admin
        finally:
            admin.execute(end)


def enlist(connection: Connection) -> int:
    """Register a worker, with its event types, that serves every queue and stays alive. Returns its id."""
    event_types.register(connection)
    worker_id = int(scalar(connection, "SELECT worker_id FROM procrastinate_register_worker_v1()"))
    connection.execute(
        "INSERT INTO engine.workers (worker_id, host, pid, version) VALUES (%s, 'h', 1, '1')", [worker_id]
    )
    connection.execute("UPDATE public.procrastinate_workers SET last_heartbeat = now() + interval '1 hour'")
    return worker_id
