"""`prune`: delete rows past their retention time, as workers do every 15 minutes."""

from __future__ import annotations

from typing import Annotated

import typer

from app.commands.output import Json, confirm, emit, note


def prune(
    *,
    older_than: Annotated[
        float | None,
        typer.Option(
            "--older-than", min=1, metavar="DAYS", help="Delete rows older than this, instead of the settings' times."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count the rows; delete nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: Json = False,
) -> None:
    """Delete old rows: ledger, resolved dead letters, plans, actions, finished queue rows, remains of deliveries.

    Keeps unresolved dead letters of any age, and actions of the last 365 days. An event that is delivered again after
    its ledger row is deleted is applied again: keep the ledger longer than any producer may repeat an event.
    """
    from app import database, logs
    from app.engine.worker import prune as engine
    from app.settings import settings

    logs.configure()
    with database.connect() as connection:
        counts = engine.count_prunable(connection, older_than=older_than)
        for tenant, letters in engine.crowds(connection):
            note(f"{letters} dead letters of {tenant or 'no tenant'}, more than {settings().dead_letters_a_tenant}")
        if not dry_run:
            confirm(f"Drop {sum(counts.values())} rows?", yes=yes or not any(counts.values()))
            counts = engine.prune(connection, older_than=older_than)
    emit(
        {**counts, "dry_run": dry_run},
        as_json=as_json,
        human=[{"table": table, "would go" if dry_run else "gone": count} for table, count in counts.items()],
    )
