"""The laws: conditions that must hold in the database once it is quiet, after any faults.

Each law checks one guarantee against the observer's records and the model, and names violations. The laws of jobs and
items are in `job_laws`; the domains have the laws of the outside world.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, LiteralString
from uuid import UUID

from psycopg.rows import dict_row

from app.chaos import job_laws
from app.chaos.model import Model
from app.chaos.part import Work
from app.chaos.report import NAMED, Violation, none
from app.context import Connection
from app.engine.inspect.invariants import audit
from app.program import INVARIANTS

_QUERIES: dict[str, LiteralString] = {
    "an event that was committed is applied or dead": """
        SELECT DISTINCT s.event_id, s.type FROM chaos.said s
         WHERE NOT EXISTS (SELECT FROM engine.event_log l WHERE l.event_id::text = s.event_id)
           AND NOT EXISTS (SELECT FROM engine.failed_jobs f WHERE f.event_id::text = s.event_id)
           AND NOT EXISTS (SELECT FROM engine.waiting() q WHERE q.args::text LIKE '%%' || s.event_id || '%%')
    """,
    "what is applied was committed": """
        SELECT l.event_id, l.type FROM engine.event_log l
         WHERE NOT EXISTS (SELECT FROM chaos.said s WHERE s.event_id = l.event_id::text)
    """,
    "nothing waits once everything is quiet": """
        SELECT place, row_id, status, queue_name, task_name, attempts, due_at, key FROM engine.waiting()
    """,
    "an attempt at an item gets one result": """
        SELECT item_id, attempt, count(*) AS results, array_agg(status) AS statuses FROM chaos.results
         GROUP BY item_id, attempt HAVING count(*) > 1
    """,
    "a lock of another session makes no dead letter": """
        SELECT event_id, job_type, error_class, error_message FROM engine.failed_jobs
         WHERE error_class IN ('LockNotAvailable', 'RowLocked')
    """,
    # The row of a discarded request's call stays until `prune`: the call was begun and its outcome is unknown.
    "no outside call is left open": """
        SELECT c.event_id, c.row_id, c.tries FROM engine.calls c
         WHERE engine.is_live(c.row_id, c.attempts, c.worker_id)
            OR NOT EXISTS (SELECT FROM engine.failed_jobs f
                            WHERE f.event_id = c.event_id AND f.resolved_at IS NOT NULL
                              AND f.notes = 'discarded by chaos')
    """,
}

_WHERE_ARE = """
SELECT wanted.id AS event_id, EXISTS (SELECT FROM engine.event_log l WHERE l.event_id = wanted.id) AS is_applied,
       EXISTS (SELECT FROM engine.failed_jobs f WHERE f.event_id = wanted.id) AS is_dead,
       EXISTS (SELECT FROM engine.failed_jobs f WHERE f.event_id = wanted.id AND f.resolved_at IS NULL) AS is_open
  FROM unnest(%s::uuid[]) AS wanted (id)
"""
_EARLY = """
SELECT a.event_id, due.at AS due_at, a.at AS applied_at
  FROM chaos.applied a JOIN unnest(%s::uuid[], %s::timestamptz[]) AS due (event_id, at) USING (event_id)
 WHERE a.at < due.at
"""
# A letter of an event that reuses an id has a new `event_id`; the event's id is in its data.
_REUSED = """
SELECT said.message, said.id AS event_id, said.is_taken,
       EXISTS (SELECT FROM engine.event_log l
                WHERE l.event_id = said.id AND l.data ->> 'error_message' = said.message) AS is_in_ledger,
       (SELECT count(*) FROM engine.failed_jobs f
         WHERE f.event_data ->> 'id' = said.id::text AND f.event_data -> 'data' ->> 'error_message' = said.message
           AND f.event_id <> said.id AND f.resolved_at IS NULL) AS letters
  FROM unnest(%s::text[], %s::uuid[], %s::boolean[]) AS said (message, id, is_taken)
"""
_OPEN_LETTERS = """
SELECT event_id, job_type, error_message, event_data -> 'data' ->> 'error_message' AS said FROM engine.failed_jobs
 WHERE resolved_at IS NULL
"""


def check(
    connection: Connection, model: Model, works: Sequence[Work], blocked: Collection[UUID] = ()
) -> list[Violation]:
    """Return all violations in a quiet database. `connection`: sees all rows, outside a transaction.

    `blocked`: events whose dead letters cannot be replayed yet.
    """
    broken = [*model.complaints, *invariants(connection)]
    for law, query in _QUERIES.items():
        broken += none(law, connection.cursor(row_factory=dict_row).execute(query).fetchall())
    broken += job_laws.check(connection, model, works)
    for look in (_deliveries, _delays, _reused_ids):
        broken += look(connection, model)
    return [*broken, *_dead_letters(connection, model, blocked)]


def invariants(connection: Connection) -> list[Violation]:
    """Return violations of the program's invariants, as `audit` checks them. They must hold at any time."""
    verdicts = audit(connection, INVARIANTS)
    return [
        Violation(one.name, f"{one.violations} times, e.g. {one.rows[:NAMED]}") for one in verdicts if not one.holds
    ]


def _deliveries(connection: Connection, model: Model) -> Iterator[Violation]:
    ids = [*model.delivered, *model.unpublished]
    found = {row["event_id"]: row for row in _rows(connection, _WHERE_ARE, [ids])}
    hopeless = model.hopeless
    lost = [event_id for event_id in model.delivered if not (_is(found, event_id))]
    yield from none("a delivered event is applied or dead", [f"{model.delivered[one]} {one}" for one in lost])
    taken = [str(event_id) for event_id in hopeless if found[event_id]["is_applied"] or not found[event_id]["is_open"]]
    yield from none("a mismatched or unreadable event is a dead letter and is not applied", taken)
    yield from none(
        "an event that was rolled back is neither applied nor dead",
        [str(one) for one in model.unpublished if _is(found, one)],
    )


def _delays(connection: Connection, model: Model) -> Iterator[Violation]:
    early = _rows(connection, _EARLY, [list(model.delayed), list(model.delayed.values())])
    yield from none("a delayed event is not applied before it is due", early)


def _reused_ids(connection: Connection, model: Model) -> Iterator[Violation]:
    """Of several events with one id, at most one is in the ledger, and each of the others is one dead letter."""
    said = [(message, one.event_id, one.is_taken) for message, one in model.reused.items()]
    found = _rows(connection, _REUSED, [list(column) for column in zip(*said, strict=True)]) if said else []
    wrong = [
        row
        for row in found
        if row["letters"] != (0 if row["is_in_ledger"] else 1) or (row["is_taken"] and row["is_in_ledger"])
    ]
    yield from none("an event with another event's id is one dead letter", wrong)


def _dead_letters(connection: Connection, model: Model, blocked: Collection[UUID]) -> Iterator[Violation]:
    hopeless, reused = model.hopeless | set(blocked), model.reused
    unexplained = [
        row for row in _rows(connection, _OPEN_LETTERS) if row["event_id"] not in hopeless and row["said"] not in reused
    ]
    yield from none("a dead letter that can be replayed is done in the end", unexplained)


def _is(found: dict[Any, dict[str, Any]], event_id: Any) -> bool:
    return bool(found[event_id]["is_applied"] or found[event_id]["is_dead"])


def _rows(connection: Connection, query: LiteralString, parameters: Any = None) -> list[dict[str, Any]]:
    return connection.cursor(row_factory=dict_row).execute(query, parameters).fetchall()
