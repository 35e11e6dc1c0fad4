"""`settings`: the limits of an organisation's collection runs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from app.commands.output import Json, emit, note
from app.commands.scope import Actor, OrgOption, within_org

app = typer.Typer(no_args_is_help=True, help="Show and set the limits of an organisation's collection runs.")


@app.command()
def show(*, org: OrgOption = None, as_json: Json = False) -> None:
    """Show the settings; the defaults if nothing is set."""
    from app.collection.settings import get_settings

    with within_org(org) as context:
        found = get_settings(context)
    emit(found, as_json=as_json)


@app.command(name="set")
def set_(
    *,
    cap: Annotated[int | None, typer.Option("--cap", metavar="CENTS", help="Cap of a run without its own cap.")] = None,
    warn_at: Annotated[
        int | None, typer.Option("--warn-at", metavar="PERCENT", help="Percentage of the cap for the soft warning.")
    ] = None,
    max_runs: Annotated[int | None, typer.Option("--max-runs", help="Most running runs at once.")] = None,
    actor: Actor,
    org: OrgOption = None,
    as_json: Json = False,
) -> None:
    """Change settings. A lower cap pauses runs that spent more; a higher one wakes runs that were paused for it.

    A run with its own cap keeps it.
    """
    from app.collection.settings import set_settings

    with within_org(org) as context:
        done = set_settings(
            context, actor=actor, budget_cap_cents=cap, soft_warning_percent=warn_at, max_concurrent_runs=max_runs
        )
    emit({**asdict(done.settings), "paused": done.paused, "woken": done.woken}, as_json=as_json, human=done.settings)
    for what, ids in (("paused", done.paused), ("woken", done.woken)) if not as_json else ():
        if ids:
            note(f"{what}: {', '.join(str(one) for one in ids)}")
