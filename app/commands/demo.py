"""`demo`: run a job end to end on this machine in under a minute, and kill a worker during it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from app.commands.output import Json, emit, note
from app.commands.signals import interruptible

# Imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from app.demo.processes import PortalProcess, Workers
    from app.engine.inspect.invariants import Verdict


app = typer.Typer(invoke_without_command=True)

_Keep = Annotated[bool, typer.Option("--keep", help="Keep the embedded server running.")]


@dataclass(frozen=True, slots=True)
class Stage:
    """The demo's workspace, its organisation, the portal, the workers and the output."""

    workspace_id: UUID
    org_id: UUID
    portal: PortalProcess
    worker_pool: Workers
    say: Callable[[str], None]
    as_json: bool


@app.callback()
def demo(
    context: typer.Context,
    *,
    orders: Annotated[int, typer.Option("--orders", min=1, max=200_000, help="Number of orders.")] = 300,
    keep: _Keep = False,
    as_json: Json = False,
) -> None:
    """Ship orders through a simulated portal, kill a worker meanwhile, run a collection, and take messages.

    Exit code 1 on a violation.
    """
    if context.invoked_subcommand is not None:
        return
    began = time.monotonic()
    say = note if as_json else lambda text: emit(text, as_json=False)
    with interruptible(), ExitStack() as stack:
        stack.enter_context(_server(keep=keep, say=say))
        stage = _set_up(stack, say, as_json=as_json)
        job_id = _first_act(stage, orders)
        _second_act(stage, job_id)
        collected = {**_collect(stage), **_message(stage)}
        verdicts = _verdicts(stage)
        summary = {**_summary(stage, job_id), **collected, "elapsed_s": round(time.monotonic() - began, 1)}
        _finale(stage, summary, verdicts, keep=keep)
    _end(summary, verdicts, as_json=as_json)


@app.command()
def collection(*, keep: _Keep = False, as_json: Json = False) -> None:
    """Run a collection that hits its cap, is given more, and completes. Exit code 1 on a violation."""
    began = time.monotonic()
    say = note if as_json else lambda text: emit(text, as_json=False)
    with interruptible(), ExitStack() as stack:
        stack.enter_context(_server(keep=keep, say=say))
        stage = _set_up(stack, say, as_json=as_json)
        collected = _collect(stage)
        verdicts = _verdicts(stage)
        summary = {**collected, "elapsed_s": round(time.monotonic() - began, 1)}
        _show_verdicts(stage, verdicts)
        stage.say(f"\nDone in {summary['elapsed_s']} s. Try next:")
        _show_commands(stage, [f"runs show {summary['run_id']} --org {stage.org_id}"], keep=keep)
    _end(summary, verdicts, as_json=as_json)


@app.command()
def messages(*, keep: _Keep = False, as_json: Json = False) -> None:
    """Post signed messages to the web application, as Twilio does, and show their jobs. Exit code 1 on a violation."""
    began = time.monotonic()
    say = note if as_json else lambda text: emit(text, as_json=False)
    with interruptible(), ExitStack() as stack:
        stack.enter_context(_server(keep=keep, say=say))
        stage = _set_up(stack, say, as_json=as_json)
        taken = _message(stage)
        verdicts = _verdicts(stage)
        summary = {**taken, "elapsed_s": round(time.monotonic() - began, 1)}
        _show_verdicts(stage, verdicts)
        stage.say(f"\nDone in {summary['elapsed_s']} s. Try next:")
        _show_commands(stage, ["messages list"], keep=keep)
    _end(summary, verdicts, as_json=as_json)


def _end(summary: dict[str, Any], verdicts: list[Verdict], *, as_json: bool) -> None:
    if as_json:
        emit(summary, as_json=True)
    wrong = (
        summary.get("portal_duplicates"),
        summary.get("run_cost_cents") != summary.get("marketplace_charged_cents"),
        summary.get("message_jobs") != summary.get("messages_posted"),
    )
    if any(wrong) or not all(one.holds for one in verdicts):
        raise typer.Exit(1)


@contextmanager
def _server(*, keep: bool, say: Callable[[str], None]) -> Iterator[None]:
    from app import database
    from app.engine import event_types
    from app.postgres import embedded
    from app.schema import migrate
    from app.settings import settings
    from app.wiring import sources

    own = settings().database_url is None and not embedded.status().running
    say("Starting the embedded PostgreSQL server …" if own else "Using the running PostgreSQL server …")
    database.url()
    try:
        applied = migrate.migrate(sources=sources())
        event_types.deploy()
        say(f"Schema: {len(applied)} migrations applied" if applied else "Schema: up to date")
        yield
    finally:
        if own and not keep:
            embedded.stop()


def _set_up(stack: ExitStack, say: Callable[[str], None], *, as_json: bool) -> Stage:
    from app import database
    from app.demo import processes, script
    from app.settings import settings, use

    # The simulated portal has its verdict at once, so a retry need not wait for the settle time.
    use(portal_settle=1.0, marketplace_settle=1.0)
    portal = stack.enter_context(processes.portal(script.PORTAL))
    say(f"Carrier's portal (simulated): {portal.url}")
    name = f"Demo {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
    with database.connect() as connection:
        workspace = script.prepare(connection, name, portal.url)
    log = settings().home / "demo-workers.log"
    worker_pool = stack.enter_context(processes.workers(log, script.WORKER))
    pids = worker_pool.start(), worker_pool.start()
    say(f"Workspace: {name!r}; workers: {pids[0]}, {pids[1]} (their log: {log})")
    return Stage(workspace.id, workspace.org_id, portal, worker_pool, say, as_json)


def _first_act(stage: Stage, wanted: int) -> UUID:
    """Submit a job, kill a worker, and watch the job until it has ended. Returns the job's id."""
    from app import database
    from app.context import Context
    from app.demo import script
    from app.logistics.jobs import create_robot_job
    from app.logistics.orders import import_orders

    began = time.monotonic()
    with database.connect() as connection:
        context = Context.start(connection, stage.workspace_id)
        order_ids = import_orders(context, script.orders(wanted)).order_ids
        job = create_robot_job(context, order_ids, carrier=script.CARRIER, idempotency_key=f"demo-{stage.workspace_id}")
    stage.say(f"Submitted {wanted} orders as job {job.id} in {time.monotonic() - began:.1f} s\n")
    _watch(stage, job.id, kill_at=wanted // 2)
    return job.id


def _second_act(stage: Stage, job_id: UUID) -> None:
    """Fix the coverage and the portal, and retry the failed items that can succeed now."""
    from app import database
    from app.context import Context
    from app.demo import following, script
    from app.logistics.jobs import retry_failed_items

    with following.serving(stage.workspace_id, stage.say) as follow, database.connect() as connection:
        stage.portal.change(**script.mend(connection))
        items = script.retriable(connection, job_id)
        if not items:
            return
        retry_failed_items(Context.start(connection, stage.workspace_id), job_id, items)
        connection.commit()
        stage.say(
            f"\nThe carrier now serves Mitú and its portal is fixed: retrying {len(items)} failed orders"
            " (not those that the carrier refused)"
        )
        follow(job_id)
    _watch(stage, job_id)


def _watch(stage: Stage, job_id: UUID, *, kill_at: int | None = None) -> None:
    from app.commands.watching import follow
    from app.logistics.store import ROBOT_JOBS

    shown = 0.0
    for progress in follow(ROBOT_JOBS, stage.workspace_id, job_id):
        if kill_at is not None and progress.done >= kill_at and not progress.is_over:
            kill_at = None
            killed, started = stage.worker_pool.kill_one(), stage.worker_pool.start()
            stage.say(f"  killed worker {killed} (SIGKILL) in the middle of its calls, started {started}")
        if progress.is_over or time.monotonic() - shown >= 1:
            shown = time.monotonic()
            stage.say(f"  {progress.line()}")
            sys.stdout.flush()


def _collect(stage: Stage) -> dict[str, Any]:
    from app.demo.collecting import act

    return act(stage.org_id, stage.say)


def _message(stage: Stage) -> dict[str, Any]:
    from app.demo.messages import act

    return act(stage.say)


def _verdicts(stage: Stage) -> list[Verdict]:
    from app import database
    from app.engine.inspect.invariants import audit
    from app.program import INVARIANTS

    stage.worker_pool.stop()
    with database.connect() as connection:
        return audit(connection, INVARIANTS)


def _summary(stage: Stage, job_id: UUID) -> dict[str, Any]:
    from app import database
    from app.context import Context
    from app.engine.inspect.timeline import count_events
    from app.logistics.jobs import get_job_with_items

    with database.connect() as connection:
        page = get_job_with_items(Context.start(connection, stage.workspace_id), job_id, limit=1)
        completions = count_events(connection, job_id, "robot/job.completed")
    record = stage.portal.record()
    job = page.job
    return {
        "job_id": str(job.id),
        "status": job.status,
        "total_items": job.total_items,
        "success_count": job.success_count,
        "error_count": job.error_count,
        "by_error_type": page.errors,
        "generations": job.generation,
        "portal_accepted": record["accepted"],
        "portal_duplicates": len(record["duplicates"]),
        "job_completed_events": completions,
    }


def _finale(stage: Stage, summary: dict[str, Any], verdicts: list[Verdict], *, keep: bool) -> None:
    errors = ", ".join(f"{count} {name}" for name, count in summary["by_error_type"].items()) or "none"
    stage.say(
        f"\nJob {summary['status']}: {summary['success_count']} of {summary['total_items']} orders have a tracking"
        f" number; errors: {errors}"
        f"\nThe portal's own record: {summary['portal_accepted']} orders accepted, {summary['portal_duplicates']} twice"
        f"\nrobot/job.completed: published {summary['job_completed_events']} times,"
        f" {summary['generations']} generations"
    )
    _show_verdicts(stage, verdicts)
    stage.say(f"\nDone in {summary['elapsed_s']} s. Try next:")
    job = f"jobs show {summary['job_id']} -w {stage.workspace_id} --status error"
    _show_commands(stage, [job, f"runs show {summary['run_id']} --org {stage.org_id}"], keep=keep)


def _show_verdicts(stage: Stage, verdicts: list[Verdict]) -> None:
    stage.say("\nInvariants over the whole database:")
    for one in verdicts:
        stage.say(f"  {'holds ' if one.holds else 'BROKEN'}  {one.name}{'' if one.holds else f': {one.rows}'}")


def _show_commands(stage: Stage, commands: list[str], *, keep: bool) -> None:
    for command in ([] if keep else ["db start"]) + commands + ["audit", "jobs submit --help"]:
        stage.say(f"  .venv/bin/python cli.py {command}")
