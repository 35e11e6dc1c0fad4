"""`webhooks`: endpoints of a workspace or an organisation, and their deliveries. A secret is printed once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from app.commands.output import Json, emit, note
from app.commands.scope import Actor, WorkspaceOption, acting_for, within_org
from app.errors import InvalidInput

# Imported where they are used: `--help` needs none of them.
if TYPE_CHECKING:
    from app.context import Context
    from app.webhooks.deliveries import ListedDelivery
    from app.webhooks.endpoints import Endpoint
    from app.webhooks.rules import Owner

app = typer.Typer(no_args_is_help=True, help="Manage outgoing webhooks: signed requests for a tenant's events.")

_Org = Annotated[
    # Without the variable TALLYMAN_ORG: the tenant is the workspace unless the command says otherwise.
    str | None,
    typer.Option("--org", metavar="NAME_OR_ID", help="Act for an organisation, whose events are those of its runs."),
]
_Id = Annotated[UUID, typer.Argument(metavar="ENDPOINT", help="The endpoint's id.")]


@contextmanager
def _tenant(workspace: str | None, org: str | None) -> Iterator[tuple[Context, Owner]]:
    """Yield a context of the organisation if one is named, else of the workspace, and which of the two it is."""
    if org is not None:
        with within_org(org) as context:
            yield context, "org"
    else:
        with acting_for(workspace) as context:
            yield context, "workspace"


@app.command()
def add(
    url: Annotated[str, typer.Argument(help="Where the events are sent: https://...")],
    *,
    event: Annotated[
        list[str], typer.Option("--event", help="A type of event, such as robot.job.completed; repeatable.")
    ],
    description: Annotated[str, typer.Option("--description", help="What the endpoint is for.")] = "",
    max_calls: Annotated[int, typer.Option("--max-calls", help="Requests at once, 1 to 20.")] = 4,
    workspace: WorkspaceOption = None,
    org: _Org = None,
    actor: Actor,
    as_json: Json = False,
) -> None:
    """Register an endpoint. Prints its signing secret, which cannot be read again."""
    from app.webhooks import endpoints

    with _tenant(workspace, org) as (context, owner):
        added = endpoints.add_endpoint(
            context, owner, url, event, actor=actor, description=description, max_calls=max_calls
        )
    secret = added.secret.get_secret_value()
    emit({**_line(added.endpoint), "secret": secret}, as_json=as_json)
    note("the secret is not shown again: `webhooks rotate` makes another one")


@app.command(name="list")
def list_(*, workspace: WorkspaceOption = None, org: _Org = None, as_json: Json = False) -> None:
    """List the endpoints, with those that are disabled or failing."""
    from app.webhooks import endpoints

    with _tenant(workspace, org) as (context, _):
        found = endpoints.list_endpoints(context)
    emit(found, as_json=as_json, human=[_line(one) for one in found])


@app.command()
def show(endpoint: _Id, *, workspace: WorkspaceOption = None, org: _Org = None, as_json: Json = False) -> None:
    """Show an endpoint, without its secret."""
    from app.webhooks import endpoints

    with _tenant(workspace, org) as (context, _):
        found = endpoints.show_endpoint(context, endpoint)
    emit(found, as_json=as_json)


@app.command(name="test")
def try_(endpoint: _Id, *, workspace: WorkspaceOption = None, org: _Org = None, as_json: Json = False) -> None:
    """Send a signed test event now and print the answer. Exits with 1 if the endpoint does not accept it."""
    from app.webhooks import trial

    with _tenant(workspace, org) as (context, _):
        target = trial.target_of(context, endpoint)
    found = trial.send_test(context, endpoint, target)
    emit(found, as_json=as_json)
    if not found.accepted:
        raise typer.Exit(1)


@app.command()
def enable(
    endpoint: _Id, *, workspace: WorkspaceOption = None, org: _Org = None, actor: Actor, as_json: Json = False
) -> None:
    """Enable an endpoint. Deliveries that died meanwhile are sent by `dead replay`."""
    from app.webhooks import endpoints

    with _tenant(workspace, org) as (context, _):
        done = endpoints.enable_endpoint(context, endpoint, actor=actor)
    emit(done, as_json=as_json)


@app.command()
def disable(
    endpoint: _Id, *, workspace: WorkspaceOption = None, org: _Org = None, actor: Actor, as_json: Json = False
) -> None:
    """Disable an endpoint. It gets no further events; what still waits for it becomes dead letters."""
    from app.webhooks import endpoints

    with _tenant(workspace, org) as (context, _):
        done = endpoints.disable_endpoint(context, endpoint, actor=actor)
    emit(done, as_json=as_json)


@app.command()
def rotate(
    endpoint: _Id,
    *,
    hours: Annotated[
        float, typer.Option("--hours", help="For how long the former secret signs as well; 0: it is leaked.")
    ] = 24.0,
    workspace: WorkspaceOption = None,
    org: _Org = None,
    actor: Actor,
    as_json: Json = False,
) -> None:
    """Make a new signing secret and print it. Until the former one expires, requests carry both signatures."""
    from app.webhooks import keys

    with _tenant(workspace, org) as (context, _):
        done = keys.rotate(context, endpoint, actor=actor, hours=hours)
    secret = done.secret.get_secret_value()
    emit({"endpoint_id": done.endpoint_id, "secret": secret, "former_until": done.former_until}, as_json=as_json)
    note("the secret is not shown again")


@app.command()
def deliveries(
    *,
    endpoint: Annotated[UUID | None, typer.Option("--endpoint", help="Those of one endpoint.")] = None,
    status: Annotated[str | None, typer.Option("--status", help="pending, delivered, dead or discarded.")] = None,
    delivery: Annotated[UUID | None, typer.Option("--id", help="One delivery, with the body of its requests.")] = None,
    before: Annotated[UUID | None, typer.Option("--before", help="Continue after this delivery.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000)] = 100,
    workspace: WorkspaceOption = None,
    org: _Org = None,
    as_json: Json = False,
) -> None:
    """List deliveries, newest first: status, attempts and the last answer. `dead replay` sends dead ones again."""
    from app.webhooks.deliveries import list_deliveries, show_delivery

    if delivery is not None and (endpoint or status or before):
        raise InvalidInput("id: names one delivery; leave out --endpoint, --status and --before")
    with _tenant(workspace, org) as (context, _):
        if delivery is not None:
            emit(show_delivery(context, delivery), as_json=as_json)
            return
        found = list_deliveries(context, endpoint_id=endpoint, status=status, before=before, limit=limit)
    emit(found, as_json=as_json, human=[_row(one) for one in found])
    if len(found) == limit:
        note(f"more may follow: --before {found[-1].id}")


def _line(endpoint: Endpoint) -> dict[str, Any]:
    state = "enabled" if endpoint.is_enabled else f"disabled ({endpoint.disabled_reason})"
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "events": ", ".join(endpoint.event_types),
        "state": state,
        "failing_since": endpoint.failing_since,
        "description": endpoint.description,
    }


def _row(delivery: ListedDelivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "event": delivery.event_type,
        "status": delivery.status,
        "attempts": delivery.attempts,
        "last_attempt_at": delivery.last_attempt_at,
        "answer": delivery.last_status,
        "error": delivery.last_error,
        "created_at": delivery.created_at,
    }
