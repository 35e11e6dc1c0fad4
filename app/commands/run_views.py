"""How `runs` shows a run: as a line, whole, and live until its end."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

# Imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from uuid import UUID

    from app.collection.store import Run


def line(run: Run) -> dict[str, Any]:
    """Return a run as one line of a list."""
    return {
        "run_id": run.id,
        "name": run.name,
        "status": run.status,
        "pause_reason": run.pause_reason,
        "items": run.total_items,
        "failed": run.failed_items,
        "spent_cents": run.actual_cost_cents,
        "reserved_cents": run.reserved_cost_cents,
        "overrun_cents": run.overrun_cents,
        "cap_cents": run.budget_cap_cents,
        "estimate_cents": run.estimated_cost_cents,
        "created_at": run.created_at,
        "completed_at": run.completed_at,
    }


def whole(run: Run) -> dict[str, Any]:
    """Return every column of a run."""
    row = asdict(run)
    return {"run_id": row.pop("id"), **row}


def follow(org_id: UUID, run_id: UUID, *, as_json: bool) -> None:
    """Print a run's progress and money until it has ended. Raises `typer.Exit` with 1 unless it completed."""
    from app.collection.progress import RunProgress, progress_of
    from app.collection.runs import get_run
    from app.commands.watching import changes_of, show_until_over
    from app.context import Connection, Context

    def look(connection: Connection) -> RunProgress:
        return progress_of(get_run(Context.start(connection, org_id), run_id))

    last = show_until_over(changes_of(run_id, look), lambda progress: progress.line, as_json=as_json)
    if last.status != "completed":
        raise typer.Exit(1)
