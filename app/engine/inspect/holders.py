"""Find the database sessions that hold a lock on a row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from app.context import Connection
from app.database import as_login
from app.engine.delivery.locked import LockTarget

_SESSIONS = """
SELECT a.pid, a.usename::text AS login, nullif(a.application_name, '') AS application, a.state, a.xact_start AS since
  FROM pg_stat_activity a WHERE a.pid IN (SELECT engine.lock_holders(%s::text::regclass, %s)) ORDER BY a.pid
"""
_DETAILS = """
SELECT pid, usename::text AS login, nullif(application_name, '') AS application, state, xact_start AS since
  FROM pg_stat_activity WHERE pid = ANY(%s) ORDER BY pid
"""


@dataclass(frozen=True, slots=True)
class Session:
    """A session of the database. `since`: the start of its transaction.

    `state` and `since` are None for sessions of other logins, because PostgreSQL does not show them.
    """

    pid: int
    login: str | None
    application: str | None
    state: str | None
    since: datetime | None


def holders(connection: Connection, target: LockTarget) -> list[Session]:
    """Return the sessions that hold a lock on a row now, ordered by pid. Runs in the caller's transaction."""
    cursor = connection.cursor(row_factory=class_row(Session))
    found = cursor.execute(_SESSIONS, [target.table, target.id]).fetchall()
    if all(session.state for session in found):
        return found
    with as_login(connection):
        return cursor.execute(_DETAILS, [[session.pid for session in found]]).fetchall()
