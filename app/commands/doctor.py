"""`doctor`: what is wrong, and what to do about it."""

from __future__ import annotations

import typer

from app.commands.output import Json, emit


def doctor(*, as_json: Json = False) -> None:
    """Look at the server, the schema, the queue and the keys; exit code 1 if anything needs somebody now.

    Reads only, and takes moments; safe while the system runs.
    """
    from app.engine.health.doctor import check_context, examine
    from app.program import CHECKUPS

    with check_context() as examined:
        found = examine(examined, CHECKUPS)
    emit(found, as_json=as_json)
    if any(finding.level == "problem" for finding in found):
        raise typer.Exit(1)
