"""`events schema`, `events asyncapi`, `events check`: print the contract with producers, and check it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.output import Json, emit, note

# Imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from app.engine.inspect.live_check import Report

TypeArgument = Annotated[str | None, typer.Argument(metavar="[TYPE]", help="Event type, e.g. robot/job.submitted.")]


def schema(type: TypeArgument = None, *, as_json: Json = False) -> None:  # noqa: A002 - the argument's name
    """Print the JSON Schema (draft 2020-12) of one or all event types: attributes and data."""
    from events.contracts import json_schema

    _print(json_schema(type), as_json=as_json)


def asyncapi(*, as_json: Json = False) -> None:
    """Print an AsyncAPI 3.0.0 document: queues, event types accepted and their processing."""
    from app.engine.domain import wiring
    from app.engine.queue.workers import version
    from events import contracts

    _print(contracts.asyncapi(wiring().served(), version=version()), as_json=as_json)


def check(
    *,
    live: Annotated[
        bool, typer.Option("--live", help="Read every waiting, held and dead event in the database with this code.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=0, max=10_000, help="Events to list for each finding.")] = 20,
    as_json: Json = False,
) -> None:
    """Check that this code can read every event. Exit code 1 if not. Run it before a deployment.

    Without --live: check that every published version can be converted to the current one.
    """
    if live:
        _check_live(limit, as_json=as_json)
    else:
        _check_versions(as_json=as_json)


def _check_versions(*, as_json: bool) -> None:
    from events import KINDS
    from events.contracts import gaps

    found = gaps()
    emit({"types": len(KINDS), "gaps": found}, as_json=as_json, human=found or f"{len(KINDS)} types, no gap")
    if found:
        raise typer.Exit(1)


def _check_live(limit: int, *, as_json: bool) -> None:
    from app import database
    from app.engine.inspect.live_check import check as look

    with database.connect() as connection:
        report = look(connection, examples=limit)
    counts = {**report.looked_at, "invalid": report.invalid}
    emit(report, as_json=as_json, human=counts)
    if not as_json:
        _explain(report)
    if report.invalid:
        raise typer.Exit(1)


def _explain(report: Report) -> None:
    if not report.findings:
        return
    emit("", as_json=False)
    emit(
        [
            {"events": one.events, "type": one.type, "dataschema": one.dataschema, "why": one.why}
            for one in report.findings
        ],
        as_json=False,
    )
    emit("", as_json=False)
    named = [one for finding in report.findings for one in finding.first]
    emit(named, as_json=False)
    if len(named) < report.invalid:
        note(f"{report.invalid - len(named)} more events are not listed: raise --limit")


def _print(document: dict[str, Any], *, as_json: bool) -> None:
    """Print a JSON document: on one line with `--json`, otherwise indented."""
    emit(document, as_json=as_json, human=json.dumps(document, indent=2, ensure_ascii=False))
