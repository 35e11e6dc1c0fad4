"""Schema drift: compare Procrastinate's tables, indexes, functions and triggers with those of the installed package.

The package contains its schema as SQL. The check runs this SQL in a temporary schema, compares both schemas object by
object in the catalog, and rolls the transaction back. It needs the owner of the database. It locks only the objects
that it creates.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from app import database
from app.context import Connection
from app.schema.scripts import Sources

_SCRATCH = "tallyman_doctor"
_IN_USE = "public"


@dataclass(frozen=True, slots=True)
class Drift:
    """An object of Procrastinate that differs from the package. `how`: `missing`, `changed` or `added`."""

    how: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class _Object:
    kind: str
    name: str
    definition: str


_OBJECTS = Path(__file__).with_name("schema_drift.sql").read_bytes()


def drifts(owner_address: str) -> list[Drift]:
    """Return the objects that differ, by kind and name; an empty list if there is no drift.

    `owner_address`: connection URL of the owner. Raises `psycopg.errors.InsufficientPrivilege` for a login that may
    not create a schema.
    """
    with psycopg.connect(database.bounded(owner_address), application_name="tallyman doctor") as connection:
        connection.execute("SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '20s'")
        used = _objects(connection, _IN_USE)
        packaged = _laid_out(connection)
        connection.rollback()
    return [
        Drift(_how(used.get(key), packaged.get(key)), *key)
        for key in sorted({*used, *packaged})
        if used.get(key) != packaged.get(key)
    ]


def _laid_out(connection: Connection) -> dict[tuple[str, str], str]:
    connection.execute(
        sql.SQL("CREATE SCHEMA {schema}; SET LOCAL search_path TO {schema}").format(schema=sql.Identifier(_SCRATCH))
    )
    connection.execute(Sources.installed().queue_schema().content)
    return _objects(connection, _SCRATCH)


def _objects(connection: Connection, schema: str) -> dict[tuple[str, str], str]:
    """Return the definition of each object, by kind and name, without the schema's name."""
    found = connection.cursor(row_factory=class_row(_Object)).execute(_OBJECTS, {"schema": schema}).fetchall()
    return {(one.kind, one.name.replace(f"{schema}.", "")): one.definition.replace(f"{schema}.", "") for one in found}


def _how(used: str | None, packaged: str | None) -> str:
    if used is None:
        return "missing"
    return "added" if packaged is None else "changed"
