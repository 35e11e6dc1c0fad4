"""`jobs`: the commands of every batch; submit orders as a robot job, and record an item's result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from app.commands.batches import Commands, Display, Watch
from app.commands.output import Json, emit, note
from app.commands.scope import Actor, CarrierOption, WorkspaceOption, acting_for
from app.errors import InvalidInput

# Imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from app.context import Context
    from app.engine.batches import Batch, OwnReasons
    from app.logistics.store import RobotJob, RobotJobItem


def _line(job: RobotJob) -> dict[str, Any]:
    return {
        "job_id": job.id,
        "carrier": job.carrier,
        "status": job.status,
        "total_items": job.total_items,
        "success_count": job.success_count,
        "error_count": job.error_count,
        "generation": job.generation,
        "idempotency_key": job.idempotency_key,
        "created_at": job.created_at,
        "completed_at": job.completed_at,
    }


def _item(item: RobotJobItem) -> dict[str, Any]:
    names = ("id", "order_reference", "status", "tracking_number", "retry_count", "error_type", "error_message")
    return {name: getattr(item, name) for name in names}


def _batch() -> Batch[RobotJob, RobotJobItem]:
    from app.logistics.store import ROBOT_JOBS

    return ROBOT_JOBS


def _own_reasons() -> OwnReasons[RobotJob, RobotJobItem]:
    from app.logistics.explain import OWN_REASONS

    return OWN_REASONS


_COMMANDS = Commands(_batch, acting_for, Display(_line, _item, "shipped", _own_reasons))

app = _COMMANDS.app(
    "Manage robot jobs: batches of orders that robots enter in a carrier's portal.",
    without=("record",),  # this one has --tracking
)


@app.command()
def submit(
    *,
    file: Annotated[
        Path | None, typer.Option("--file", help="CSV file of orders, as for `orders import`; imports new orders.")
    ] = None,
    order: Annotated[list[str] | None, typer.Option("--order", help="Reference or id of an order; repeatable.")] = None,
    pending: Annotated[bool, typer.Option("--pending", help="All pending orders that are in no open job.")] = False,
    carrier: CarrierOption = "coordinadora",
    idempotency_key: Annotated[
        str | None, typer.Option("--idempotency-key", help="Refuse the request if a job has this key.")
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Submit valid rows even if others are invalid.")] = False,
    again: Annotated[
        bool, typer.Option("--again/--no-again", help="Accept or refuse orders that are shipped or in an open job.")
    ] = True,
    watch: Watch = False,
    workspace: WorkspaceOption = None,
    as_json: Json = False,
) -> None:
    """Submit orders as one job. Import, job and first event are one transaction.

    Warns about orders that are shipped or in an open job; --no-again refuses them. Cancelled orders are refused.
    --pending skips orders in open jobs, so it may run from cron. Without orders it creates no job and exits with 0.

    Exit code 2 if a job has the idempotency key; the error names the job.
    """
    from app.logistics.submit import submit_orders

    if sum((file is not None, bool(order), pending)) != 1:
        message = "orders: give exactly one of --file, --order and --pending"
        raise InvalidInput(message)
    if pending:
        _submit_pending(workspace, carrier, idempotency_key, watch=watch, as_json=as_json)
        return
    with acting_for(workspace) as context:
        order_ids = _orders(context, file, order or [], skip_bad=skip_bad, as_json=as_json)
        key = idempotency_key
        done = submit_orders(context, order_ids, carrier=carrier, idempotency_key=key, again=again)
    emit(_line(done.job), as_json=as_json)
    if done.repeated:
        note(f"{done.repeated} of these orders are already shipped or in another job: this job ships them again")
    if watch:
        _COMMANDS.follow(done.job.workspace_id, done.job.id, as_json=as_json)


@app.command()
def record(
    item: Annotated[UUID, typer.Argument(help="The item's id; `jobs show JOB` lists them.")],
    *,
    tracking: Annotated[
        str | None, typer.Option("--tracking", help="Record success with this tracking number.")
    ] = None,
    error: Annotated[str | None, typer.Option("--error", help="Record failure with this message.")] = None,
    type_: Annotated[
        str, typer.Option("--type", help="With --error: validation, portal, timeout or unknown.")
    ] = "portal",
    reason: Annotated[str, typer.Option("--reason", help="How you know the result, for the audit log.")],
    workspace: WorkspaceOption = None,
    actor: Actor,
    as_json: Json = False,
) -> None:
    """Record an item's result by hand, if it has none. Counts like a robot's result."""
    from app.logistics.jobs import record_item
    from app.logistics.rules import error_type

    with acting_for(workspace) as context:
        job = record_item(
            context,
            item,
            actor=actor,
            reason=reason,
            tracking_number=tracking,
            error=error,
            error_type=error_type(type_),
        )
    emit({"item": item, **_line(job)}, as_json=as_json)


def _submit_pending(workspace: str | None, carrier: str, key: str | None, *, watch: bool, as_json: bool) -> None:
    from app.logistics.submit import submit_pending

    with acting_for(workspace) as context:
        workspace_id = context.tenant_id
        done = submit_pending(context, carrier=carrier, idempotency_key=key)
    elsewhere = [{"job_id": job_id, "orders": count} for job_id, count in done.in_open_jobs.items()]
    line = {"job_id": None, "total_items": 0} if done.job is None else _line(done.job)
    report = {**line, "in_open_jobs": elsewhere, "in_doubt": done.in_doubt}
    emit(report, as_json=as_json, human=line if done.job else "nothing to submit")
    for one in [] if as_json else elsewhere:
        note(f"{one['orders']} pending orders are in job {one['job_id']}, which has not ended")
    if done.in_doubt and not as_json:
        note(f"{done.in_doubt} pending orders may be in another carrier's portal: retry or record their items first")
    if watch and done.job is not None:
        _COMMANDS.follow(workspace_id, done.job.id, as_json=as_json)


def _orders(context: Context, file: Path | None, wanted: list[str], *, skip_bad: bool, as_json: bool) -> list[UUID]:
    from app.logistics import orders
    from app.logistics.files import read_csv

    if file is None:
        return [orders.find_order(context, one).id for one in wanted]
    rows = read_csv(file, orders.OrderRow, unique=("reference",), skip_bad=skip_bad)
    order_ids = orders.import_orders(context, rows).order_ids
    for problem in [] if as_json else rows.problems:
        note(problem)
    return order_ids
