"""Wake runs that are paused for money and whose next page fits now: after a lower bill, and after a higher cap."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from psycopg.rows import scalar_row

from app.context import Connection

_WAKE = "SELECT collection.wake(%s, %s, %s)"


def wake(
    connection: Connection, run_ids: Collection[UUID], reasons: Collection[str], *, actor: str | None
) -> list[UUID]:
    """Let those of some locked runs wait for a place that are paused for one of `reasons` and have room. Returns them.

    `actor`: who raised the cap; None if a charge was lower than its reservation. A run is woken once: it is not paused
    for money any more. `collection.apply_settings()` calls the same function of the database.
    """
    if not run_ids:
        return []
    wanted = [sorted(run_ids), list(reasons), actor]
    return connection.cursor(row_factory=scalar_row).execute(_WAKE, wanted).fetchall()
