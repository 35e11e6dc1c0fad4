"""`runs`: collect products and sellers from paid marketplaces under a budget."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated
from uuid import UUID

import typer

from app.commands.output import Json, confirm, emit, note
from app.commands.run_views import follow, line, whole
from app.commands.scope import Actor, OrgOption, Yes, within_org

app = typer.Typer(no_args_is_help=True, help="Manage collection runs: products and sellers under a budget.")

_RunArgument = Annotated[UUID, typer.Argument(metavar="RUN", help="The run's id.")]
_Watch = Annotated[bool, typer.Option("--watch", help="Show the progress until the run has ended.")]
_Reason = Annotated[str | None, typer.Option("--reason", help="Reason, for the audit log.")]


@app.command()
def create(
    *,
    marketplace: Annotated[str, typer.Option("--marketplace", help="The marketplace, e.g. amazon.de.")],
    category: Annotated[
        list[str],
        typer.Option(
            "--category",
            metavar="ID[:PAGES@CENTS]",
            help="Category; repeatable. Without PAGES@CENTS the marketplace is asked for pages and price.",
        ),
    ],
    name: Annotated[str | None, typer.Option("--name", help="Default: the date and the categories.")] = None,
    cap: Annotated[
        int | None, typer.Option("--cap", metavar="CENTS", help="The run's own cap; default: the organisation's.")
    ] = None,
    over_cap: Annotated[
        bool, typer.Option("--over-cap", help="Accept an estimate above the cap; the run pauses at the cap.")
    ] = False,
    skip: Annotated[
        list[str] | None, typer.Option("--skip", help="Id of an item or name of a seller to skip; repeatable.")
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option("--idempotency-key", help="Refuse the request if a run has this key.")
    ] = None,
    user: Annotated[
        str | None, typer.Option("--user", help="E-mail address or id of the member who creates the run.")
    ] = None,
    watch: _Watch = False,
    org: OrgOption = None,
    as_json: Json = False,
) -> None:
    """Create a run. It starts when fewer runs of the organisation are running than allowed.

    Exit code 2 if a run has the idempotency key; the error names the run.
    """
    from app.collection.runs import create_run
    from app.commands.run_plans import plan_of
    from app.tenancy.orgs import find_member

    plan = plan_of(org, marketplace, category)
    with within_org(org) as context:
        run = create_run(
            context,
            marketplace=marketplace,
            categories=plan,
            created_by=find_member(context.connection, context.tenant_id, user).user_id,
            name=name,
            cap_cents=cap,
            allow_over_cap=over_cap,
            unwanted=skip or (),
            idempotency_key=idempotency_key,
        )
    emit(line(run), as_json=as_json)
    if watch:
        follow(run.org_id, run.id, as_json=as_json)


@app.command(name="list")
def list_(
    *,
    status: Annotated[str | None, typer.Option("--status", help="Only runs with this status.")] = None,
    before: Annotated[UUID | None, typer.Option("--before", help="Continue after the run with this id.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="Runs to list, at most 1000.")] = 50,
    org: OrgOption = None,
    as_json: Json = False,
) -> None:
    """List runs, newest first."""
    from app.collection.runs import list_runs

    with within_org(org) as context:
        found = list_runs(context, status=status, before=before, limit=limit)
    emit([line(run) for run in found], as_json=as_json)
    if len(found) == limit:
        note(f"more runs may follow: --before {found[-1].id}")


@app.command()
def show(run: _RunArgument, *, org: OrgOption = None, as_json: Json = False) -> None:
    """Show a run: its money, its checkpoint and the number of its items by status and error."""
    from app.collection.found import count_items
    from app.collection.progress import progress_of
    from app.collection.runs import get_run

    with within_org(org) as context:
        found = get_run(context, run)
        counts = count_items(context, run)
    if as_json:
        emit({**whole(found), **asdict(progress_of(found)), "items": counts}, as_json=True)
        return
    emit(line(found), as_json=False)
    emit(progress_of(found).line, as_json=False)
    emit(
        [
            {"category": category, **one, **found.checkpoint.get(category, {"pages": 0, "done": False})}
            for category, one in ((name, {"expected": plan["pages"]}) for name, plan in found.estimate.items())
        ],
        as_json=False,
    )
    emit(counts, as_json=False)


@app.command()
def items(
    run: _RunArgument,
    *,
    status: Annotated[str | None, typer.Option("--status", help="Only items with this status.")] = None,
    after: Annotated[UUID | None, typer.Option("--after", help="Continue after the item with this id.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="Items to list, at most 1000.")] = 50,
    org: OrgOption = None,
    as_json: Json = False,
) -> None:
    """List the items of a run."""
    from app.collection.found import list_items
    from app.collection.runs import get_run

    with within_org(org) as context:
        get_run(context, run)
        found = list_items(context, run, status=status, after=after, limit=limit)
    human = [
        {
            "id": one.id,
            "marketplace": one.marketplace,
            "type": one.item_type,
            "external id": one.external_id,
            "status": one.status,
            "reason": one.error_code,
            "cents": one.cost_cents,
        }
        for one in found
    ]
    emit(found, as_json=as_json, human=human)
    if len(found) == limit:
        note(f"more items may follow: --after {found[-1].id}")


@app.command()
def watch(run: _RunArgument, *, org: OrgOption = None, as_json: Json = False) -> None:
    """Show a run's progress and money until it has ended. Exit code 1 if the run failed or was cancelled."""
    with within_org(org) as context:
        org_id = context.tenant_id
    follow(org_id, run, as_json=as_json)


@app.command()
def pause(
    run: _RunArgument, *, reason: _Reason = None, actor: Actor, org: OrgOption = None, as_json: Json = False
) -> None:
    """Pause a run at the next page. Calls that have begun are finished and booked."""
    from app.collection.runs import pause_run

    with within_org(org) as context:
        done = pause_run(context, run, actor=actor, reason=reason)
    emit(line(done), as_json=as_json)


@app.command()
def resume(
    run: _RunArgument,
    *,
    reason: _Reason = None,
    watch: _Watch = False,
    actor: Actor,
    org: OrgOption = None,
    as_json: Json = False,
) -> None:
    """Resume a paused run from its checkpoint, with the cap that it has."""
    from app.collection.runs import resume_run

    with within_org(org) as context:
        done = resume_run(context, run, actor=actor, reason=reason)
    emit(line(done), as_json=as_json)
    if watch:
        follow(done.org_id, run, as_json=as_json)


@app.command()
def cancel(
    run: _RunArgument,
    *,
    reason: _Reason = None,
    yes: Yes = False,
    actor: Actor,
    org: OrgOption = None,
    as_json: Json = False,
) -> None:
    """Cancel a run: no further call begins, and the items so far are kept."""
    from app.collection.runs import cancel_run

    confirm(f"Cancel run {run}?", yes=yes)
    with within_org(org) as context:
        done = cancel_run(context, run, actor=actor, reason=reason)
    emit(line(done), as_json=as_json)
