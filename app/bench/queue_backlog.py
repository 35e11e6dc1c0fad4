"""Queue backlog: millions of queue rows and ledger rows, written by SQL on the server.

The rows equal those of publishers, including the rows of Procrastinate's triggers. Only the triggers' notifications
are missing. Ids are ordered in time, like UUIDs of version 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import LiteralString

from psycopg import sql

from app.bench.temporary_database import TemporaryDatabase
from app.context import Connection
from app.tenancy import store as tenancy
from events import new_id

EFFECTS_A_ROW = 25
"""Effects in one row, as `publish` writes them."""

_EMPTY = sql.SQL(
    "TRUNCATE public.procrastinate_jobs, engine.delayed, engine.event_log, engine.failed_jobs RESTART IDENTITY CASCADE"
)
_NOT_DUE = "DELETE FROM public.procrastinate_jobs WHERE queue_name = 'events' AND scheduled_at IS NULL"
_SILENT = sql.SQL("ALTER TABLE public.procrastinate_jobs DISABLE TRIGGER USER")
_LOUD = sql.SQL("ALTER TABLE public.procrastinate_jobs ENABLE TRIGGER USER")
_TIDY = sql.SQL("VACUUM ANALYZE public.procrastinate_jobs, public.procrastinate_events, engine.event_log")

# An id like a UUIDv7: milliseconds first, so that later events are later in every index.
_ID: LiteralString = """
(lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0')
 || '7' || substr(md5(random()::text), 1, 3) || '8' || substr(md5(random()::text), 1, 15))::uuid
"""
_FACT: LiteralString = f"""
jsonb_build_object(
    'id', {_ID}, 'specversion', '1.0', 'source', 'tallyman/robot', 'type', 'robot/job.completed',
    'dataschema', 'robot/job.completed/1', 'subject', gen_random_uuid(), 'tenantid', %(tenant)s::uuid, 'time', now(),
    'data', jsonb_build_object('job_id', gen_random_uuid(), 'success_count', 1, 'error_count', 0, 'generation', 1))
"""
_REQUEST: LiteralString = f"""
jsonb_build_object(
    'id', {_ID}, 'specversion', '1.0', 'source', 'tallyman/robot', 'type', 'robot/item.requested',
    'dataschema', 'robot/item.requested/1', 'subject', gen_random_uuid(), 'tenantid', %(tenant)s::uuid, 'time', now(),
    'data', jsonb_build_object('job_id', gen_random_uuid(), 'item_id', gen_random_uuid(), 'order_id', gen_random_uuid(),
                               'carrier', 'coordinadora', 'attempt', 0))
"""
_FACTS: LiteralString = f"SELECT {_FACT} AS event FROM generate_series(1, %(count)s)"
# One batch at a time, so that no sort is needed: the row's number gives the batch's first and last number.
_NUMBERS: LiteralString = """
  FROM generate_series(1, %(count)s, %(batch_size)s) AS first
 CROSS JOIN LATERAL (
       SELECT jsonb_agg({event}) AS events
         FROM generate_series(first, least(first + %(batch_size)s - 1, %(count)s)) AS n WHERE n >= first) AS batch
"""
_WRITE: LiteralString = """
WITH written AS (
    INSERT INTO public.procrastinate_jobs (queue_name, task_name, priority, args, scheduled_at)
    {rows}
    RETURNING id)
INSERT INTO public.procrastinate_events (job_id, type)
SELECT id, 'deferred'::public.procrastinate_job_event_type FROM written
"""
_DELAY: LiteralString = """
INSERT INTO engine.delayed (queue_name, task_name, priority, args, due_at)
{rows}
"""
_SINGLES: LiteralString = f"SELECT 'events', 'consume', 10, event, NULL::timestamptz FROM ({_FACTS}) AS f"
_BATCHES: LiteralString = f"""
SELECT 'events', 'consume_parcel', 10, jsonb_build_object('attempt', 0, 'events', events), NULL::timestamptz
{_NUMBERS.format(event=_FACT)}
"""
_PUT_BACK: LiteralString = f"""
SELECT 'events', 'consume_parcel', 10, jsonb_build_object('attempt', 1, 'error', 'OperationalError: away',
                                                          'events', jsonb_build_array(event)),
       now() + interval '1 hour'
  FROM ({_FACTS}) AS f
"""
_EFFECTS: LiteralString = f"""
SELECT 'robots', 'perform', 0, jsonb_build_object('attempt', 0, 'events', events), NULL::timestamptz
{_NUMBERS.format(event=_REQUEST)}
"""
_PLAIN: LiteralString = f"""
SELECT 'plain', 'plain_noted', 0, jsonb_build_object('event', event), NULL::timestamptz FROM ({_FACTS}) AS f
"""
_LEDGER: LiteralString = f"""
INSERT INTO engine.event_log (event_id, type, version, tenant_id, subject_id, data, occurred_at)
SELECT (event ->> 'id')::uuid, event ->> 'type', 1, (event ->> 'tenantid')::uuid, (event ->> 'subject')::uuid,
       event -> 'data', now()
  FROM ({_FACTS}) AS f
"""
_LONG = "SET statement_timeout = 0"


@dataclass(frozen=True, slots=True)
class QueueBacklog:
    """Fills a temporary database. Methods with `count` write that many events."""

    temp_database: TemporaryDatabase
    tenant: object

    def empty(self) -> None:
        """Remove all queue rows, delayed events, ledger rows and dead letters."""
        self.temp_database.arrange(_EMPTY)

    def empty_events(self) -> None:
        """Remove due events only."""
        with self.temp_database.connect() as connection:
            connection.execute(_NOT_DUE)

    def singles(self, count: int) -> None:
        """Write due events, one a row. Their handler does nothing."""
        self._queue(_SINGLES, count)

    def batches(self, count: int, batch_size: int) -> None:
        """Write due events in batches of `batch_size`."""
        self._queue(_BATCHES, count, batch_size)

    def put_back(self, count: int) -> None:
        """Write events that failed once and are delayed by an hour."""
        self._execute(_DELAY.format(rows=_PUT_BACK), count, 1)

    def effects(self, count: int) -> None:
        """Write due effects, in batches."""
        self._queue(_EFFECTS, count, EFFECTS_A_ROW)

    def plain(self, count: int) -> None:
        """Write the events as tasks of plain Procrastinate."""
        self._queue(_PLAIN, count)

    def applied(self, count: int) -> None:
        """Write ledger rows."""
        self._execute(_LEDGER, count, 1)

    def tidy(self) -> None:
        """Vacuum, analyse and write a checkpoint, so that the server does not do so during the measurement."""
        self.temp_database.arrange(_TIDY)
        self.temp_database.checkpoint()

    def _queue(self, rows: LiteralString, count: int, batch_size: int = 1) -> None:
        self.temp_database.arrange(_SILENT)
        self._execute(_WRITE.format(rows=rows), count, batch_size)
        self.temp_database.arrange(_LOUD)

    def _execute(self, statement: LiteralString, count: int, batch_size: int) -> None:
        with self.temp_database.connect() as connection:
            connection.execute(_LONG)
            connection.execute(statement, {"tenant": self.tenant, "count": count, "batch_size": batch_size})


def queue_backlog(temp_database: TemporaryDatabase, connection: Connection) -> QueueBacklog:
    """Return a queue backlog with a new workspace."""
    return QueueBacklog(temp_database, tenancy.create_workspace(connection, f"bench {new_id()}").id)
