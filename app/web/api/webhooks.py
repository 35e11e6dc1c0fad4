"""Outgoing webhooks: endpoints of a workspace or an organisation, their secrets and deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field, StrictInt

from app.context import Connection, Context
from app.tenancy import members
from app.web.access import AsPerson, CurrentPerson, Person
from app.web.answers import LISTED, Paged, RequestBody, View, location
from app.web.api.paths import EXAMPLE_ID, OrgId, WorkspaceId
from app.web.openapi import problems_of
from app.webhooks import deliveries, endpoints, keys, rules
from app.webhooks.deliveries import Status
from app.webhooks.rules import Owner

router = APIRouter(prefix="/v1", tags=["webhooks"])

EndpointId = Annotated[UUID, Path(description="The endpoint.", examples=[EXAMPLE_ID])]
DeliveryId = Annotated[UUID, Path(description="The delivery: the `webhook-id`.", examples=[EXAMPLE_ID])]
_NAMES = [rules.public_name(payload) for payloads in rules.PUBLISHED.values() for payload in payloads]
_ADDED: dict[int | str, dict[str, Any]] = {
    201: {"headers": {"Location": {"description": "The path of the endpoint.", "schema": {"type": "string"}}}}
}


class AddEndpoint(RequestBody):
    """Where which events are sent."""

    url: Annotated[
        str,
        Field(
            min_length=1,
            max_length=2000,
            description="An https URL without user and fragment. Its host must have public addresses.",
            json_schema_extra={"format": "uri"},
            examples=["https://example.org/hooks"],
        ),
    ]
    event_types: Annotated[
        list[str],
        Field(
            min_length=1,
            max_length=20,
            description="Types of events: `robot.` and `order.` of a workspace, `collection.` of an organisation.",
            json_schema_extra={"items": {"type": "string", "enum": _NAMES}},
            examples=[["robot.job.completed"]],
        ),
    ]
    description: Annotated[str, Field(max_length=rules.DESCRIPTION_CHARS, description="What it is for.")] = ""
    max_calls: Annotated[StrictInt, Field(ge=1, le=rules.MOST_CALLS, description="Requests at once.")] = 4


class RotateSecret(RequestBody):
    """For how long the former secret signs as well."""

    hours: Annotated[float, Field(ge=0, le=keys.MOST_HOURS, description="0: it is leaked, and ends now.")] = 24.0


class Endpoint(View):
    """An endpoint, without its secret. `failing_since`: the first failure since the last success."""

    id: UUID
    tenant_id: Annotated[UUID, Field(description="The workspace or organisation.")]
    url: str
    description: str
    event_types: Sequence[str]
    max_calls: int
    is_enabled: bool
    disabled_reason: Annotated[str | None, Field(description="`user`, `gone` (410) or `failing` (for days).")]
    disabled_at: datetime | None
    failing_since: datetime | None
    created_by: str
    changed_by: str | None
    created_at: datetime


class AddedEndpoint(View):
    """A new endpoint and its signing secret, which cannot be read again."""

    endpoint: Endpoint
    secret: Annotated[str, Field(examples=["whsec_..."])]


class RotatedSecret(View):
    """The new signing secret, which cannot be read again. Until `former_until` the former one signs as well."""

    endpoint_id: UUID
    secret: Annotated[str, Field(examples=["whsec_..."])]
    former_until: datetime | None


class Delivery(View):
    """An event for an endpoint. `id`: the `webhook-id`. `last_status`, `last_answer`: of the last request."""

    id: UUID
    endpoint_id: UUID
    event_id: UUID
    event_type: str
    status: Status
    attempts: int
    last_attempt_at: datetime | None
    last_status: int | None
    last_answer: str | None
    last_error: str | None
    delivered_at: datetime | None
    created_at: datetime


class DeliveryWithBody(Delivery):
    """A delivery with the body of its requests."""

    body: str


@router.post("/workspaces/{workspace_id}/webhooks", status_code=201, responses={**_ADDED, **problems_of(403, 404, 409)})
def add_to_workspace(
    workspace_id: WorkspaceId, body: AddEndpoint, connection: AsPerson, person: CurrentPerson, response: Response
) -> AddedEndpoint:
    """Register an endpoint for events of a workspace. For its admins. A repeated request adds another endpoint."""
    members.check_workspace(connection, workspace_id)
    return _add(connection, workspace_id, "workspace", body, person, response)


@router.post("/orgs/{org_id}/webhooks", status_code=201, responses={**_ADDED, **problems_of(403, 404, 409)})
def add_to_org(
    org_id: OrgId, body: AddEndpoint, connection: AsPerson, person: CurrentPerson, response: Response
) -> AddedEndpoint:
    """Register an endpoint for events of an organisation. For its admins. A repeated request adds another endpoint."""
    members.check_org(connection, org_id)
    return _add(connection, org_id, "org", body, person, response)


@router.get("/workspaces/{workspace_id}/webhooks", response_model=list[Endpoint], responses=problems_of(404))
def list_of_workspace(workspace_id: WorkspaceId, connection: AsPerson) -> Sequence[Any]:
    """List the endpoints of a workspace, oldest first."""
    members.check_workspace(connection, workspace_id)
    return endpoints.list_endpoints(Context.start(connection, workspace_id))


@router.get("/orgs/{org_id}/webhooks", response_model=list[Endpoint], responses=problems_of(404))
def list_of_org(org_id: OrgId, connection: AsPerson) -> Sequence[Any]:
    """List the endpoints of an organisation, oldest first."""
    members.check_org(connection, org_id)
    return endpoints.list_endpoints(Context.start(connection, org_id))


@router.get("/webhooks/{endpoint_id}", responses=problems_of(404))
def show_endpoint(endpoint_id: EndpointId, connection: AsPerson) -> Endpoint:
    """Show an endpoint, without its secret."""
    return Endpoint.model_validate(endpoints.show_endpoint(_context(connection, endpoint_id), endpoint_id))


@router.post("/webhooks/{endpoint_id}/enable", responses=problems_of(403, 404))
def enable_endpoint(endpoint_id: EndpointId, connection: AsPerson, person: CurrentPerson) -> Endpoint:
    """Enable an endpoint. For admins. Deliveries that died meanwhile are sent when an operator replays them."""
    context = _as_admin(connection, endpoint_id)
    return Endpoint.model_validate(endpoints.enable_endpoint(context, endpoint_id, actor=person.name))


@router.post("/webhooks/{endpoint_id}/disable", responses=problems_of(403, 404))
def disable_endpoint(endpoint_id: EndpointId, connection: AsPerson, person: CurrentPerson) -> Endpoint:
    """Disable an endpoint. For admins. It gets no further events; deliveries that wait become dead letters."""
    context = _as_admin(connection, endpoint_id)
    return Endpoint.model_validate(endpoints.disable_endpoint(context, endpoint_id, actor=person.name))


@router.post("/webhooks/{endpoint_id}/rotate", responses=problems_of(403, 404, 409))
def rotate_secret(
    endpoint_id: EndpointId, body: RotateSecret, connection: AsPerson, person: CurrentPerson
) -> RotatedSecret:
    """Make a new signing secret. For admins. Until the former one expires, requests carry both signatures."""
    done = keys.rotate(_as_admin(connection, endpoint_id), endpoint_id, actor=person.name, hours=body.hours)
    return RotatedSecret(endpoint_id=endpoint_id, secret=done.secret.get_secret_value(), former_until=done.former_until)


@router.get(
    "/webhooks/{endpoint_id}/deliveries", response_model=list[Delivery], responses={**LISTED, **problems_of(404)}
)
def list_deliveries(
    endpoint_id: EndpointId,
    connection: AsPerson,
    page: Paged,
    status: Annotated[Status | None, Query(description="Only deliveries with this status.")] = None,
    before: Annotated[UUID | None, Query(description="Continue after this delivery of the page before.")] = None,
) -> Sequence[Any]:
    """List the deliveries to an endpoint, newest first."""
    context = _context(connection, endpoint_id)
    found = deliveries.list_deliveries(
        context, endpoint_id=endpoint_id, status=status, before=before, limit=page.limit + 1
    )
    return page.of(found, "before", attrgetter("id"))


@router.get("/webhooks/{endpoint_id}/deliveries/{delivery_id}", responses=problems_of(404))
def show_delivery(endpoint_id: EndpointId, delivery_id: DeliveryId, connection: AsPerson) -> DeliveryWithBody:
    """Show a delivery with the body of its requests."""
    context = _context(connection, endpoint_id)
    return DeliveryWithBody.model_validate(deliveries.show_delivery(context, delivery_id, endpoint_id=endpoint_id))


def _add(
    connection: Connection, tenant_id: UUID, owner: Owner, body: AddEndpoint, person: Person, response: Response
) -> AddedEndpoint:
    members.check_admin(connection, tenant_id)
    added = endpoints.add_endpoint(
        Context.start(connection, tenant_id),
        owner,
        body.url,
        body.event_types,
        actor=person.name,
        description=body.description,
        max_calls=body.max_calls,
    )
    response.headers["Location"] = location("webhooks", added.endpoint.id)
    return AddedEndpoint(endpoint=Endpoint.model_validate(added.endpoint), secret=added.secret.get_secret_value())


def _context(connection: Connection, endpoint_id: UUID) -> Context:
    """Return a context of the endpoint's tenant. Raises `NotFound` for an endpoint that the person does not see."""
    return Context.start(connection, endpoints.tenant_of(connection, endpoint_id))


def _as_admin(connection: Connection, endpoint_id: UUID) -> Context:
    """Return a context of the endpoint's tenant. Raises `NotFound`, and `Forbidden` unless the person is its admin."""
    context = _context(connection, endpoint_id)
    members.check_admin(connection, context.tenant_id)
    return context
