"""`dead`: what died and why, what a replay would do, and doing it at a pace."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from app.commands.output import Json, confirm, emit, note
from app.commands.scope import Actor
from app.commands.spans import span
from app.errors import InvalidInput, NotFound

# Imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from app.context import Connection
    from app.engine.letters import DeadLetter, Filters
    from app.engine.plans import Plan
    from app.engine.replay import Progress

app = typer.Typer(no_args_is_help=True, help="Dead letters: events that wait for an admin.")

Type = Annotated[str | None, typer.Option("--type", help="Only of this event type.")]
Tenant = Annotated[UUID | None, typer.Option("--tenant", help="Only of this workspace or organisation.")]
ErrorClass = Annotated[str | None, typer.Option("--error-class", help="Only with this class of error.")]
Fingerprint = Annotated[str | None, typer.Option("--fingerprint", help="Only this failure, as `dead list --group`.")]
Since = Annotated[str | None, typer.Option("--since", help="Died since: 2h, 30m, 7d or an ISO time.")]
Until = Annotated[str | None, typer.Option("--until", help="Died before: 2h, 30m, 7d or an ISO time.")]
Text = Annotated[str | None, typer.Option("--text", help="Whose error or event contains this.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Letters = Annotated[list[UUID], typer.Argument(metavar="ID...", help="Ids of dead letters, or of their events.")]
LetterArgument = Annotated[UUID, typer.Argument(metavar="ID", help="The id of a dead letter, or of its event.")]
Note = Annotated[str, typer.Option("--note", help="Why, for the record.")]


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
    resolved: Annotated[bool, typer.Option("--resolved", help="Those that are resolved.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Resolved or not.")] = False,
    group: Annotated[bool, typer.Option("--group", help="One line for each failure.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000)] = 100,
    as_json: Json = False,
) -> None:
    """List dead letters, the newest first."""
    from app.engine import letters

    filters = _filters(type, tenant, error_class, fingerprint, since, until, text, None if every else resolved)
    with _connected() as connection:
        if group:
            emit(letters.group(connection, filters, limit), as_json=as_json)
            return
        found = letters.select(connection, filters, limit)
    emit(found, as_json=as_json, human=[_line(letter) for letter in found])
    if len(found) == limit:
        note(f"there may be more: --limit {limit * 10}")


@app.command()
def show(letter: LetterArgument, *, as_json: Json = False) -> None:
    """Show a letter: its event, its error and stack, its deaths before, and its job's events around it."""
    from app.engine import actions, letters

    with _connected() as connection:
        found = letters.find(connection, letter)
        before, after = letters.neighbours(connection, found)
        done = actions.history(connection, found.id)
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
    """Count dead letters by type and class of error."""
    from app.engine import letters

    with _connected() as connection:
        emit(letters.stats(connection), as_json=as_json)


@app.command()
def plan(
    *,
    type: Type = None,  # noqa: A002 - the option's name
    tenant: Tenant = None,
    error_class: ErrorClass = None,
    fingerprint: Fingerprint = None,
    since: Since = None,
    until: Until = None,
    text: Text = None,
    actor: Actor,
    as_json: Json = False,
) -> None:
    """Freeze a set of letters and say what a replay of each would do; changes nothing."""
    from app.engine import plans

    filters = _filters(type, tenant, error_class, fingerprint, since, until, text, resolved=False)
    with _connected() as connection:
        made = plans.make(connection, filters, actor=actor)
        _show_plan(connection, made, as_json=as_json)


@app.command()
def replay(
    wanted: Annotated[list[UUID], typer.Argument(metavar="PLAN|ID...", help="A plan's id, or letters' ids.")],
    *,
    rate: Annotated[float | None, typer.Option("--rate", help="At most so many letters a second.")] = None,
    canary: Annotated[int | None, typer.Option("--canary", help="So many first; go on only if they applied.")] = None,
    stop_at: Annotated[float | None, typer.Option("--stop-at", help="Stop past this percentage of failures.")] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why, for the record; needed for several.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    yes: Yes = False,
    actor: Actor,
    as_json: Json = False,
) -> None:
    """Replay a plan, or letters, and wait for what comes of it. Ctrl-C stops; the same command goes on.

    Exit code 1 if a letter died again, or the replay stopped for it.
    """
    from app.engine import plans
    from app.engine import replay as engine
    from app.engine.plans import REPLAYED

    pace = engine.Pace(rate, canary, stop_at)
    pace.check()
    with _connected() as connection:
        made = _plan_of(connection, wanted, actor)
        engine.check_fresh(connection, made)
        open_ = [one for one in plans.letters(connection, made.id) if one.class_ in REPLAYED and not one.replayed_at]
        unfinished = [one for one in plans.letters(connection, made.id) if one.replayed_at and not one.outcome]
        connection.commit()
        if dry_run or not (open_ or unfinished):
            _show_plan(connection, made, as_json=as_json)
            if not open_:
                note("there is nothing to replay")
            return
        if len(open_) > 1 and not reason:
            raise InvalidInput("reason: say why with --reason when more than one letter is replayed")
        confirm(f"Replay {len(open_)} dead letters?", yes=yes)
        with _bar(as_json=as_json) as step:
            done = engine.run(connection, made, pace, actor=actor, reason=reason, show=step)
    summary = {
        "plan": made.id,
        "total": done.total,
        "replayed": done.replayed,
        **_outcomes(done),
        "stopped": done.stopped,
    }
    emit(summary, as_json=as_json)
    if done.stopped or done.outcomes["dead"]:
        raise typer.Exit(1)


@app.command()
def edit(
    letter: LetterArgument,
    *,
    values: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Repeatable; VALUE is JSON or text.")
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", help="The whole new data, as JSON.")] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why, for the record.")] = None,
    yes: Yes = False,
    actor: Actor,
    as_json: Json = False,
) -> None:
    """Publish a letter's event with other data, checked against its schema; the letter is resolved.

    Without --set and --file it opens your editor.
    """
    from app.commands.editing import changed
    from app.context import Moment
    from app.engine import letters

    with _connected() as connection:
        found = letters.find(connection, letter)
        data = changed(letters.current_data(found), values or [], file)
        letters.edited(Moment.begin(connection), found, data)
        connection.commit()
        confirm(f"Publish the edited {found.job_type}?", yes=yes)
        event = letters.edit(connection, found.id, data, reason=reason, actor=actor)
    emit({"letter": found.id, "event_id": event.id, "replaces": found.event_id}, as_json=as_json)


@app.command()
def resolve(wanted: Letters, *, note: Note, actor: Actor, as_json: Json = False) -> None:
    """Close letters by hand: what they were about was seen to in another way."""
    from app.engine import letters

    with _connected() as connection:
        closed = letters.resolve(connection, wanted, note=note, actor=actor)
    emit([{"letter": one.id, "resolved": True} for one in closed], as_json=as_json)


@app.command()
def discard(wanted: Letters, *, note: Note, yes: Yes = False, actor: Actor, as_json: Json = False) -> None:
    """Close letters because nothing is ever to be done about them."""
    from app.engine import letters

    confirm(f"Discard {len(wanted)} dead letters?", yes=yes)
    with _connected() as connection:
        closed = letters.discard(connection, wanted, note=note, actor=actor)
    emit([{"letter": one.id, "discarded": True} for one in closed], as_json=as_json)


@app.command(name="note")
def note_(
    letter: LetterArgument,
    text: Annotated[str, typer.Argument(help="What is to be remembered.")],
    *,
    actor: Actor,
    as_json: Json = False,
) -> None:
    """Add a note to a letter."""
    from app.engine import letters

    with _connected() as connection:
        found = letters.annotate(connection, letter, note=text, actor=actor)
    emit({"letter": found.id, "notes": found.notes}, as_json=as_json)


@app.command()
def history(
    subject: Annotated[UUID | None, typer.Argument(help="Only of this letter or plan.")] = None,
    *,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000)] = 100,
    as_json: Json = False,
) -> None:
    """Show who did what, when and why, the newest first."""
    from app.engine import actions

    with _connected() as connection:
        emit(actions.history(connection, subject, limit), as_json=as_json)


def _connected() -> Connection:
    from app import database

    return database.connect()


def _filters(  # noqa: PLR0917 - the options of two commands, in one order
    type_: str | None,
    tenant: UUID | None,
    error_class: str | None,
    fingerprint: str | None,
    since: str | None,
    until: str | None,
    text: str | None,
    resolved: bool | None,  # noqa: FBT001 - one of the filters
) -> Filters:
    from app.engine.letters import Filters

    began, ended = _instant("since", since), _instant("until", until)
    return Filters(type_, tenant, error_class, fingerprint, began, ended, text, resolved)


def _instant(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        return datetime.now().astimezone() - span(f"--{name}", text)


def _plan_of(connection: Connection, wanted: list[UUID], actor: str) -> Plan:
    """The plan that is named, or a new one for the letters that are."""
    from app.engine import letters, plans
    from app.engine.letters import Filters

    if len(wanted) == 1:
        try:
            return plans.find(connection, wanted[0])
        except NotFound:
            connection.commit()
    found = [letters.find(connection, one).id for one in wanted]
    connection.commit()
    return plans.make(connection, Filters(ids=found), actor=actor)


def _show_plan(connection: Connection, made: Plan, *, as_json: bool) -> None:
    from app.engine import plans

    found = plans.letters(connection, made.id)
    classes = Counter(one.class_ for one in found)
    if as_json:
        emit({"plan": made, "classes": classes, "letters": found}, as_json=True)
        return
    lines = Counter(
        (one.class_, one.outcome or ("waiting" if one.replayed_at else ""), one.detail or "") for one in found
    )
    emit(
        [
            {"class": name, "letters": count, "outcome": outcome, "detail": detail}
            for (name, outcome, detail), count in lines.most_common(20)
        ],
        as_json=False,
    )
    changes = f"{made.items_to_change} items and the counters of {made.counters_to_change} jobs"
    emit(f"plan {made.id}: {len(found)} letters; as it was made, a replay would change {changes}", as_json=False)


def _bar(*, as_json: bool) -> Any:
    from app.commands.editing import replay_bar

    return replay_bar(as_json=as_json)


def _outcomes(done: Progress) -> dict[str, int]:
    return {name: done.outcomes[name] for name in ("applied", "dead", "skipped")}


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
