"""Empty the tests' database between two tests, over a connection that is kept."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row

_END_OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_TABLES = """
SELECT n.nspname AS schema, c.relname AS name, pg_relation_size(c.oid) AS bytes, c.reltuples >= 0 AS is_analysed
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
   AND c.relname <> 'schema_migrations'
"""
_LARGE_BYTES = 131_072


@dataclass(frozen=True, slots=True)
class _Table:
    schema: str
    name: str
    bytes: int
    is_analysed: bool

    @property
    def identifier(self) -> sql.Identifier:
        """Return the quoted name with its schema."""
        return sql.Identifier(self.schema, self.name)

    @property
    def is_truncated(self) -> bool:
        """Whether to truncate it. Only TRUNCATE makes the planner forget how many rows an ANALYZE has found."""
        return self.is_analysed or self.bytes > _LARGE_BYTES


class Cleaner:
    """Empties one database. Its connection is opened at the first use, and again if a test has ended it.

    A new connection costs the server five times the work of emptying: it looks every table up in the catalogue.
    TRUNCATE costs twenty times as much as DELETE: it makes new files for a table and each of its indexes, which the
    server later syncs and unlinks.
    """

    def __init__(self, superuser_url: str) -> None:
        self._url = superuser_url
        self._connection: psycopg.Connection[Any] | None = None

    def empty(self) -> None:
        """End the database's other sessions and remove all rows of its tables, except the list of migrations."""
        with suppress(psycopg.OperationalError):
            return self._empty()
        self.close()
        return self._empty()

    def close(self) -> None:
        """Close the connection."""
        if self._connection:
            self._connection.close()
        self._connection = None

    def _empty(self) -> None:
        self._connection = self._connection or psycopg.connect(self._url, autocommit=True)
        self._connection.execute(_END_OTHERS)
        with self._connection.transaction():
            _remove_rows(self._connection.cursor(row_factory=class_row(_Table)))


def _remove_rows(cursor: psycopg.Cursor[_Table]) -> None:
    every = _list(table.identifier for table in cursor.execute(_TABLES))
    # A session that was ended may still be committing. The locks wait for it, so nothing it wrote is missed.
    cursor.execute(sql.SQL("LOCK {} IN EXCLUSIVE MODE").format(every))
    tables = cursor.execute(_TABLES).fetchall()
    # In the replica role, without triggers and foreign keys, rows can be deleted in any order.
    statements: list[sql.Composable] = [
        sql.SQL("SET LOCAL session_replication_role = replica"),
        sql.SQL("SET LOCAL client_min_messages = warning"),
    ]
    small = [table.identifier for table in tables if table.bytes and not table.is_truncated]
    statements += [sql.SQL("DELETE FROM {}").format(name) for name in small]
    if large := [table.identifier for table in tables if table.is_truncated]:
        statements.append(sql.SQL("TRUNCATE {} CASCADE").format(_list(large)))
    cursor.execute(sql.SQL("; ").join(statements), prepare=False)  # several statements cannot be prepared as one


def _list(names: Iterable[sql.Identifier]) -> sql.Composed:
    return sql.SQL(", ").join(names)
