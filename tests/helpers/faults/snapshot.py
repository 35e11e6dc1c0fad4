"""Read the state of the program at one commit, as the model knows it."""

from __future__ import annotations

from itertools import groupby
from typing import Any
from uuid import UUID

from app.context import Connection
from app.engine.inspect.invariants import audit
from app.program import INVARIANTS
from tests.helpers.faults.event_specs import EventSpec, ItemState, JobState, Seen, event_spec

_EVENTS = """
SELECT event_id, 'applied' AS place, applied_at AS at, 0 AS row, NULL AS why,
       jsonb_build_object('type', type, 'data', data) AS event
  FROM engine.event_log
UNION ALL
SELECT event_id, 'dead', failed_at, 0, error_class, event_data FROM engine.failed_jobs WHERE resolved_at IS NULL
UNION ALL
SELECT (e ->> 'id')::uuid, 'waiting', NULL,
       CASE j.place WHEN 'delayed' THEN 1000000000000 ELSE 0 END + j.row_id * 1000 + n, NULL, e
  FROM engine.waiting() j,
       jsonb_array_elements(CASE WHEN args ? 'events' THEN args -> 'events' ELSE jsonb_build_array(args) END)
       WITH ORDINALITY AS letters (e, n)
 ORDER BY at, row -- as they were said: ids are chance, and every walk of one way must be the same
"""
_JOBS = """
SELECT id, status, success_count, error_count, generation, cancelled_at IS NOT NULL FROM logistics.robot_jobs
"""
_ITEMS = "SELECT id, status, retry_count FROM logistics.robot_job_items"
_ORDERS = "SELECT id, status FROM logistics.orders WHERE status <> 'pending'"
_HEARD = "SELECT word, count(*) FROM toy.heard GROUP BY word"
_SLOTS = """
SELECT key, count(*) FROM engine.slots WHERE engine.is_live(row_id, attempts, worker_id) GROUP BY key
"""


def snapshot(connection: Connection) -> tuple[Seen, dict[UUID, Any]]:
    """Return the state, and the JSON of the waiting events."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        rows = [row for row in connection.execute(_EVENTS) if row[5]["type"] != "order/updated"]
        jobs = {id_: JobState(*state) for id_, *state in connection.execute(_JOBS)}
        items = {id_: ItemState(*state) for id_, *state in connection.execute(_ITEMS)}
        orders = dict(connection.execute(_ORDERS).fetchall())
        heard = dict(connection.execute(_HEARD).fetchall())
    rows, reused = _apart(rows)
    applied = [row for row in rows if row[1] == "applied"]
    seen = Seen(
        jobs,
        items,
        event_specs={row[0]: event_spec(row[5]) for row in rows},
        # `applied_at` is when a transaction began: the same for all that it applied, and another for every other one.
        applied=[[row[0] for row in together] for _, together in groupby(applied, key=lambda row: row[2])],
        waiting=frozenset(row[0] for row in rows if row[1] == "waiting"),
        dead={row[0]: row[4] for row in rows if row[1] == "dead"},
        heard=heard,
        orders=orders,
        reused=reused,
    )
    return seen, {row[0]: row[5] for row in rows if row[1] == "waiting"}


def _apart(rows: list[Any]) -> tuple[list[Any], frozenset[tuple[UUID, EventSpec]]]:
    """Split the rows with the id of another event from the others. Returns the rows, those of the ledger first."""
    known: dict[UUID, EventSpec] = {row[0]: event_spec(row[5]) for row in rows if row[1] == "applied"}
    own, reused = [], set()
    for row in rows:
        says, id_ = event_spec(row[5]), UUID(row[5].get("id", str(row[0])))
        if id_ == row[0] and known.setdefault(id_, says) == says:
            own.append(row)
        else:
            reused.add((id_, says))
    return own, frozenset(reused)


def broken(connection: Connection) -> list[str]:
    """Return the violated invariants with their counterexamples."""
    return [f"{verdict.name}: {verdict.rows}" for verdict in audit(connection, INVARIANTS) if not verdict.holds]


def most_slots(connection: Connection) -> int:
    """Return the largest number of slots of one limit that live deliveries hold."""
    return max((int(count) for _, count in connection.execute(_SLOTS)), default=0)
