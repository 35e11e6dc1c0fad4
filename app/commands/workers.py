"""`workers`: list registered workers, their heartbeats and current deliveries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from app.commands.output import Json, emit, note
from app.commands.scope import as_service

# Imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from app.engine.queue.workers import Worker

app = typer.Typer(no_args_is_help=True, help="Show the registered workers.")


@app.callback()
def _several() -> None:
    """Make Typer treat the app as a group although it has one command."""


@app.command(name="list")
def list_(*, as_json: Json = False) -> None:
    """List workers with the age of their heartbeats and their current deliveries.

    A stale worker's heartbeat is too old: the worker counts as dead, and other workers rescue its deliveries.
    """
    from app.engine.queue.workers import list_workers

    with as_service() as connection:
        found = list_workers(connection)
    emit([_document(one) for one in found], as_json=as_json, human=[_line(one) for one in found])
    if stale := [one for one in found if one.is_stale]:
        note(f"stale: {', '.join(one.label for one in stale)}")


def _document(one: Worker) -> dict[str, Any]:
    return {**_about(one), "is_stale": one.is_stale, "is_known": one.is_known, "in_hand": one.in_hand}


def _line(one: Worker) -> dict[str, Any]:
    hands = ", ".join(f"{row.task_name} {row.row_id} of {row.queue_name}" for row in one.in_hand)
    return {
        **_about(one),
        "queues": "all" if one.is_known and one.queues is None else ", ".join(one.queues or ["unknown"]),
        "state": "stale" if one.is_stale else "alive",
        "in_hand": hands,
    }


def _about(one: Worker) -> dict[str, Any]:
    names = ("worker_id", "name", "host", "pid", "queues", "version", "started_at")
    return {
        **{name: getattr(one, name) for name in names},
        "heartbeat_age_s": round(one.heartbeat_age.total_seconds(), 1),
    }
