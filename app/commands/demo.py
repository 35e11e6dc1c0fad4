"""`demo`: run a job end to end on this machine in under a minute, and kill a worker during it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from app.commands.output import Json, emit, note
from app.commands.signals import interruptible

# Imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from app.demo.stage import Stage
    from app.engine.inspect.invariants import Verdict


app = typer.Typer(invoke_without_command=True)

_Keep = Annotated[bool, typer.Option("--keep", help="Keep the embedded server running.")]


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
        stage = _stage(stack, say)
        job_id = _ship(stage, orders)
        collected = {**_collect(stage), **_message(stage)}
        verdicts = _verdicts(stage)
        summary = {**_shipped(stage, job_id), **collected, "elapsed_s": round(time.monotonic() - began, 1)}
        _finale(stage, summary, verdicts, keep=keep)
    _end(summary, verdicts, as_json=as_json)


@app.command()
def collection(*, keep: _Keep = False, as_json: Json = False) -> None:
    """Run a collection that hits its cap, is given more, and completes. Exit code 1 on a violation."""
    began = time.monotonic()
    say = note if as_json else lambda text: emit(text, as_json=False)
    with interruptible(), ExitStack() as stack:
        stack.enter_context(_server(keep=keep, say=say))
        stage = _stage(stack, say)
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
        stage = _stage(stack, say)
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


def _stage(stack: ExitStack, say: Callable[[str], None]) -> Stage:
    from app.demo.stage import set_up

    return set_up(stack, say)


def _ship(stage: Stage, orders: int) -> UUID:
    from app.demo.shipping import act

    return act(stage, orders)


def _shipped(stage: Stage, job_id: UUID) -> dict[str, Any]:
    from app.demo.shipping import summary_of

    return summary_of(stage, job_id)


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
