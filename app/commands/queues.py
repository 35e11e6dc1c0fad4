"""`queues`: what waits where, and the tap: pause and resume, for all workers, while they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.output import Json, emit, note
from app.commands.scope import Actor, as_service

# Imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from app.engine.inspect.backlog import Backlog

app = typer.Typer(no_args_is_help=True, help="The queues: what waits in them, and whether workers may take it.")

QueueArgument = Annotated[str, typer.Argument(metavar="QUEUE", help="The queue's name; `queues list` shows them.")]


@app.command(name="list")
def list_(*, as_json: Json = False) -> None:
    """List the queues with their rows (each an event or a batch of up to 500), pauses and workers.

    due: could be taken now. later: published for later or put back. parked: waits for a slot, e.g. a session of an
    account. in_hand: is being delivered. oldest_s: how long the longest waiting due row has been due, in seconds.
    """
    from app.engine.inspect.backlog import backlogs

    with as_service() as connection:
        found = backlogs(connection)
    emit([_line(one) for one in found], as_json=as_json)


@app.command()
def pause(
    queue: QueueArgument,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why; `explain` shows it.")],
    actor: Actor,
    as_json: Json = False,
) -> None:
    """Let no worker take anything from a queue until `queues resume`; what is in hand is finished.

    Workers obey within a second; restarts change nothing. A queue that is paused stays as it is.
    """
    from app.engine.queue import pauses

    with as_service() as connection:
        made = pauses.pause(connection, queue, actor=actor, reason=reason)
    emit(made, as_json=as_json, human=f"{queue} is paused")
    if not made.is_new:
        note(f"{queue} was paused already, by {made.paused_by}: {made.reason}")


@app.command()
def resume(
    queue: QueueArgument,
    *,
    reason: Annotated[str | None, typer.Option("--reason", help="Why, for the record.")] = None,
    actor: Actor,
    as_json: Json = False,
) -> None:
    """Let workers take from a queue again, at once."""
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
    """Show how the deliveries of effects are shared out among tenants and their accounts.

    due: rows that could be taken now. in_hand: rows that are being delivered. part: the tenant's part of the
    deliveries, by its weight, while all of them have something waiting.
    """
    from app.engine.queue.weights import standings

    with as_service() as connection:
        found = standings(connection, queue)
    emit(found, as_json=as_json)


@app.command()
def weight(
    tenant: Annotated[str, typer.Argument(metavar="WORKSPACE", help="The workspace's name or id.")],
    number: Annotated[float, typer.Argument(metavar="WEIGHT", help="More than 0, at most 1000; 1 is usual.")],
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the record.")],
    actor: Actor,
    as_json: Json = False,
) -> None:
    """Give a workspace another part of the deliveries of effects while others wait: 2 is twice the usual.

    Workers obey at their next fetch.
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
