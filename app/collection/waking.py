"""Wake runs that are paused for money and whose next page fits now: after a higher cap, and after a lower bill."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from psycopg.rows import scalar_row

from app.context import Connection

# A run continues if its next page fits its cap, or if no page is left. Its cap is its own, or the organisation's now:
# `budget_cap_cents` may still be above that, because it follows a lower cap only as reservations are released.
_WAKE = """
UPDATE collection.collection_runs r
   SET pause_reason = 'place', changed_by = %(actor)s
 WHERE r.id = ANY(%(ids)s) AND r.status = 'paused' AND r.pause_reason = ANY(%(reasons)s) AND r.overrun_cents = 0
   AND r.actual_cost_cents + r.reserved_cost_cents
       + coalesce((SELECT min(p.price_cents) FROM collection.collection_pages p
                    WHERE p.run_id = r.id AND p.status = 'pending'), 0)
       <= coalesce(r.cap_override_cents,
                   (SELECT s.budget_cap_cents FROM collection.collection_settings s WHERE s.org_id = r.org_id),
                   r.budget_cap_cents)
RETURNING r.id
"""


def wake(
    connection: Connection, run_ids: Collection[UUID], reasons: Collection[str], *, actor: str | None
) -> list[UUID]:
    """Let those of some locked runs wait for a place that are paused for one of `reasons` and have room. Returns them.

    `actor`: who raised the cap; None if a charge was lower than its reservation. A run is woken once: it is not paused
    for money any more.
    """
    if not run_ids:
        return []
    wanted = {"ids": sorted(run_ids), "reasons": list(reasons), "actor": actor}
    return connection.cursor(row_factory=scalar_row).execute(_WAKE, wanted).fetchall()
