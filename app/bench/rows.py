"""Queue rows for the limit: save a publisher's rows as COPY text, and copy them in again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import LiteralString

import psycopg
from psycopg import sql

from app.bench.job_fixtures import NotExact
from app.bench.temporary_database import TemporaryDatabase
from app.context import Connection

EMPTY = sql.SQL("TRUNCATE public.procrastinate_jobs RESTART IDENTITY CASCADE")
_KEPT: LiteralString = """
COPY (SELECT queue_name, task_name, priority, args FROM public.procrastinate_jobs ORDER BY id) TO STDOUT
"""
_COPY: LiteralString = "COPY public.procrastinate_jobs (queue_name, task_name, priority, args) FROM STDIN"
_QUEUE_TABLES = (("public", "procrastinate_jobs"), ("public", "procrastinate_events"))
_EXEMPT = sql.SQL("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY")
_SUBJECT = sql.SQL("ALTER TABLE {} FORCE ROW LEVEL SECURITY")
_WAITING: LiteralString = """
SELECT coalesce(sum(CASE WHEN args ? 'events' THEN jsonb_array_length(args -> 'events')
                         WHEN args ?| '{specversion,event,item_id}' THEN 1 END), 0)::bigint
  FROM public.procrastinate_jobs WHERE status = 'todo' AND queue_name = ANY(%s)
"""
# Does not count the periodic prune task, which may be queued at any time.


def keep(temp_database: TemporaryDatabase) -> bytes:
    """Return all rows of the queue as COPY text."""
    with temp_database.connect() as connection, connection.cursor().copy(_KEPT) as copy:
        return b"".join(bytes(block) for block in copy)


def copy_in(temp_database: TemporaryDatabase, rows: bytes) -> float:
    """COPY saved rows into the queue in one transaction. Returns the seconds, including the commit."""
    return timed_copy(temp_database, _COPY, rows, _QUEUE_TABLES)


def timed_copy(
    temp_database: TemporaryDatabase, statement: LiteralString, rows: bytes, tables: Sequence[tuple[str, str]]
) -> float:
    """COPY text as the owner of `tables` (all written or read). Returns the seconds, including the commit.

    COPY does not write under row-level security, so the owner is exempt from it meanwhile.
    """
    temp_database.arrange(*(_EXEMPT.format(sql.Identifier(*table)) for table in tables))
    try:
        with psycopg.connect(temp_database.owner_url, autocommit=True) as connection, connection.cursor() as cursor:
            began = time.perf_counter()
            with connection.transaction(), cursor.copy(statement) as copy:
                copy.write(rows)
            return time.perf_counter() - began
    finally:
        temp_database.arrange(*(_SUBJECT.format(sql.Identifier(*table)) for table in tables))


def waiting(connection: Connection, *queues: str) -> int:
    """Return the number of waiting events in `queues`, single or in batches."""
    row = connection.execute(_WAITING, [list(queues)]).fetchone()
    return int(row[0]) if row else 0


def check_waiting(temp_database: TemporaryDatabase, queue: str, expected: int) -> None:
    """Raise `NotExact` unless exactly `expected` events wait in a queue."""
    with temp_database.connect() as connection:
        found = waiting(connection, queue)
    if found != expected:
        raise NotExact(f"{found} events wait in {queue}, not {expected}")
