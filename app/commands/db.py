"""`db`: manage the embedded server, and the schema of the embedded or an external server."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from app.commands.output import Json, confirm, emit
from app.errors import InvalidInput

app = typer.Typer(no_args_is_help=True, help="Manage the database: server and schema.")


@app.command()
def start(*, as_json: Json = False) -> None:
    """Start the embedded server. Creates it on the first call."""
    from app.postgres import embedded

    _refuse_other_server("start")
    server = embedded.ensure_running()
    found = embedded.status()
    emit(
        {"running": True, "pid": found.pid, "url": server.service_url, "data_directory": found.data_directory},
        as_json=as_json,
    )


@app.command()
def stop(*, as_json: Json = False) -> None:
    """Stop the embedded server. Committed data is kept."""
    from app.postgres import embedded

    stopped = embedded.stop()
    emit({"stopped": stopped}, as_json=as_json, human="stopped" if stopped else "it was not running")


@app.command()
def status(*, as_json: Json = False) -> None:
    """Show the server's state and its pending migrations."""
    from app.postgres import embedded

    if _other_server():
        server: dict[str, Any] = {"server": "external", "running": True}
    else:
        server = {"server": "embedded", **asdict(embedded.status())}
    schema = _schema() if server["running"] else {}
    emit({**server, **schema}, as_json=as_json, human={**server, **_summary(schema)})


@app.command()
def migrate(*, as_json: Json = False) -> None:
    """Apply pending migrations, Procrastinate's included, and register this program's event types."""
    from app.engine import event_types
    from app.schema import migrate as runner
    from app.wiring import sources

    names = runner.migrate(sources=sources())
    types = event_types.deploy()
    human = "\n".join([*names, *(f"event type {name}" for name in types)])
    emit({"applied": names, "event_types": types}, as_json=as_json, human=human or "the schema is up to date")


@app.command()
def url(
    *,
    owner: Annotated[bool, typer.Option("--owner", help="Print the owner's URL, for migrations.")] = False,
    as_json: Json = False,
) -> None:
    """Print the connection URL for workers and producers. Starts the embedded server if it is used."""
    from app import database

    address = database.owner_url() if owner else database.url()
    emit({"url": address}, as_json=as_json, human=address)


@app.command()
def reset(
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: Json = False,
) -> None:
    """Delete the embedded server and all its data."""
    from app.postgres import embedded

    _refuse_other_server("reset")
    confirm(f"Delete everything in {embedded.status().data_directory}?", yes=yes)
    deleted = embedded.reset()
    emit({"deleted": deleted}, as_json=as_json, human="deleted" if deleted else "there was nothing to delete")


def _other_server() -> bool:
    from app.settings import settings

    return settings().database_url is not None


def _refuse_other_server(verb: str) -> None:
    if _other_server():
        message = f"DATABASE_URL is set: `db {verb}` manages only the embedded server; unset it"
        raise InvalidInput(message)


def _schema() -> dict[str, tuple[str, ...]]:
    from app.schema import migrate as runner
    from app.wiring import sources

    return asdict(runner.status(sources=sources()))


def _summary(schema: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """Return a text for each state: the number of applied files, the names of all others."""
    return {
        state: f"{len(names)} files" if state == "applied" else ", ".join(names) or "none"
        for state, names in schema.items()
    }
