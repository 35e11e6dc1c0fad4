"""Weights: each tenant's part of the deliveries of effects, and the effects it has due and running.

While several tenants have effects waiting, each gets a part of every worker's deliveries in proportion to its weight:
1, unless an operator has set another. The audit log records in the same commit who set it, when and why.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from app.context import Connection
from app.engine import audit_log
from app.errors import InvalidInput

HIGHEST = 1000.0

_SET = """
INSERT INTO engine.tenant_weights AS w (tenant_id, weight, set_by, reason) VALUES (%s, %s, %s, %s)
ON CONFLICT (tenant_id) DO UPDATE
   SET weight = excluded.weight, set_by = excluded.set_by, reason = excluded.reason, set_at = now()
RETURNING tenant_id, weight, set_by, reason, set_at
"""
_BEFORE = "SELECT weight FROM engine.tenant_weights WHERE tenant_id = %s FOR UPDATE"
_STANDINGS = """
WITH rows AS (
    SELECT j.queue_name, engine.share(j.args) AS share, j.status, j.scheduled_at FROM public.procrastinate_jobs j
     WHERE j.task_name = 'perform' AND j.status IN ('todo', 'doing')
), counted AS (
    SELECT r.queue_name, split_part(r.share, '/', 1) AS tenant,
           nullif(substr(r.share, strpos(r.share || '/', '/') + 1), '') AS account,
           count(*) FILTER (WHERE r.status = 'todo' AND NOT coalesce(r.scheduled_at > now(), false)) AS due,
           count(*) FILTER (WHERE r.status = 'doing') AS in_hand
      FROM rows r GROUP BY 1, 2, 3
), active AS (
    SELECT c.queue_name, c.tenant, c.account, c.due, c.in_hand, engine.tenant_weight(c.tenant) AS weight
      FROM counted c WHERE c.due > 0 OR c.in_hand > 0
), tenants AS (
    SELECT t.queue_name, sum(t.weight) AS total
      FROM (SELECT DISTINCT a.queue_name, a.tenant, a.weight FROM active a) t GROUP BY t.queue_name
)
SELECT a.queue_name, a.tenant, a.account, a.due, a.in_hand, a.weight, a.weight / t.total AS part
  FROM active a JOIN tenants t USING (queue_name)
 WHERE %(queue)s::text IS NULL OR a.queue_name = %(queue)s
 ORDER BY a.queue_name, a.due DESC, a.tenant, a.account
 LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Weight:
    """The weight of a tenant, who set it, when and why."""

    tenant_id: UUID
    weight: float
    set_by: str
    reason: str
    set_at: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """Rows of one account of a tenant (None: a tenant without accounts) in a queue of effects: due and running.

    `part`: the tenant's part of the deliveries, between 0 and 1, while all listed tenants keep having rows.
    """

    queue_name: str
    tenant: str
    account: str | None
    due: int
    in_hand: int
    weight: float
    part: float


def set_weight(connection: Connection, tenant_id: UUID, weight: float, *, actor: str, reason: str) -> Weight:
    """Set a tenant's weight. Workers obey at their next fetch.

    Raises `InvalidInput` for a weight that is not above 0 and at most `HIGHEST`, and for an empty actor or reason.
    """
    if not math.isfinite(weight) or not 0 < weight <= HIGHEST:
        raise InvalidInput(f"weight: {weight:g} is out of range: give a number above 0, at most {HIGHEST:g}")
    actor, reason = audit_log.text("actor", actor), audit_log.text("reason", reason)
    with connection.transaction():
        before = connection.execute(_BEFORE, [tenant_id]).fetchone()
        cursor = connection.cursor(row_factory=class_row(Weight))
        made = cursor.execute(_SET, [tenant_id, weight, actor, reason]).fetchone()
        if made is None:
            raise AssertionError("INSERT ... RETURNING returned nothing")
        details = {"before": before[0] if before else 1.0, "after": weight}
        audit_log.record(connection, actor, "weight", subject=tenant_id, reason=reason, details=details)
    return made


def standings(connection: Connection, queue: str | None = None, *, limit: int = 1000) -> list[Standing]:
    """Return the due and running effects of each tenant and account, by queue, most due rows first.

    `queue`: only this one. At most `limit` entries. Reads every waiting row of effects.
    """
    cursor = connection.cursor(row_factory=class_row(Standing))
    return cursor.execute(_STANDINGS, {"queue": queue, "limit": limit}).fetchall()
