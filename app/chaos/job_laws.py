"""The laws of jobs and items, for every batch of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, LiteralString

from psycopg.rows import dict_row

from app.chaos.model import Model
from app.chaos.part import Work
from app.chaos.report import Violation, none
from app.context import Connection
from app.engine.batches.statements import statement

_QUERIES: dict[str, LiteralString] = {
    "every item has a result": """
        SELECT id AS item_id, {job_id}, {status}, retry_count FROM {items} WHERE {status} NOT IN ({success}, {error})
    """,
    "an item's last attempt got its result": """
        SELECT i.id AS item_id, i.retry_count, i.{status} FROM {items} i
         WHERE i.{status} IN ({success}, {error})
           AND NOT EXISTS (SELECT FROM chaos.results r WHERE r.item_id = i.id AND r.attempt = i.retry_count
                              AND r.status = i.{status}::text)
    """,
    "every job has ended": """
        SELECT id AS job_id, status, {total}, {succeeded}, {failed} FROM {jobs}
         WHERE status NOT IN ('completed', 'failed')
    """,
    "a job that ended has said so once a generation": """
        SELECT coalesce(e.job_id, l.job_id) AS job_id, coalesce(e.generation, l.generation) AS generation,
               coalesce(e.endings, 0) AS ended, coalesce(l.said, 0) AS said
          FROM (SELECT job_id, generation, count(*) AS endings FROM chaos.endings
                 WHERE job_id IN (SELECT id FROM {jobs}) GROUP BY 1, 2) e
          FULL JOIN (SELECT job_id, generation, count(*) AS said
                       FROM (SELECT s.job_id, coalesce(s.generation, e.generation, -s.nth) AS generation
                               FROM (SELECT subject_id AS job_id, (data ->> 'generation')::bigint AS generation,
                                            row_number() OVER (
                                                PARTITION BY subject_id ORDER BY occurred_at, event_id) AS nth
                                       FROM engine.event_log WHERE type = {says_job_completed}) s
                               -- A payload without the generation belongs to the job's nth end.
                               LEFT JOIN (SELECT job_id, generation, row_number() OVER (
                                                     PARTITION BY job_id ORDER BY generation) AS nth
                                            FROM (SELECT DISTINCT job_id, generation FROM chaos.endings) d) e
                                      ON (e.job_id, e.nth) = (s.job_id, s.nth)) completed
                      GROUP BY 1, 2) l
               ON (l.job_id, l.generation) = (e.job_id, e.generation)
         WHERE (coalesce(e.endings, 0), coalesce(l.said, 0)) <> (1, 1)
    """,
    "a job has ended in its last generation": """
        SELECT j.id AS job_id, j.generation FROM {jobs} j
         WHERE NOT EXISTS (SELECT FROM chaos.endings e WHERE (e.job_id, e.generation) = (j.id, j.generation))
    """,
    "an event of a job is its workspace's": """
        SELECT l.event_id, l.type, l.tenant_id, j.{tenant} FROM engine.event_log l JOIN {jobs} j ON j.id = l.subject_id
         WHERE l.tenant_id IS DISTINCT FROM j.{tenant}
    """,
}
_JOBS: LiteralString = "SELECT id, {tenant} AS workspace_id, idempotency_key FROM {jobs}"


def check(connection: Connection, model: Model, works: Sequence[Work]) -> Iterator[Violation]:
    """Check the jobs of all batches. `connection`: sees all rows, outside a transaction."""
    for work in works:
        for law, query in _QUERIES.items():
            yield from none(law, _rows(connection, statement(work.batch, query)))
    yield from _submissions(connection, model, works)


def _submissions(connection: Connection, model: Model, works: Sequence[Work]) -> Iterator[Violation]:
    found = [row for work in works for row in _rows(connection, statement(work.batch, _JOBS))]
    jobs = {row["idempotency_key"]: row for row in found}
    names = {row["job_id"]: row["names"] for work in works for row in _rows(connection, work.names)}
    for key, (submission, job_id) in model.accepted.items():
        job = jobs.pop(key, None)
        if job is None or (job["id"], job["workspace_id"]) != (job_id, submission.workspace_id):
            yield Violation("an accepted job exists", f"{key} was accepted as {job_id} and is {job}")
        elif sorted(names.get(job_id, [])) != sorted(submission.names):
            yield Violation("a job has the items that were submitted", f"{key}: {len(names.get(job_id, []))} items")
    yield from none("the end of every submission is known", list(model.unknown))
    for key in list(jobs):
        law = (
            "a job whose submit was rolled back does not exist"
            if key in model.rolled_back
            else "every job was submitted"
        )
        yield Violation(law, f"{key}: {jobs[key]['id']}")


def _rows(connection: Connection, query: bytes) -> list[dict[str, Any]]:
    return connection.cursor(row_factory=dict_row).execute(query).fetchall()
