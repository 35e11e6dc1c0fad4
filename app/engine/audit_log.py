"""Audit log of operators' actions: actor, time, action, reason. Rows are added in the action's transaction only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from app.context import Connection
from app.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Action:
    """An entry of the audit log: one action of one actor. `at` is by the database's clock."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str | None
    reason: str | None
    details: dict[str, Any]


_RECORD = """
INSERT INTO engine.actions (actor, action, subject, reason, details) VALUES (%s, %s, %s, %s, %s)
"""
_HISTORY = """
SELECT id, at, actor, action, subject, reason, details FROM engine.actions
 WHERE (%(subject)s::text IS NULL OR subject = %(subject)s)
 ORDER BY id DESC
 LIMIT %(limit)s
"""


def record(
    connection: Connection,
    actor: str,
    action: str,
    *,
    subject: object = None,
    reason: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Record an action of `actor` in the caller's transaction. The entry exists if and only if that commits."""
    about = None if subject is None else str(subject)
    connection.execute(_RECORD, [actor, action, about, reason, Jsonb(dict(details or {}))])


def text(name: str, value: str) -> str:
    """Return `value` on one line, with single spaces. Raises `InvalidInput` if it is empty or has control characters.

    `name`: the field that the error names.
    """
    value = " ".join(value.split())
    if not value or not value.isprintable():
        raise InvalidInput(f"{name}: must not be empty or hold control characters")
    return value


def history(connection: Connection, subject: object = None, limit: int = 100) -> list[Action]:
    """Return at most `limit` actions, newest first. `subject`: only actions on this object."""
    about = None if subject is None else str(subject)
    cursor = connection.cursor(row_factory=class_row(Action))
    return cursor.execute(_HISTORY, {"subject": about, "limit": limit}).fetchall()
