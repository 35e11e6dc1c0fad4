"""Tables: save and restore a database's rows, and return them without values that differ between runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import class_row

from app.context import Connection

_KEPT = "crash_everywhere"
_RESTORE = sql.Identifier(_KEPT, "restore")
# In the replica role, without triggers and foreign keys, tables can be restored in any order. The whole session has it:
# each change of the role makes PostgreSQL plan all of the session's statements again.
_SESSION = "-c session_replication_role=replica"
_COLUMNS = """
SELECT n.nspname AS schema, c.relname AS name, array_agg(a.attname::text ORDER BY a.attnum) AS columns,
       array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE a.attgenerated <> '') AS computed,
       array_agg(a.attname::text ORDER BY a.attnum) FILTER (
           WHERE a.attgenerated = '' AND (a.attidentity <> '' OR pg_get_expr(d.adbin, d.adrelid) LIKE '%(%'
                                          OR a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype))) AS volatile
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
 WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
   AND c.relname <> 'schema_migrations'
 GROUP BY n.nspname, c.relname ORDER BY 1, 2
"""
# Volatile: times, and values computed by a default (sequence numbers, random ids).
_SEQUENCES = """
SELECT format('%I.%I', schemaname, sequencename) AS name, start_value, last_value
  FROM pg_sequences WHERE schemaname NOT LIKE 'pg\\_%'
"""


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its columns, its generated columns (`computed`), and those that differ between runs (`volatile`)."""

    schema: str
    name: str
    columns: list[str]
    computed: list[str] | None
    volatile: list[str] | None

    @property
    def full_name(self) -> str:
        """Return the name with its schema."""
        return f"{self.schema}.{self.name}"

    @property
    def is_bookkeeping(self) -> bool:
        """Return whether the table belongs to the queue or the engine. Their rows depend on the faults."""
        return self.schema == "engine" or self.name.startswith("procrastinate_")

    def shown(self, ignore: Collection[str]) -> sql.Composed:
        """Return a query for the rows as JSON texts, without volatile and ignored columns."""
        hidden = {*(self.volatile or ()), *(c for c in self.columns if f"{self.full_name}.{c}" in ignore)}
        return sql.SQL("SELECT {}, (to_jsonb(t) - {}::text[])::text FROM {} t").format(
            self.full_name, sorted(hidden), self.identifier
        )

    @property
    def identifier(self) -> sql.Identifier:
        """Return the quoted name with its schema."""
        return sql.Identifier(self.schema, self.name)

    def restored(self) -> sql.Composed:
        """Return a statement that restores the saved rows of the emptied table."""
        columns = [sql.Identifier(column) for column in self.columns if column not in (self.computed or ())]
        return sql.SQL("INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {kept};").format(
            table=self.identifier,
            kept=sql.Identifier(_KEPT, self.full_name),
            columns=sql.SQL(", ").join(columns),
        )


class Kept:
    """The database's rows at construction. `restore()` is one round trip of a few milliseconds.

    Statements are composed once. Those of `restore()` stand in a function, whose plans the session keeps.
    """

    def __init__(self, connection: Connection, tables: list[Table]) -> None:
        self.tables = tables
        self._connection = connection
        self._shown: dict[frozenset[str], bytes] = {}
        parts = [sql.SQL("DELETE FROM {};").format(table.identifier) for table in tables]
        for table in tables:
            found = connection.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(table.identifier)).fetchone()
            if found and found[0]:  # an empty table needs no copy
                statement = sql.SQL("CREATE UNLOGGED TABLE {} AS TABLE {}")
                connection.execute(statement.format(sql.Identifier(_KEPT, table.full_name), table.identifier))
                parts.append(table.restored())
        for name, start, last in connection.execute(_SEQUENCES):
            parts.append(sql.SQL("PERFORM setval({}, {}, {});").format(name, last or start, last is not None))
        body = sql.Composed([sql.SQL("BEGIN "), *parts, sql.SQL(" END")]).as_string(connection)
        connection.execute(
            sql.SQL("CREATE FUNCTION {}() RETURNS void LANGUAGE plpgsql AS {}").format(_RESTORE, sql.Literal(body))
        )
        self._restore = sql.SQL("SELECT {}()").format(_RESTORE).as_bytes(connection)

    def restore(self) -> None:
        """Restore all tables and sequences."""
        self._connection.execute(self._restore)

    def show(self, ignore: Collection[str]) -> Mapping[str, Counter[str]]:
        """Return the rows of each domain table as JSON texts with their counts. `ignore`: tables and columns."""
        hidden = frozenset(ignore)
        if hidden not in self._shown:
            self._shown[hidden] = self._query(hidden).as_bytes(self._connection)
        rows: dict[str, Counter[str]] = {}
        for name, text in self._connection.execute(self._shown[hidden]) if self._shown[hidden] else ():
            rows.setdefault(name, Counter())[text] += 1
        return rows

    def _query(self, ignore: Collection[str]) -> sql.Composed:
        tables = [table for table in self.tables if not table.is_bookkeeping and table.full_name not in ignore]
        return sql.SQL(" UNION ALL ").join([table.shown(ignore) for table in tables])


@contextmanager
def keep(superuser_url: str) -> Iterator[Kept]:
    """Save the database's rows in a separate schema, which is dropped at the end of the block."""
    given = str(conninfo_to_dict(superuser_url).get("options") or "")
    address = make_conninfo(superuser_url, options=f"{given} {_SESSION}".strip())
    with psycopg.connect(address, autocommit=True) as connection:
        schema = sql.Identifier(_KEPT)
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(schema))
        tables = connection.cursor(row_factory=class_row(Table)).execute(_COLUMNS).fetchall()
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
        try:
            yield Kept(connection, tables)
        finally:
            connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(schema))
