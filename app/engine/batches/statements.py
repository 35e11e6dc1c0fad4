"""SQL with the table and column names of a batch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from functools import cache
from typing import Any, LiteralString

from psycopg import sql

from app.engine.batches.tables import Batch, JobTable


@cache
def statement(table: JobTable, template: LiteralString) -> bytes:
    """Return `composed()` as bytes, cached."""
    return composed(table, template).as_bytes()


def composed(table: JobTable, template: LiteralString) -> sql.Composed:
    """Return a statement with the names in braces replaced by the table's.

    `{jobs}`, `{items}` and column names become identifiers; `{pending}` to `{error}` become literals. `{job_columns}`
    and `{item_columns}` (of the row `i`) become the lists of selected columns. `{request}` and `{about}` become column
    lists that begin with a comma, or nothing; `{given_request}`, `{given_about}` and `{i_about}` likewise, qualified by
    the row `given` or `i`. `{says_submitted}` to `{says_job_completed}` become the event types, `{says_job}` and
    `{says_item}` the names of their fields, all as literals.
    """
    names = _names(table) | (_batch_names(table) if isinstance(table, Batch) else {})
    return sql.SQL(template).format(**names)


def _names(table: JobTable) -> dict[str, sql.Composable]:
    return {
        "jobs": sql.Identifier(table.schema, table.jobs),
        "total": sql.Identifier(table.total),
        "succeeded": sql.Identifier(table.succeeded),
        "failed": sql.Identifier(table.failed),
    }


def _batch_names(batch: Batch[Any, Any]) -> dict[str, sql.Composable]:
    derived = {name: sql.SQL("({}) AS {}").format(sql.SQL(text), sql.Identifier(name)) for name, text in batch.derived}
    return {
        "items": sql.Identifier(batch.schema, batch.items),
        "tenant": sql.Identifier(batch.tenant),
        "job_id": sql.Identifier(batch.job_id),
        "status": sql.Identifier(batch.item_status),
        **{word: sql.Literal(getattr(batch, word)) for word in ("pending", "processing", "success", "error")},
        "job_columns": sql.SQL(", ").join(sql.Identifier(field.name) for field in fields(batch.job)),
        "item_columns": sql.SQL(", ").join(
            derived.get(field.name, sql.Identifier("i", field.name)) for field in fields(batch.item)
        ),
        "says_submitted": sql.Literal(batch.submitted.type),
        "says_requested": sql.Literal(batch.requested.type),
        "says_completed": sql.Literal(batch.completed.type),
        "says_job_completed": sql.Literal(batch.job_completed.type),
        "says_job": sql.Literal(batch.job_id),
        "says_item": sql.Literal(batch.item_id),
        "request": _after_comma(batch.request),
        "given_request": _after_comma(batch.request, "given"),
        "about": _after_comma(batch.about),
        "given_about": _after_comma(batch.about, "given"),
        "i_about": _after_comma(batch.about, "i"),
        "set_result": sql.SQL("").join(
            sql.SQL("{} = filled.{}, ").format(sql.Identifier(name), sql.Identifier(name)) for name in batch.result
        ),
    }


def _after_comma(columns: Iterable[str], row: str | None = None) -> sql.Composable:
    of = (row,) if row else ()
    return sql.SQL("").join(sql.SQL(", {}").format(sql.Identifier(*of, column)) for column in columns)
