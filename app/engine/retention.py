"""Retention: declare rows that `prune` deletes after a time. The engine and the domains have rules of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import LiteralString

from psycopg import sql

from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Rule:
    """Rows of a table, alias `old`, that may be deleted: `condition` holds for them, with `days` from the settings."""

    schema: str
    table: str
    condition: LiteralString
    days: Callable[[Settings], float] = lambda _: 0.0

    def fill(self, statement: sql.SQL) -> sql.Composed:
        """Return `statement` for these rows."""
        return statement.format(table=sql.Identifier(self.schema, self.table), condition=sql.SQL(self.condition))
