"""`doctor`: report problems with their remedies."""

from __future__ import annotations

import typer

from app.commands.output import Json, emit


def doctor(*, as_json: Json = False) -> None:
    """Check server, schema, queue and keys. Exit code 1 if a problem needs action now.

    Read-only and fast. Safe while the system runs.
    """
    from app.engine.health.doctor import check_context, examine
    from app.program import CHECKUPS

    with check_context() as examined:
        found = examine(examined, CHECKUPS)
    emit(found, as_json=as_json)
    if any(finding.level == "problem" for finding in found):
        raise typer.Exit(1)
