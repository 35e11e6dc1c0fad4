"""`orders`: import, list, change and cancel a workspace's orders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from app.commands.output import Json, confirm, emit, note
from app.commands.scope import WorkspaceOption, Yes, acting_for
from app.errors import InvalidInput

# Imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from app.logistics.orders import Order

app = typer.Typer(no_args_is_help=True, help="Manage a workspace's orders.")


@app.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(help="CSV in UTF-8 with a header; `orders import --help` names the columns.")],
    *,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Import valid rows even if others are invalid.")] = False,
    workspace: WorkspaceOption = None,
    as_json: Json = False,
) -> None:
    """Import orders from a CSV file: all rows or none. Orders with an existing reference are not changed.

    Columns: reference, recipient_name, address, city. Optional columns: recipient_document, recipient_phone,
    recipient_email, department, units, weight_kg, declared_value_cents, collect_on_delivery_cents.
    """
    from app.logistics.files import read_csv
    from app.logistics.orders import OrderRow, import_orders

    rows = read_csv(file, OrderRow, unique=("reference",), skip_bad=skip_bad)
    with acting_for(workspace) as context:
        done = import_orders(context, rows)
    summary = {"created": done.created, "existing": done.existing, "bad": rows.bad}
    emit({**summary, "problems": rows.problems}, as_json=as_json, human=summary)
    if not as_json:
        for problem in rows.problems:
            note(problem)


@app.command(name="list")
def list_(
    *,
    status: Annotated[str | None, typer.Option("--status", help="pending, shipped or cancelled.")] = None,
    after: Annotated[UUID | None, typer.Option("--after", help="Continue after the order with this id.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="Orders to list, at most 1000.")] = 100,
    workspace: WorkspaceOption = None,
    as_json: Json = False,
) -> None:
    """List orders, oldest first."""
    from app.logistics.orders import list_orders

    with acting_for(workspace) as context:
        found = list_orders(context, status=status, after=after, limit=limit)
    emit(found, as_json=as_json, human=[_line(order) for order in found])
    if len(found) == limit:
        note(f"more orders may follow: --after {found[-1].id}")


@app.command()
def update(
    order: Annotated[str, typer.Argument(help="The order's reference or id.")],
    *,
    fields: Annotated[list[str], typer.Option("--set", metavar="FIELD=VALUE", help="Repeatable.")],
    workspace: WorkspaceOption = None,
    as_json: Json = False,
) -> None:
    """Change an order and publish `order/updated`. An empty value clears an optional field."""
    from app.logistics.order_changes import update_order
    from app.logistics.orders import find_order

    values = _parse(fields)
    with acting_for(workspace) as context:
        done = update_order(context, find_order(context, order).id, **values)
    emit(done, as_json=as_json)


@app.command()
def cancel(
    wanted: Annotated[list[str], typer.Argument(metavar="ORDER...", help="References or ids of orders.")],
    *,
    yes: Yes = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the effect; change nothing.")] = False,
    workspace: WorkspaceOption = None,
    as_json: Json = False,
) -> None:
    """Cancel orders and publish `order/updated`. Robots no longer enter them.

    Waiting items of open jobs fail when a robot reaches them. Shipped orders are refused. An order that a robot is
    entering stays cancelled and gets its tracking number.
    """
    from app.logistics.cancel import cancel_orders
    from app.logistics.orders import find_order

    with acting_for(workspace) as context:
        order_ids = [find_order(context, one).id for one in wanted]
        context.connection.commit()
        if not dry_run:
            confirm(f"Cancel {len(order_ids)} orders?", yes=yes)
        with context.connection.transaction(force_rollback=dry_run):
            done = cancel_orders(context, order_ids)
    emit([_line(order) for order in done.orders], as_json=as_json)
    if dry_run:
        note("nothing was changed (--dry-run)")
    for job_id, items in done.in_open_jobs.items():
        note(f"job {job_id}: {items} items will fail when a robot reaches them: their orders are cancelled")


def _parse(fields: list[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for one in fields:
        name, sign, value = one.partition("=")
        if not sign or name in values:
            raise InvalidInput(f"--set {one}: must be FIELD=VALUE, each field once")
        values[name] = value
    return values


def _line(order: Order) -> dict[str, Any]:
    names = ("id", "reference", "recipient_name", "city", "department", "status", "tracking_number")
    return {name: getattr(order, name) for name in names}
