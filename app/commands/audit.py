"""`audit`: check the invariants over the whole database."""

from __future__ import annotations

import typer

from app.commands.output import Json, emit


def audit(*, as_json: Json = False) -> None:
    """Check every invariant in one snapshot. Exit code 1 if one is violated; its rows are printed."""
    from app import database
    from app.engine.inspect.invariants import audit as look
    from app.program import INVARIANTS

    with database.connect() as connection:
        verdicts = look(connection, INVARIANTS)
    emit(
        verdicts,
        as_json=as_json,
        human=[{"holds": "yes" if one.holds else f"NO: {one.violations}", "invariant": one.name} for one in verdicts],
    )
    broken = [one for one in verdicts if not one.holds]
    if broken and not as_json:
        emit([{"invariant": one.name, "row": str(row)} for one in broken for row in one.rows], as_json=False)
    if broken:
        raise typer.Exit(1)
