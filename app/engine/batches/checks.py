"""Invariants of a batch for `audit`, and its checkups for `doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, LiteralString

from app.engine.batches.statements import composed
from app.engine.batches.tables import Batch
from app.engine.domain import Invariant
from app.engine.health.doctor import CheckContext, Checkup, Finding

_INVARIANTS: dict[str, LiteralString] = {
    "the counters equal the items": """
        SELECT j.id AS job_id, j.{total}, j.{succeeded}, j.{failed}, i.total, i.success, i.error
          FROM {jobs} j
          LEFT JOIN (SELECT {job_id} AS job_id, count(*) AS total,
                            count(*) FILTER (WHERE {status} = {success}) AS success,
                            count(*) FILTER (WHERE {status} = {error}) AS error
                       FROM {items} GROUP BY 1) i ON i.job_id = j.id
         WHERE (j.{total}, j.{succeeded}, j.{failed})
               IS DISTINCT FROM (coalesce(i.total, 0), coalesce(i.success, 0), coalesce(i.error, 0))
        """,
    "success and error are within the total": """
        SELECT id AS job_id, {total}, {succeeded}, {failed} FROM {jobs}
         WHERE {succeeded} < 0 OR {failed} < 0 OR {succeeded} + {failed} > {total}
        """,
    "ended if and only if every item has a result": """
        SELECT id AS job_id, status, {total}, {succeeded}, {failed} FROM {jobs}
         WHERE {total} > 0 AND (status IN ('completed', 'failed')) <> ({succeeded} + {failed} = {total})
        """,
    "failed if and only if nothing succeeded": """
        SELECT id AS job_id, status, {succeeded} FROM {jobs}
         WHERE (status = 'failed' AND {succeeded} > 0) OR (status = 'completed' AND {succeeded} = 0)
        """,
    "completed once a generation": """
        SELECT subject_id AS job_id, data ->> 'generation' AS generation, count(*) AS completions FROM engine.event_log
         WHERE type = {says_job_completed} AND data ->> 'generation' IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1
        """,
    "what has ended has said so": """
        SELECT j.id AS job_id, j.generation, j.completed_at FROM {jobs} j
         WHERE j.status IN ('completed', 'failed') AND j.{total} > 0
           AND j.completed_at BETWEEN now() - interval '7 days' AND now() - interval '10 minutes'
           AND NOT EXISTS (SELECT FROM engine.event_log l WHERE l.subject_id = j.id
                              AND l.type = {says_job_completed}
                              AND coalesce((l.data ->> 'generation')::integer, j.generation) = j.generation)
           AND NOT EXISTS (SELECT FROM engine.failed_jobs f WHERE f.job_type = {says_job_completed}
                              AND f.event_data -> 'data' ->> {says_job} = j.id::text)
           AND NOT EXISTS (SELECT FROM engine.waiting() q
                            WHERE q.queue_name = 'events' AND q.status IN ('todo', 'doing'))
        """,
    "no item succeeded past a call in doubt": """
        SELECT (l.data ->> {says_item})::uuid AS item_id, c.event_id AS in_doubt, l.causation_id AS succeeded
          FROM engine.calls c
          JOIN engine.failed_jobs f ON f.event_id = c.event_id AND f.job_type = {says_requested}
          JOIN engine.event_log l ON l.type = {says_completed} AND l.data ->> 'status' = {success}
               AND l.subject_id::text = f.event_data -> 'data' ->> {says_job}
               AND l.data ->> {says_item} = f.event_data -> 'data' ->> {says_item}
               AND l.data -> 'attempt' = f.event_data -> 'data' -> 'attempt'
          JOIN engine.event_log asked ON asked.event_id = l.causation_id AND asked.type = {says_requested}
         WHERE asked.event_id <> c.event_id
        """,
    "one job a OWNER and idempotency key": """
        SELECT {tenant}, idempotency_key, count(*) AS jobs FROM {jobs}
         WHERE idempotency_key IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1
        """,
    "status and timestamps agree": """
        SELECT id AS job_id, NULL::uuid AS item_id, status FROM {jobs}
         WHERE (status IN ('completed', 'failed')) <> (completed_at IS NOT NULL)
            OR (status = 'pending' AND started_at IS NOT NULL) OR (status <> 'pending' AND started_at IS NULL)
        UNION ALL
        SELECT {job_id}, id, {status}::text FROM {items}
         WHERE ({status} IN ({success}, {error})) <> (completed_at IS NOT NULL)
            OR ({status} = {error}) <> (error_type IS NOT NULL)
        """,
}
_MISSING = """
SELECT wanted.name, wanted.field FROM unnest(%s::text[], %s::text[]) AS wanted (name, field)
 WHERE NOT EXISTS (SELECT FROM pg_attribute a
                    WHERE a.attrelid = to_regclass(wanted.name) AND a.attname = wanted.field AND NOT a.attisdropped)
"""
_JOB_COLUMNS = (
    *("id", "status", "generation", "idempotency_key", "request_fingerprint", "created_at", "started_at"),
    *("completed_at", "cancelled_at", "cancelled_by", "cancel_reason"),
)
_ITEM_COLUMNS = (*("id", "retry_count", "last_retry_at", "error_type", "error_message", "started_at", "completed_at"),)


def invariants(batch: Batch[Any, Any]) -> tuple[Invariant, ...]:
    """Return the invariants of a batch's jobs, which hold at every commit."""
    return tuple(
        Invariant(f"{batch.name}s: {rule.replace('OWNER', batch.owner)}", composed(batch, statement))
        for rule, statement in _INVARIANTS.items()
    )


def checkups(batch: Batch[Any, Any]) -> tuple[Checkup, ...]:
    """Return a checkup that the batch's tables have all columns that the batch declares."""

    def recheck(patient: CheckContext) -> Iterator[Finding]:
        wanted = list(_columns(batch))
        for table, column in patient.service.execute(_MISSING, [[t for t, _ in wanted], [c for _, c in wanted]]):
            yield Finding(
                "problem",
                f"{batch.name}s",
                f"{table} has no column {column}",
                "add it by a migration, run `db migrate`",
            )

    return (Checkup(f"{batch.name}s", recheck, "the tables have every column that the batch names"),)


def _columns(batch: Batch[Any, Any]) -> Iterator[tuple[str, str]]:
    of_jobs = {*_JOB_COLUMNS, batch.tenant, batch.total, batch.succeeded, batch.failed, *batch.request}
    of_items = {*_ITEM_COLUMNS, batch.job_id, batch.item_status, *batch.about, *batch.result}
    yield from ((f"{batch.schema}.{batch.jobs}", column) for column in sorted(of_jobs))
    yield from ((f"{batch.schema}.{batch.items}", column) for column in sorted(of_items))
