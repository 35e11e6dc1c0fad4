"""`messages`: the messages that people have sent, and their jobs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from app.commands import endpoints
from app.commands.output import Json, emit, note
from app.commands.scope import as_service

# Imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from app.messaging.messages import Job

app = typer.Typer(no_args_is_help=True, help="Show messages and their jobs.")
app.add_typer(endpoints.app, name="endpoints")


@app.command(name="list")
def list_(
    *,
    status: Annotated[str | None, typer.Option("--status", help="pending, processing, complete or failed.")] = None,
    content_type: Annotated[
        str | None, typer.Option("--type", help="text, link, image, audio, video, location, contact or unknown.")
    ] = None,
    sender: Annotated[str | None, typer.Option("--from", help="A number in any spelling, or an id.")] = None,
    before: Annotated[UUID | None, typer.Option("--before", help="Last job of the previous page.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="Most jobs, 1 to 1000.")] = 50,
    as_json: Json = False,
) -> None:
    """List the jobs of messages, newest first."""
    from app.messaging.messages import list_messages

    with as_service() as connection:
        found = list_messages(
            connection, status=status, content_type=content_type, sender=sender, before=before, limit=limit
        )
    emit(found, as_json=as_json, human=[_line(job) for job in found])
    if len(found) == limit and not as_json:
        note(f"more jobs may follow: --before {found[-1].id}")


@app.command()
def show(
    message: Annotated[str, typer.Argument(help="The job's id, or the provider's id of the message (MessageSid).")],
    *,
    as_json: Json = False,
) -> None:
    """Show the job of a message, with its content and all names of its sender."""
    from app.messaging.messages import show_message

    with as_service() as connection:
        job, person = show_message(connection, message)
    emit({**asdict(job), "first_name": person.first_name, "aliases": person.aliases}, as_json=as_json)


def _line(job: Job) -> dict[str, Any]:
    names = ("id", "provider_message_id", "user_id", "source_type", "content_type", "status", "created_at")
    return {name: getattr(job, name) for name in names}
