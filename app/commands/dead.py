"""`dead`: inspect, replay, edit and close dead letters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from app.commands import replaying
from app.commands.filters import ErrorClass, Fingerprint, Since, Tenant, Text, Type, Until, filters
from app.commands.output import Json, confirm, emit, note
from app.commands.scope import Actor, Yes, as_service

# Imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from app.engine.dead_letters.letters import DeadLetter

app = typer.Typer(no_args_is_help=True, help="Manage dead letters: events that failed and need an operator.")

Letters = Annotated[list[UUID], typer.Argument(metavar="ID...", help="Ids of dead letters, or of their events.")]
LetterArgument = Annotated[UUID, typer.Argument(metavar="ID", help="The id of a dead letter, or of its event.")]
Note = Annotated[str, typer.Option("--note", help="Reason, for the audit log.")]


@app.command(name="list")
def list_(
    *,
    type: Type = None,  # noqa: A002 - the option's name
    tenant: Tenant = None,
    error_class: ErrorClass = None,
    fingerprint: Fingerprint = None,
    since: Since = None,
    until: Until = None,
    text: Text = None,
    resolved: Annotated[bool, typer.Option("--resolved", help="List resolved letters only.")] = False,
    every: Annotated[bool, typer.Option("--all", help="List resolved and unresolved letters.")] = False,
    group: Annotated[bool, typer.Option("--group", help="Print one line for each failure.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000)] = 100,
    as_json: Json = False,
) -> None:
    """List dead letters, newest first."""
    from app.engine.dead_letters import letters

    only = None if every else resolved
    with as_service() as connection:
        chosen = filters(connection, type, tenant, error_class, fingerprint, since, until, text, only)
        if group:
            emit(letters.group(connection, chosen, limit), as_json=as_json)
            return
        found = letters.select(connection, chosen, limit)
    emit(found, as_json=as_json, human=[_line(letter) for letter in found])
    if len(found) == limit:
        note(f"more letters may follow: --limit {limit * 10}")


@app.command()
def show(letter: LetterArgument, *, as_json: Json = False) -> None:
    """Show a letter: event, error, stack, earlier deaths, and neighbouring events of its job."""
    from app.engine import audit_log
    from app.engine.dead_letters import letters

    with as_service() as connection:
        found = letters.find(connection, letter)
        before, after = letters.neighbours(connection, found)
        done = audit_log.history(connection, found.id)
    if as_json:
        emit({"letter": found, "before": before, "after": after, "actions": done}, as_json=True)
        return
    stack, history = found.error_stack, found.history
    emit(
        {**_line(found), "retry_count": found.retry_count, "replays": found.replay_count, "notes": found.notes},
        as_json=False,
    )
    emit("\nevent", as_json=False)
    emit(found.event_data if isinstance(found.event_data, dict) else {"value": found.event_data}, as_json=False)
    for title, rows in (
        ("deaths before", history),
        ("its job before", before),
        ("its job after", after),
        ("actions", done),
    ):
        if rows:
            emit(f"\n{title}", as_json=False)
            emit(rows, as_json=False)
    if stack:
        emit(f"\nstack\n{stack}", as_json=False)


@app.command()
def stats(*, as_json: Json = False) -> None:
    """Count dead letters by event type and error class."""
    from app.engine.dead_letters import letters

    with as_service() as connection:
        emit(letters.stats(connection), as_json=as_json)


@app.command()
def edit(
    letter: LetterArgument,
    *,
    values: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Repeatable; VALUE is JSON or text.")
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", help="File with the new data, as JSON.")] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Reason, for the audit log.")] = None,
    yes: Yes = False,
    actor: Actor,
    as_json: Json = False,
) -> None:
    """Publish a letter's event with changed data, and resolve the letter. The data must match the schema.

    Opens your editor unless --set or --file is given.
    """
    from app.commands.editing import changed
    from app.context import HandlerContext
    from app.engine.dead_letters import letters, manage

    with as_service() as connection:
        found = letters.find(connection, letter)
        data = changed(manage.current_data(found), values or [], file)
        manage.edited(HandlerContext.begin(connection), found, data)
        connection.commit()
        confirm(f"Publish the edited {found.job_type}?", yes=yes)
        event = manage.edit(connection, found.id, data, reason=reason, actor=actor)
    emit({"letter": found.id, "event_id": event.id, "replaces": found.event_id}, as_json=as_json)


@app.command()
def resolve(
    wanted: Letters,
    *,
    note: Note,
    as_done: Annotated[
        bool, typer.Option("--as-done", help="Record the result of the letter's call, which was made.")
    ] = False,
    data: Annotated[
        str | None, typer.Option("--data", metavar="JSON|@FILE", help="With --as-done: the result, as JSON.")
    ] = None,
    actor: Actor,
    as_json: Json = False,
) -> None:
    """Close letters whose work was done in another way.

    With --as-done, publish the effect's result event with --data, as if the call had returned it.
    """
    from app.engine.dead_letters import manage

    if as_done or data is not None:
        from app.commands.editing import result_of
        from app.engine.dead_letters import as_done as engine

        result = result_of(wanted, data, as_done=as_done)
        with as_service() as connection:
            event = engine.resolve_as_done(connection, wanted[0], result, note=note, actor=actor)
        emit([{"letter": wanted[0], "resolved": True, "event_id": event.id}], as_json=as_json)
        return
    with as_service() as connection:
        closed = manage.resolve(connection, wanted, note=note, actor=actor)
    emit([{"letter": one.id, "resolved": True} for one in closed], as_json=as_json)


@app.command()
def discard(wanted: Letters, *, note: Note, yes: Yes = False, actor: Actor, as_json: Json = False) -> None:
    """Close letters without doing their work. Items that wait for them fail as discarded.

    Collection runs: a page that may be charged is asked about first, and its charge is booked.
    """
    from app.engine.dead_letters import endings, letters, manage

    with as_service() as connection:
        waiting = endings.waiting(connection, [letters.find(connection, one) for one in wanted])
    meaning = f" {len(waiting)} of them are requests: their items fail as discarded." if waiting else ""
    confirm(f"Discard {len(wanted)} dead letters?{meaning}", yes=yes)
    with as_service() as connection:
        closed = manage.discard(connection, wanted, note=note, actor=actor)
    emit([{"letter": one.id, "discarded": True} for one in closed], as_json=as_json)


@app.command(name="note")
def note_(
    letter: LetterArgument,
    text: Annotated[str, typer.Argument(help="Text of the note.")],
    *,
    actor: Actor,
    as_json: Json = False,
) -> None:
    """Add a note to a letter."""
    from app.engine.dead_letters import manage

    with as_service() as connection:
        found = manage.annotate(connection, letter, note=text, actor=actor)
    emit({"letter": found.id, "notes": found.notes}, as_json=as_json)


@app.command()
def history(
    subject: Annotated[UUID | None, typer.Argument(help="Only actions on this letter or plan.")] = None,
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000)] = 100,
    as_json: Json = False,
) -> None:
    """Show the audit log: actor, action, time and reason, newest first."""
    from app.engine import audit_log

    with as_service() as connection:
        emit(audit_log.history(connection, subject, limit), as_json=as_json)


app.command()(replaying.plan)
app.command(name="plans")(replaying.list_plans)
app.command()(replaying.replay)


def _line(letter: DeadLetter) -> dict[str, Any]:
    names = (
        "id",
        "job_type",
        "event_id",
        "tenant_id",
        "failed_at",
        "error_class",
        "error_message",
        "fingerprint",
        "resolved_at",
    )
    return {name: getattr(letter, name) for name in names}
