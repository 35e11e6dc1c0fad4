"""`queues`: list, pause and resume queues, and show or change the shares of tenants, while workers run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.output import Json, emit, note
from app.commands.scope import Actor, as_service

# Imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from app.engine.inspect.backlog import Backlog

app = typer.Typer(no_args_is_help=True, help="Show queues, pause and resume them, and set tenants' shares.")

QueueArgument = Annotated[str, typer.Argument(metavar="QUEUE", help="The queue's name; `queues list` shows them.")]


@app.command(name="list")
def list_(*, as_json: Json = False) -> None:
    """List queues with their rows, pauses and workers. A row is an event or a batch of up to 500 events.

    due: ready now. later: delayed or put back. parked: waits for a slot, e.g. a session of an account. in_hand: being
    delivered. oldest_s: seconds since the oldest due row became due.
    """
    from app.engine.inspect.backlog import backlogs

    with as_service() as connection:
        found = backlogs(connection)
    emit([_line(one) for one in found], as_json=as_json)


@app.command()
def pause(
    queue: QueueArgument,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Reason; `explain` shows it.")],
    actor: Actor,
    as_json: Json = False,
) -> None:
    """Pause a queue until `queues resume`: workers fetch no row of it. Deliveries in progress finish.

    Takes effect within a second and survives restarts. A queue that is already paused is not changed.
    """
    from app.engine.queue import pauses

    with as_service() as connection:
        made = pauses.pause(connection, queue, actor=actor, reason=reason)
    emit(made, as_json=as_json, human=f"{queue} is paused")
    if not made.is_new:
        note(f"{queue} was already paused by {made.paused_by}: {made.reason}")


@app.command()
def resume(
    queue: QueueArgument,
    *,
    reason: Annotated[str | None, typer.Option("--reason", help="Reason, for the audit log.")] = None,
    actor: Actor,
    as_json: Json = False,
) -> None:
    """Resume a paused queue. Takes effect at once."""
    from app.engine.queue import pauses

    with as_service() as connection:
        ended = pauses.resume(connection, queue, actor=actor, reason=reason)
    emit({"queue_name": queue, "was_paused": ended is not None}, as_json=as_json, human=f"{queue} is not paused")
    if ended is None:
        note(f"{queue} was not paused")


@app.command()
def shares(
    queue: Annotated[str | None, typer.Argument(metavar="[QUEUE]", help="Only of this queue.")] = None,
    *,
    as_json: Json = False,
) -> None:
    """Show the shares of tenants and their accounts in the deliveries of effects.

    due: rows ready now. in_hand: rows being delivered. part: the tenant's share of the deliveries by its weight, while
    all of these tenants have due rows.
    """
    from app.engine.queue.weights import standings

    with as_service() as connection:
        found = standings(connection, queue)
    emit(found, as_json=as_json)


@app.command()
def weight(
    tenant: Annotated[str, typer.Argument(metavar="WORKSPACE", help="The workspace's name or id.")],
    number: Annotated[float, typer.Argument(metavar="WEIGHT", help="Above 0, at most 1000; default 1.")],
    *,
    reason: Annotated[str, typer.Option("--reason", help="Reason, for the audit log.")],
    actor: Actor,
    as_json: Json = False,
) -> None:
    """Set a workspace's weight in the deliveries of effects: 2 is twice the default share.

    Takes effect at the workers' next fetch.
    """
    from app.engine.queue.weights import set_weight
    from app.tenancy.store import find_workspace

    with as_service() as connection:
        made = set_weight(connection, find_workspace(connection, tenant).id, number, actor=actor, reason=reason)
    emit(made, as_json=as_json, human=f"{tenant} has the weight {made.weight:g}")


def _line(one: Backlog) -> dict[str, Any]:
    return {
        "queue": one.queue_name,
        "due": one.due,
        "later": one.later,
        "parked": one.parked,
        "in_hand": one.in_hand,
        "oldest_s": None if one.oldest is None else round(one.oldest.total_seconds(), 1),
        "workers": len(one.workers),
        "paused_at": one.pause and one.pause.paused_at,
        "paused_by": one.pause and one.pause.paused_by,
        "reason": one.pause and one.pause.reason,
    }
