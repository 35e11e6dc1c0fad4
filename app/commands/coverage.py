"""`coverage`: the cities that carriers serve. Shared by all workspaces."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, assert_never

import typer

from app.commands.output import Json, emit, note
from app.commands.scope import CarrierOption, as_service

# Imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from app.logistics.coverage import Verdict

app = typer.Typer(no_args_is_help=True, help="Manage the cities that a carrier serves.")


@app.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV in UTF-8: city,department,carrier_city[,is_active].")],
    *,
    carrier: CarrierOption = "coordinadora",
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Import valid rows even if others are invalid.")] = False,
    as_json: Json = False,
) -> None:
    """Import cities from a CSV file, replacing existing ones. All rows or none, unless --skip-bad."""
    from app.logistics.coverage import CoverageRow, import_coverage
    from app.logistics.files import read_csv

    rows = read_csv(file, CoverageRow, unique=("city", "department"), skip_bad=skip_bad)
    with as_service() as connection:
        done = import_coverage(connection, carrier, rows)
    summary = {**asdict(done), "bad": rows.bad}
    emit({**summary, "problems": rows.problems}, as_json=as_json, human=summary)
    if not as_json:
        for problem in rows.problems:
            note(problem)


@app.command()
def find(
    city: Annotated[str, typer.Argument(help="City, as a customer typed it.")],
    *,
    department: Annotated[str | None, typer.Option("--department", help="Its department.")] = None,
    carrier: CarrierOption = "coordinadora",
    as_json: Json = False,
) -> None:
    """Show whether a carrier serves a city, and the carrier's name for it."""
    from app.logistics.coverage import find_city

    with as_service() as connection:
        verdict = find_city(connection, carrier, city, department)
    emit(_said(verdict), as_json=as_json)


def _said(verdict: Verdict) -> dict[str, Any]:
    from app.logistics.coverage import Ambiguous, Covered, NotCovered

    match verdict:
        case Covered():
            return {"verdict": "covered", **asdict(verdict)}
        case Ambiguous():
            return {"verdict": "ambiguous", **asdict(verdict), "reason": verdict.reason}
        case NotCovered():
            return {"verdict": "not_covered", **asdict(verdict), "reason": verdict.reason}
        case _:
            assert_never(verdict)
