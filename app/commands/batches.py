"""The commands of a batch: list, show, watch, retry, cancel, record and explain its jobs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from app.commands.explain import show_reasons, show_times_of
from app.commands.output import Json, confirm, emit, note
from app.commands.scope import Actor, WorkspaceOption, Yes, acting_for, as_service
from app.errors import InvalidInput

# Imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from app.context import Context
    from app.engine.batches import Batch, OwnReasons

JobArgument = Annotated[UUID, typer.Argument(metavar="JOB", help="The job's id.")]
Watch = Annotated[bool, typer.Option("--watch", help="Show the progress until the job has ended.")]
Reason = Annotated[str, typer.Option("--reason", help="Reason, for the audit log.")]


def job_line(job: Any) -> dict[str, Any]:
    """Return all fields of a job, with `job_id` for `id`."""
    row = asdict(job)
    return {"job_id": row.pop("id"), **row}


@dataclass(frozen=True, slots=True)
class Display:
    """How jobs and items of a batch are printed.

    `job`: the printed fields of a job. `item`: the columns of an item in tables; --json prints all its fields.
    `succeeded`: the word for successful items in a progress line. `own`: return the domain's own
    reasons for `explain`.
    """

    job: Callable[[Any], dict[str, Any]] = job_line
    item: Callable[[Any], dict[str, Any]] = asdict
    succeeded: str = "done"
    own: Callable[[], OwnReasons[Any, Any] | None] = lambda: None


class Commands:
    """The commands of one batch. `load` imports the batch when a command runs; `acting` opens a tenant's context."""

    def __init__(
        self,
        load: Callable[[], Batch[Any, Any]],
        acting: Callable[[str | None], AbstractContextManager[Context]],
        display: Display,
    ) -> None:
        self._load = load
        self._acting = acting
        self._display = display

    def list_(
        self,
        *,
        status: Annotated[
            str | None, typer.Option("--status", help="pending, processing, completed or failed.")
        ] = None,
        before: Annotated[UUID | None, typer.Option("--before", help="Continue after the job with this id.")] = None,
        limit: Annotated[int, typer.Option("--limit", help="Jobs to list, at most 1000.")] = 50,
        workspace: WorkspaceOption = None,
        as_json: Json = False,
    ) -> None:
        """List jobs, newest first."""
        from app.engine.batches import list_jobs

        with self._acting(workspace) as context:
            found = list_jobs(context, self._load(), status=status, before=before, limit=limit)
        emit([self._display.job(job) for job in found], as_json=as_json)
        if len(found) == limit:
            note(f"more jobs may follow: --before {found[-1].id}")

    def show(
        self,
        job: JobArgument,
        *,
        status: Annotated[str | None, typer.Option("--status", help="Only items with this status.")] = None,
        after: Annotated[UUID | None, typer.Option("--after", help="Continue after the item with this id.")] = None,
        limit: Annotated[int, typer.Option("--limit", help="Items to show, at most 1000.")] = 20,
        workspace: WorkspaceOption = None,
        as_json: Json = False,
    ) -> None:
        """Show a job, its errors by type, and a page of its items."""
        from app.engine.batches import get_page

        with self._acting(workspace) as context:
            page = get_page(context, self._load(), job, status=status, after=after, limit=limit)
        line = self._display.job(page.job)
        if as_json:
            items = [asdict(item) for item in page.items]
            emit({**line, "by_error_type": page.errors, "items": items, "next_after": page.next_after}, as_json=True)
            return
        emit({**line, **{f"failed: {name}": count for name, count in page.errors.items()}}, as_json=False)
        emit([self._display.item(item) for item in page.items], as_json=False)
        if page.next_after:
            note(f"more items follow: --after {page.next_after}")

    def watch(self, job: JobArgument, *, workspace: WorkspaceOption = None, as_json: Json = False) -> None:
        """Show a job's progress until it has ended. Exit code 1 if no item succeeded."""
        with self._acting(workspace) as context:
            tenant_id = context.tenant_id
        self.follow(tenant_id, job, as_json=as_json)

    def retry(
        self,
        job: JobArgument,
        *,
        item: Annotated[list[UUID] | None, typer.Option("--item", help="Only this failed item; repeatable.")] = None,
        watch: Watch = False,
        workspace: WorkspaceOption = None,
        as_json: Json = False,
    ) -> None:
        """Retry a job's failed items."""
        from app.engine.batches import retry_failed

        with self._acting(workspace) as context:
            done = retry_failed(context, self._load(), job, item)
            tenant_id = context.tenant_id
        emit({**self._display.job(done.job), "retried_items": done.items}, as_json=as_json)
        if not done.items:
            note("no item failed: nothing to retry; `explain` shows the open items")
        elif watch:
            self.follow(tenant_id, job, as_json=as_json)

    def cancel(
        self,
        job: JobArgument,
        *,
        reason: Reason,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the effect; change nothing.")] = False,
        workspace: WorkspaceOption = None,
        yes: Yes = False,
        actor: Actor,
        as_json: Json = False,
    ) -> None:
        """Cancel a job: fail the items whose call has not begun, and begin no further call.

        Items with a dead request fail too, and their dead letters are resolved. Items whose call has begun still get
        its result. The job completes with its last result.
        """
        from app.engine.batches import cancel

        confirm(f"Cancel job {job}?", yes=yes or dry_run)
        with self._acting(workspace) as context:
            done = cancel(context, self._load(), job, actor=actor, reason=reason, dry_run=dry_run)
        counts = {"cancelled_items": done.failed, "in_hand": done.in_hand, "resolved_letters": done.letters}
        emit({**self._display.job(done.job), **counts, "dry_run": dry_run}, as_json=as_json)
        if dry_run:
            note("nothing was changed")

    def record(
        self,
        item: Annotated[UUID, typer.Argument(help="The item's id; `show JOB` lists them.")],
        *,
        result: Annotated[
            list[str] | None,
            typer.Option("--result", metavar="FIELD=VALUE", help="Record success; repeatable."),
        ] = None,
        error: Annotated[str | None, typer.Option("--error", help="Record failure with this message.")] = None,
        type_: Annotated[str, typer.Option("--type", help="With --error: the error type.")] = "unknown",
        reason: Annotated[str, typer.Option("--reason", help="How you know the result, for the audit log.")],
        workspace: WorkspaceOption = None,
        actor: Actor,
        as_json: Json = False,
    ) -> None:
        """Record an item's result by hand, if it has none. Counts like any other result."""
        from app.engine.batches import record_item

        if (error is None) == (result is None):
            raise InvalidInput("result: give either --result FIELD=VALUE or --error, not both")
        batch = self._load()
        said: dict[str, Any] = {"status": batch.success, **_fields(result or ())}
        if error is not None:
            said = {"status": batch.error, "error_type": type_, "error_message": error}
        with self._acting(workspace) as context:
            job = record_item(context, batch, item, said, actor=actor, reason=reason)
        emit({"item": item, **self._display.job(job)}, as_json=as_json)

    def explain(
        self,
        job: JobArgument,
        *,
        item: Annotated[UUID | None, typer.Option("--item", help="Explain this item instead.")] = None,
        as_json: Json = False,
    ) -> None:
        """Show why a job, or one of its items, has not ended."""
        from app.engine.batches import explain_item, explain_job
        from app.engine.batches.parts import tenant_of

        with as_service() as connection:
            batch = self._load()
            own = self._display.own()
            if item is None:
                found = explain_job(connection, batch, job, own)
            else:
                found = explain_item(connection, batch, item, own)
            show_times_of(connection, tenant_of(connection, job if item is None else item, batch))
        show_reasons(found, as_json=as_json)

    def follow(self, tenant_id: UUID, job: UUID, *, as_json: bool) -> None:
        """Show a tenant's job until it has ended. Exits with 1 if no item succeeded."""
        from app.commands.watching import watch as watch_job

        ended = watch_job(self._load(), tenant_id, job, as_json=as_json, succeeded=self._display.succeeded)
        if ended.status == "failed":
            raise typer.Exit(1)

    def app(self, help_: str, *, without: Collection[str] = ()) -> typer.Typer:
        """Return a Typer app with the commands, but for those in `without`."""
        app = typer.Typer(no_args_is_help=True, help=help_)
        for name in ("list", "show", "watch", "retry", "cancel", "record", "explain"):
            if name not in without:
                app.command(name=name)(getattr(self, "list_" if name == "list" else name))
        return app


def sub_app(
    load: Callable[[], Batch[Any, Any]],
    *,
    help_: str,
    acting: Callable[[str | None], AbstractContextManager[Context]] = acting_for,
) -> typer.Typer:
    """Return a Typer app with the commands of a batch. A domain adds its own `submit`.

    A domain that prints jobs in its own way, or has a command of its own instead of one of these, uses `Commands`.
    """
    return Commands(load, acting, Display()).app(help_)


def _fields(pairs: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, is_given, value = pair.partition("=")
        if not is_given:
            raise InvalidInput(f"result: {pair!r} must be FIELD=VALUE")
        found[name] = value
    return found
