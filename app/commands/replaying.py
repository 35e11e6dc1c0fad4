"""`dead plan`, `dead plans` and `dead replay`: plan a replay, list plans, and replay letters at a limited rate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from app.commands.filters import ErrorClass, Fingerprint, Since, Tenant, Text, Type, Until, filters
from app.commands.output import Json, confirm, emit, emit_with_rows, note
from app.commands.scope import Actor, Yes, as_service
from app.errors import InvalidInput, NotFound

# Imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from app.context import Connection
    from app.engine.dead_letters.awaited import Progress
    from app.engine.dead_letters.plan import Plan

NOT_IN_TIME = 3
"""Exit code if --wait ran out before every letter had an outcome."""

_MOST_LINES = 20
"""Lines of a plan that are printed, unless as JSON."""


def plan(
    stored: Annotated[
        UUID | None, typer.Argument(metavar="[PLAN]", help="Show this plan instead of making one.")
    ] = None,
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
    """Make a replay plan: a fixed set of letters with the effect of each replay. Replays nothing.

    With a plan's id: show the plan and the outcomes of its letters.
    """
    from app.engine.dead_letters import plan as plans
    from app.engine.dead_letters.letters import Filters

    with as_service() as connection:
        chosen = filters(connection, type, tenant, error_class, fingerprint, since, until, text, resolved=False)
        connection.commit()
        if stored is None:
            made = plans.make(connection, chosen, actor=actor)
        elif chosen != Filters():
            raise InvalidInput("plan: filters do not apply to an existing plan; leave out its id or the filters")
        else:
            made = plans.find(connection, stored)
        _show_plan(connection, made, as_json=as_json)


def list_plans(
    *,
    every: Annotated[bool, typer.Option("--all", help="Include finished and expired plans.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000)] = 100,
    as_json: Json = False,
) -> None:
    """List open plans, newest first, with their letters to replay and letters without an outcome."""
    from app.engine.dead_letters import plan_list

    shown = 0
    with as_service() as connection:
        for page in plan_list.pages(connection, every=every, limit=limit):
            emit(page, as_json=as_json)
            shown += len(page)
    if shown == limit:
        note(f"more plans may follow: --limit {limit * 10}")


def replay(
    wanted: Annotated[list[UUID], typer.Argument(metavar="PLAN|ID...", help="Id of a plan, or ids of letters.")],
    *,
    rate: Annotated[float | None, typer.Option("--rate", help="Letters a second, at most.")] = None,
    canary: Annotated[int | None, typer.Option("--canary", help="Letters to replay first; stop if one fails.")] = None,
    stop_at: Annotated[float | None, typer.Option("--stop-at", help="Stop above this percentage of failures.")] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Reason; required for several letters.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Repeat calls in doubt that cannot be queried.")] = False,
    wait: Annotated[
        float | None,
        typer.Option("--wait", metavar="SECONDS", help="Longest wait for outcomes; 0: do not wait."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the plan; replay nothing.")] = False,
    yes: Yes = False,
    actor: Actor,
    as_json: Json = False,
) -> None:
    """Replay a plan or letters and wait for the outcomes. Ctrl-C stops; repeat the command to continue.

    Exit code 1 if a letter died again or the replay stopped at a limit; 3 if --wait ran out before all outcomes.
    --wait counts from the last letter put into the queue. Without --wait there is no limit.
    """
    from app.engine.dead_letters import awaited
    from app.engine.dead_letters import replay as engine
    from app.engine.dead_letters.forecast import REPLAYED

    pace = engine.Pace(rate, canary, stop_at, again, wait)
    pace.check()
    with as_service() as connection:
        made = _plan_of(connection, wanted, actor)
        engine.check_fresh(connection, made)
        begun = awaited.count(connection, made.id, REPLAYED)
        open_ = begun.total - begun.replayed
        connection.commit()
        if dry_run or not (open_ or begun.waiting):
            _show_plan(connection, made, as_json=as_json)
            if not open_:
                note("there is nothing to replay")
            return
        engine.check_reason(pace, open_, reason)
        confirm(f"Replay {open_} dead letters?", yes=yes or not open_)
        with _going_on(made), _bar(as_json=as_json) as step:
            done = engine.run(connection, made, pace, actor=actor, reason=reason, show=step, tell=note)
    summary = {
        "plan": made.id,
        "total": done.total,
        "replayed": done.replayed,
        **_outcomes(done),
        "waiting": done.waiting,
        "stopped": done.stopped,
    }
    emit(summary, as_json=as_json)
    if done.outcomes["skipped"]:
        note(f"{done.outcomes['skipped']} letters were skipped: `dead plan` shows why")
    if done.timed_out:
        note(f"not finished in time: {done.waiting} letters are in the queue; {_go_on(made)}")
    if done.stopped or done.outcomes["dead"]:
        raise typer.Exit(1)
    if done.timed_out:
        raise typer.Exit(NOT_IN_TIME)


@contextmanager
def _going_on(made: Plan) -> Iterator[None]:
    """Print how to continue an interrupted replay: a user who named letters has not seen the plan's id."""
    try:
        yield
    except KeyboardInterrupt:
        note(f"interrupted: {_go_on(made)}")
        raise


def _go_on(made: Plan) -> str:
    return f"`dead replay {made.id}` continues"


def _plan_of(connection: Connection, wanted: list[UUID], actor: str) -> Plan:
    """Return the named plan, or a new plan for the named letters."""
    from app.engine.dead_letters import letters
    from app.engine.dead_letters import plan as plans
    from app.engine.dead_letters.letters import Filters

    if len(wanted) == 1:
        try:
            return plans.find(connection, wanted[0])
        except NotFound:
            connection.commit()
    found = [letters.find(connection, one).id for one in wanted]
    connection.commit()
    return plans.make(connection, Filters(ids=found), actor=actor)


def _show_plan(connection: Connection, made: Plan, *, as_json: bool) -> None:
    from app.engine.dead_letters import plan as plans

    classes = plans.classes(connection, made.id)
    if as_json:
        document = {"plan": made, "classes": classes}
        emit_with_rows(document, "letters", plans.each_letter(connection, made.id))
        return
    lines = plans.summary(connection, made.id, _MOST_LINES + 1)
    emit(
        [
            {"class": one.class_, "letters": one.letters, "outcome": one.outcome, "detail": one.detail}
            for one in lines[:_MOST_LINES]
        ],
        as_json=False,
    )
    if len(lines) > _MOST_LINES:
        note(f"only the {_MOST_LINES} most frequent lines are shown; --json prints every letter")
    changes = f"{made.items_to_change} items and the counters of {made.counters_to_change} jobs"
    count = sum(classes.values())
    emit(f"plan {made.id}: {count} letters; as it was made, a replay would change {changes}", as_json=False)


def _bar(*, as_json: bool) -> Any:
    from app.commands.editing import replay_bar

    return replay_bar(as_json=as_json)


def _outcomes(done: Progress) -> dict[str, int]:
    return {name: done.outcomes[name] for name in ("applied", "dead", "skipped")}
