"""Drift: whether Procrastinate's tables, indexes, functions and triggers are those of the installed package.

The package brings its schema as SQL. It is laid out beside the one in use, in a schema of its own and a transaction
that is rolled back, and the two are compared object by object in the catalog. That takes the owner of the database,
and nobody waits for it: it locks nothing but what it makes.
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
    """An object of Procrastinate's that is not as the package has it: `missing`, `changed` or `added`."""

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
    """What differs, by kind and name; nothing if the schema in use is the installed package's.

    Raises `psycopg.errors.InsufficientPrivilege` for a login that may not make a schema.
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
    """The definition of each object by kind and name. The schema's own name is no part of it."""
    found = connection.cursor(row_factory=class_row(_Object)).execute(_OBJECTS, {"schema": schema}).fetchall()
    return {(one.kind, one.name.replace(f"{schema}.", "")): one.definition.replace(f"{schema}.", "") for one in found}


def _how(used: str | None, packaged: str | None) -> str:
    if used is None:
        return "missing"
    return "added" if packaged is None else "changed"
