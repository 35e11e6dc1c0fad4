"""`events`: follow applied events, show a job's timeline, and print or check the contract with producers."""

from __future__ import annotations

import json
import shutil
import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from app.commands import contracts
from app.commands.output import Json, emit, note
from app.commands.spans import span
from app.errors import InvalidInput

# Imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from app.engine.inspect.tail import Applied, Filters
    from app.engine.inspect.timeline import Entry

app = typer.Typer(no_args_is_help=True, help="Show applied events, a job's timeline and the event schemas.")
app.command()(contracts.schema)
app.command()(contracts.asyncapi)
app.command()(contracts.check)

_LOOK_EVERY_S = 0.5


@app.command()
def tail(
    *,
    type: Annotated[  # noqa: A002 - the option's name
        list[str] | None, typer.Option("--type", help="Only this event type or prefix: 'robot/*'. Repeatable.")
    ] = None,
    tenant: Annotated[UUID | None, typer.Option("--tenant", help="Only of this workspace or organisation.")] = None,
    subject: Annotated[UUID | None, typer.Option("--subject", help="Only about this job or order.")] = None,
    since: Annotated[str, typer.Option("--since", help="Start this far back: 30s, 10m, 2h, 1d.")] = "10s",
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Keep showing new events.")] = True,
    as_json: Json = False,
) -> None:
    """Show events as they are applied, until Ctrl-C.

    Each event is shown once, after its transaction has committed. Times are the starts of transactions, so an event
    of a long transaction may follow events with later times.
    """
    from app import database
    from app.engine.inspect.tail import Tail

    filters, ago = _filters(type, tenant, subject), span("--since", since)
    show = _shower(as_json=as_json)
    with database.connect(autocommit=True) as connection:
        reader = Tail.since(connection, filters, ago)
        while True:
            for found in reader.read():
                show(found)
            if not follow:
                return
            time.sleep(_LOOK_EVERY_S)


@app.command()
def timeline(
    job: Annotated[UUID, typer.Argument(metavar="JOB", help="The id of a job or an order.")],
    *,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=1_000_000, help="Events to show for each of applied, dead and waiting.")
    ] = 1_000,
    as_json: Json = False,
) -> None:
    """Show a job's events in the order of publication, each below its cause.

    States: applied, dead, resolved, waiting, in_hand (being delivered), held (waits for its turn in a sequence).
    """
    from app.commands.scope import as_service
    from app.engine.inspect.timeline import timeline as look

    with as_service() as connection:
        found = look(connection, job, limit)
    emit(found, as_json=as_json, human=[_timeline_line(entry) for entry in found])
    if len(found) >= limit:
        note(f"more events may follow: --limit {limit * 10}")


def _filters(types: list[str] | None, tenant: UUID | None, subject: UUID | None) -> Filters:
    from app.engine.inspect.tail import Filters
    from events import KINDS

    for name in types or []:
        known = [kind for kind in KINDS if kind == name or (name.endswith("*") and kind.startswith(name[:-1]))]
        if not known:
            message = f"--type: unknown event type {name!r}; use one of {', '.join(sorted(KINDS))}"
            raise InvalidInput(message)
    return Filters(types or None, tenant, subject)


def _shower(*, as_json: bool) -> Any:
    """Return a function that prints a list of events: JSON, tab-separated lines, or short lines on a terminal."""
    if as_json:
        return lambda events: emit(events, as_json=True)
    if sys.stdout.isatty():
        return lambda events: emit("\n".join(_short(event) for event in events), as_json=False)
    names = ("applied_at", "type", "event_id", "subject_id", "tenant_id")
    emit("\t".join(names), as_json=False)
    return lambda events: emit("\n".join(_tabbed(event, names) for event in events), as_json=False)


def _tabbed(event: Applied, names: tuple[str, ...]) -> str:
    from app.commands.output import plain

    return "\t".join(str(plain(getattr(event, name)) or "") for name in names)


def _short(event: Applied) -> str:
    data = json.dumps(event.data, ensure_ascii=False)
    # Control characters in tenants' data must not reach the terminal.
    data = "".join(letter if letter.isprintable() else "?" for letter in data)
    line = f"{_moment(event.applied_at)}  {event.type:<24}  {event.subject_id or '-'!s:<36}  {data}"
    return line[: shutil.get_terminal_size().columns]


def _timeline_line(entry: Entry) -> dict[str, Any]:
    known = {"attempt": entry.attempt, "row": entry.row_id, "letter": entry.letter_id}
    about = [f"{name} {value}" for name, value in known.items() if value]
    line = {
        "said": entry.occurred_at,
        "event": "  " * entry.depth + entry.type,
        "state": entry.state,
        "at": entry.at,
        "id": entry.event_id,
        "caused by": entry.caused_by,
        "about": "; ".join([*about, *([entry.why] if entry.why else [])]),
    }
    if not sys.stdout.isatty():
        return line
    # The cause is listed above with its whole id; the last characters are enough here.
    cause = f"…{str(entry.caused_by)[-6:]}" if entry.caused_by else None
    return {**line, "said": _moment(entry.occurred_at), "at": _moment(entry.at), "caused by": cause}


def _moment(at: datetime | None) -> str:
    """Format a time in the local zone, to the millisecond."""
    return "" if at is None else f"{at.astimezone():%m-%d %H:%M:%S.%f}"[:-3]
