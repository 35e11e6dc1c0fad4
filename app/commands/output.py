"""Output of commands: results on stdout, notes on stderr.

Results are tables on a terminal, tab-separated text otherwise, and JSON with `--json`. `edge` reports errors.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from datetime import date, datetime, time, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from app.errors import InvalidInput

# Imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from rich.console import Console

WANTS_JSON = "tallyman.json"
"""The key in an invocation's `meta` that says whether `--json` was given."""


_ZONE: ContextVar[str | None] = ContextVar("zone", default=None)
"""The time zone of the times that this command prints, unless as JSON. `edge` resets it for each command."""


def _remember(context: typer.Context, value: bool) -> bool:  # noqa: FBT001 - the signature of a Typer callback
    # All contexts of one invocation share `meta`, so that `Edge` can choose the format of an error.
    context.meta[WANTS_JSON] = value
    return value


Json = Annotated[bool, typer.Option("--json", callback=_remember, help="Print JSON for programs.")]
"""The option of every command that prints a result."""


def emit(data: object, *, as_json: bool, human: object = None) -> None:
    """Print a result: a record (mapping, dataclass or model), or rows (an iterable of records).

    JSON is one line for each record. Otherwise `human`, if given, is printed instead of `data`: a string, a record,
    rows, or anything that Rich can render.
    """
    if as_json:
        documents: Any = data if _is_rows(data) else [data]
        for document in documents:
            typer.echo(json.dumps(plain(document), ensure_ascii=False))
    else:
        _show(data if human is None else human)


def emit_with_rows(record: Mapping[str, object], name: str, rows: Iterable[object]) -> None:
    """Print a record as one line of JSON with `rows` as its last field, `name`. Rows are streamed."""
    start = json.dumps(plain(record), ensure_ascii=False)[:-1]
    typer.echo(f"{start}, {json.dumps(name)}: [", nl=False)
    for number, row in enumerate(rows):
        typer.echo((", " if number else "") + json.dumps(plain(row), ensure_ascii=False), nl=False)
    typer.echo("]}")


def note(message: str) -> None:
    """Print a message on stderr."""
    typer.echo(message, err=True)


def confirm(question: str, *, yes: bool) -> None:
    """Ask for confirmation unless `yes`. Raises `InvalidInput` without a terminal, `typer.Abort` on no."""
    if yes:
        return
    if not sys.stdin.isatty():
        message = f"{question} Not confirmed, because there is no terminal: use --yes"
        raise InvalidInput(message)
    # Not Typer's own `confirm`: it leaves a blank on stdout, which is for results.
    typer.echo(f"{question} [y/N] ", nl=False, err=True)
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise typer.Abort


def plain(value: Any) -> Any:
    """Convert `value` to JSON types: times as ISO 8601, durations in seconds, UUID and Decimal as text."""
    match value:
        case Enum():
            return plain(value.value)
        case None | bool() | int() | float() | str():
            return value
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Mapping():
            return {str(name): plain(one) for name, one in value.items()}
        case Iterable() if not _is_record(value):
            return [plain(one) for one in value]
        case _ if _is_record(value):
            return plain(_fields(value))
        case _:
            return str(value)


def _is_record(data: object) -> bool:
    return isinstance(data, Mapping) or dataclasses.is_dataclass(data) or hasattr(data, "model_dump")


def _is_rows(data: object) -> bool:
    return isinstance(data, Iterable) and not isinstance(data, str) and not _is_record(data)


def _fields(record: Any) -> dict[str, Any]:
    if isinstance(record, Mapping):
        return {str(name): value for name, value in record.items()}
    if hasattr(record, "model_dump"):
        return dict(record.model_dump())
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


def _show(data: Any) -> None:
    """Print a value as text or as a table. A table is fitted to a width only on a terminal."""
    if isinstance(data, str):
        typer.echo(data)
    elif hasattr(data, "__rich_console__") or hasattr(data, "__rich__"):
        _console().print(data)
    elif _is_rows(data):
        _show_rows([_fields(row) for row in data])
    else:
        _show_rows([{"name": name, "value": value} for name, value in _fields(data).items()], heading=False)


def _show_rows(rows: list[dict[str, Any]], *, heading: bool = True) -> None:
    names = list(rows[0]) if rows else []
    cells = [[_text(row[name]) for name in names] for row in rows]
    if sys.stdout.isatty():
        _print_table(names, cells, heading=heading)
    else:
        for line in [names, *cells] if heading and names else cells:
            typer.echo("\t".join(cell.translate(_ESCAPES) for cell in line))


_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
"""Escapes of PostgreSQL's COPY: one line is one row, one tab ends a cell."""


def _print_table(names: list[str], cells: list[list[str]], *, heading: bool) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(*names, box=box.SIMPLE_HEAD, show_header=heading, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    for line in cells:
        # As plain text, not Rich markup: a value may be "[bold]".
        table.add_row(*map(Text, line))
    _console().print(table if cells else "nothing")


def _console() -> Console:
    from rich.console import Console

    return Console()


def show_times_in(timezone: str | None) -> None:
    """Print this command's times in this time zone (an IANA name), or as they are. JSON keeps UTC."""
    _ZONE.set(timezone)


def local(value: Any) -> Any:
    """Convert a time to the zone of `show_times_in()`. Other values are returned unchanged."""
    zone = _ZONE.get()
    if zone is None or not isinstance(value, datetime):
        return value
    with suppress(ZoneInfoNotFoundError):  # a system without time zone data
        return value.astimezone(ZoneInfo(zone))
    return value


def _text(value: Any) -> str:
    simple = plain(local(value))
    if simple is None:
        return ""
    return simple if isinstance(simple, str) else json.dumps(simple, ensure_ascii=False)
