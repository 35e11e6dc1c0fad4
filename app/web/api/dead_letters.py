"""Dead letters of a tenant: list and show them, for admins of the workspace or organisation."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query

from app import database
from app.context import Context
from app.engine.dead_letters import of_tenant
from app.tenancy import members
from app.web.access import AsPerson
from app.web.answers import LISTED, Paged, Text, View
from app.web.api.paths import TenantId
from app.web.openapi import problems_of

router = APIRouter(prefix="/v1", tags=["dead letters"])


class DeadLetter(View):
    """An event that is not tried again until an admin replays it. `history`: its earlier failures, oldest first."""

    id: UUID
    job_type: str
    event_id: UUID | None
    event_data: Any
    error_class: str | None
    error_message: str
    fingerprint: str | None
    retry_count: int
    failed_at: datetime
    resolved_at: datetime | None
    notes: str | None
    replay_count: int
    replayed_at: datetime | None
    replaced_by: UUID | None
    history: list[dict[str, Any]]


@router.get(
    "/tenants/{tenant_id}/dead-letters",
    response_model=list[DeadLetter],
    responses={**LISTED, **problems_of(403, 404)},
)
def list_letters(  # noqa: PLR0913, PLR0917 - the filters of the request
    tenant_id: TenantId,
    connection: AsPerson,
    page: Paged,
    type: Annotated[Text | None, Query(description="Only of this event type.")] = None,  # noqa: A002 - its name
    fingerprint: Annotated[Text | None, Query(description="Only of this failure.")] = None,
    resolved: Annotated[bool, Query(description="List resolved letters instead.")] = False,  # noqa: FBT002
    before: Annotated[UUID | None, Query(description="Continue after this letter of the page before.")] = None,
) -> Sequence[Any]:
    """List dead letters, newest first."""
    members.check_admin(connection, tenant_id)
    context = Context.start(connection, tenant_id)
    with database.on_behalf(connection):
        rows = of_tenant.list_letters(
            context, type_=type, fingerprint=fingerprint, resolved=resolved, before=before, limit=page.limit + 1
        )
    return page.of(rows, "before", attrgetter("id"))


@router.get("/tenants/{tenant_id}/dead-letters/{letter_id}", responses=problems_of(403, 404))
def show_letter(
    tenant_id: TenantId,
    letter_id: Annotated[UUID, Path(description="The letter, or its event.")],
    connection: AsPerson,
) -> DeadLetter:
    """Show a dead letter."""
    members.check_admin(connection, tenant_id)
    with database.on_behalf(connection):
        return DeadLetter.model_validate(of_tenant.find_letter(Context.start(connection, tenant_id), letter_id))
