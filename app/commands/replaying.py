"""`dead plan` and `dead replay`: what a replay would do, and doing it at a pace."""

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
"""The exit code of a replay whose --wait was over before every letter had an outcome."""

_MOST_LINES = 20
"""Lines of a plan that are shown to people."""


def plan(
    stored: Annotated[UUID | None, typer.Argument(metavar="[PLAN]", help="Show this plan; makes no new one.")] = None,
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
    """Freeze a set of letters and say what a replay of each would do; changes nothing.

    With the id of a plan: show it, and what has come of its letters.
    """
    from app.engine.dead_letters import plan as plans
    from app.engine.dead_letters.letters import Filters

    with as_service() as connection:
        chosen = filters(connection, type, tenant, error_class, fingerprint, since, until, text, resolved=False)
        connection.commit()
        if stored is None:
            made = plans.make(connection, chosen, actor=actor)
        elif chosen != Filters():
            raise InvalidInput("plan: a plan that is made takes no filters; leave out its id or the filters")
        else:
            made = plans.find(connection, stored)
        _show_plan(connection, made, as_json=as_json)


def list_plans(
    *,
    every: Annotated[bool, typer.Option("--all", help="Finished and expired ones too.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000)] = 100,
    as_json: Json = False,
) -> None:
    """List the plans that are open, the newest first: letters still to replay, and letters without an outcome."""
    from app.engine.dead_letters import plan_list

    shown = 0
    with as_service() as connection:
        for page in plan_list.pages(connection, every=every, limit=limit):
            emit(page, as_json=as_json)
            shown += len(page)
    if shown == limit:
        note(f"there may be more: --limit {limit * 10}")


def replay(
    wanted: Annotated[list[UUID], typer.Argument(metavar="PLAN|ID...", help="A plan's id, or letters' ids.")],
    *,
    rate: Annotated[float | None, typer.Option("--rate", help="At most so many letters a second.")] = None,
    canary: Annotated[int | None, typer.Option("--canary", help="So many first; go on only if they applied.")] = None,
    stop_at: Annotated[float | None, typer.Option("--stop-at", help="Stop past this percentage of failures.")] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why, for the record; needed for several.")] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Make calls again that may have been made and cannot be asked about.")
    ] = False,
    wait: Annotated[
        float | None,
        typer.Option("--wait", metavar="SECONDS", help="Wait at most so long for outcomes; 0: do not wait."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    yes: Yes = False,
    actor: Actor,
    as_json: Json = False,
) -> None:
    """Replay a plan, or letters, and wait for what comes of it. Ctrl-C stops; the same command goes on.

    Exit code 1 if a letter died again, or the replay stopped for it; 3 if some had no outcome when --wait was over.
    The time to wait counts from when letters were last put into the queue; without it, it waits as long as it takes.
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
        if again and not reason:
            raise InvalidInput("reason: say with --reason why calls that may have been made are made again")
        if open_ > 1 and not reason:
            raise InvalidInput("reason: say why with --reason when more than one letter is replayed")
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
        note(f"{done.outcomes['skipped']} letters were skipped: `dead plan` says why")
    if done.timed_out:
        note(f"not finished in time: {done.waiting} letters are in the queue; {_go_on(made)}")
    if done.stopped or done.outcomes["dead"]:
        raise typer.Exit(1)
    if done.timed_out:
        raise typer.Exit(NOT_IN_TIME)


@contextmanager
def _going_on(made: Plan) -> Iterator[None]:
    """Say how an interrupted replay goes on: a user who named letters does not know the plan."""
    try:
        yield
    except KeyboardInterrupt:
        note(f"interrupted: {_go_on(made)}")
        raise


def _go_on(made: Plan) -> str:
    return f"`dead replay {made.id}` goes on"


def _plan_of(connection: Connection, wanted: list[UUID], actor: str) -> Plan:
    """The plan that is named, or a new one for the letters that are."""
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
        note(f"only the {_MOST_LINES} most frequent lines are shown: --json gives every letter")
    changes = f"{made.items_to_change} items and the counters of {made.counters_to_change} jobs"
    count = sum(classes.values())
    emit(f"plan {made.id}: {count} letters; as it was made, a replay would change {changes}", as_json=False)


def _bar(*, as_json: bool) -> Any:
    from app.commands.editing import replay_bar

    return replay_bar(as_json=as_json)


def _outcomes(done: Progress) -> dict[str, int]:
    return {name: done.outcomes[name] for name in ("applied", "dead", "skipped")}
