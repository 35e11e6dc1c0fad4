"""The timeline of a job: what the ledger knows about it."""

from __future__ import annotations

from uuid import UUID

from app.context import Connection

_COUNT = "SELECT count(*) FROM engine.event_log WHERE subject_id = %s AND type = %s"


def count_events(connection: Connection, subject_id: UUID, kind: str) -> int:
    """How many events of a type were applied that are about this job or order."""
    row = connection.execute(_COUNT, [subject_id, kind]).fetchone()
    return int(row[0]) if row else 0
