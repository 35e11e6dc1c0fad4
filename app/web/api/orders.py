"""Orders of a workspace: import and list them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query

from app import database
from app.context import Context
from app.logistics import orders
from app.logistics.files import read_csv
from app.logistics.order import OrderRow, OrderStatus
from app.tenancy import members
from app.web.access import AsPerson, CurrentPerson
from app.web.answers import LISTED, Paged, View
from app.web.api.paths import WorkspaceId
from app.web.openapi import problems_of
from app.web.uploads import NAME, CsvFile, SkipBad, body

router = APIRouter(prefix="/v1", tags=["orders"])

_EXAMPLE = "reference,recipient_name,address,city\nA-1001,Ana Pérez,Calle 1 # 2-3,Medellín\n"


class Order(View):
    """An order of a workspace."""

    id: UUID
    workspace_id: UUID
    reference: str
    recipient_name: str
    recipient_document: str | None
    recipient_phone: str | None
    recipient_email: str | None
    address: str
    city: str
    department: str | None
    units: int
    weight_kg: Decimal
    declared_value_cents: int
    collect_on_delivery_cents: int
    tracking_number: str | None
    status: OrderStatus
    created_at: datetime
    updated_at: datetime


class ImportedOrders(View):
    """The result of an import: the orders of the file in its order, and counts of new, existing and invalid rows."""

    order_ids: list[UUID]
    created: int
    existing: int
    bad: int
    problems: list[str]


@router.post(
    "/workspaces/{workspace_id}/orders/import", responses=problems_of(403, 404, 415), openapi_extra=body(_EXAMPLE)
)
def import_orders(
    workspace_id: WorkspaceId,
    _person: CurrentPerson,
    file: CsvFile,
    connection: AsPerson,
    skip_bad: SkipBad = False,  # noqa: FBT002 - a parameter of the request
) -> ImportedOrders:
    """Import orders from a CSV file: all rows or none. Orders with an existing reference are not changed.

    Columns: reference, recipient_name, address, city. Optional: recipient_document, recipient_phone, recipient_email,
    department, units, weight_kg, declared_value_cents, collect_on_delivery_cents.
    """
    members.check_workspace(connection, workspace_id)
    rows = read_csv(file, OrderRow, unique=("reference",), skip_bad=skip_bad, name=NAME)
    with database.on_behalf(connection):
        done = orders.import_orders(Context.start(connection, workspace_id), rows)
    counts = {"created": done.created, "existing": done.existing, "bad": rows.bad, "problems": rows.problems}
    return ImportedOrders.model_validate({"order_ids": done.order_ids, **counts})


@router.get("/workspaces/{workspace_id}/orders", response_model=list[Order], responses={**LISTED, **problems_of(404)})
def list_orders(
    workspace_id: WorkspaceId,
    connection: AsPerson,
    page: Paged,
    status: Annotated[OrderStatus | None, Query(description="Only orders with this status.")] = None,
    after: Annotated[UUID | None, Query(description="Continue after this order of the page before.")] = None,
) -> Sequence[Any]:
    """List the orders of a workspace, oldest first."""
    members.check_workspace(connection, workspace_id)
    context = Context.start(connection, workspace_id)
    rows = orders.list_orders(context, status=status, after=after, limit=page.limit + 1)
    return page.of(rows, "after", attrgetter("id"))
