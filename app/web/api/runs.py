"""Collection runs: create, list, show, pause, resume and cancel them, and list their items."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Body, Query, Response
from pydantic import Field, StrictBool, StrictInt

from app import database
from app.collection import found, runs
from app.collection.rules import MOST_CATEGORIES, MOST_CENTS, MOST_PAGES, MOST_UNWANTED, CategoryPlan, RunStatus
from app.context import Connection, Context
from app.errors import DuplicateRequest
from app.tenancy import members
from app.web.access import AsPerson, CurrentPerson
from app.web.answers import (
    LISTED,
    READ,
    IfNoneMatch,
    Paged,
    RequestBody,
    Text,
    View,
    conditional,
    location,
)
from app.web.api.paths import IdempotencyKey, OrgId, RunId
from app.web.openapi import CREATED, problems_of

router = APIRouter(prefix="/v1", tags=["runs"])

Cents = Annotated[StrictInt, Field(ge=0, le=MOST_CENTS)]
Name = Annotated[Text, Field(max_length=200)]


class Category(RequestBody):
    """A category to collect: the expected number of its pages, and the price of one page in cents."""

    category_id: Name
    pages: Annotated[StrictInt, Field(ge=0, le=MOST_PAGES)]
    price_cents: Cents

    def plan(self) -> CategoryPlan:
        """Return the category as the domain has it."""
        return CategoryPlan(self.category_id, self.pages, self.price_cents)


class CreateRun(RequestBody):
    """What to collect, and for how much."""

    marketplace: Annotated[
        str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,59}$", description="A marketplace with an enabled account.")
    ]
    categories: Annotated[list[Category], Field(min_length=1, max_length=MOST_CATEGORIES)]
    name: Annotated[Name | None, Field(description="Default: the date and the first categories.")] = None
    cap_cents: Annotated[Cents | None, Field(description="The run's own cap. Default: the organisation's.")] = None
    allow_over_cap: Annotated[
        StrictBool, Field(description="Accept an estimate above the cap. The run pauses at the cap.")
    ] = False
    unwanted: Annotated[
        list[Name],
        Field(default_factory=list, max_length=MOST_UNWANTED, description="Ids of items and names of sellers to skip."),
    ]


class ChangeRun(RequestBody):
    """Why a run is changed."""

    reason: Annotated[Text | None, Field(description="The reason, for the audit log.")] = None


class CreatedRun(View):
    """A created run: what never changes of it, so that a repeated request gets the same answer."""

    id: UUID
    org_id: UUID
    name: str
    marketplace: str
    category_ids: list[str]
    estimated_cost_cents: int
    idempotency_key: str
    created_by: UUID
    created_at: datetime


class Run(View):
    """A collection run. Amounts are in cents. `checkpoint` and `estimate` are by category."""

    id: UUID
    org_id: UUID
    name: str
    marketplace: str
    status: RunStatus
    pause_reason: str | None
    estimated_cost_cents: int
    actual_cost_cents: int
    reserved_cost_cents: int
    overrun_cents: int
    budget_cap_cents: int
    cap_override_cents: int | None
    total_items: int
    processed_items: int
    failed_items: int
    category_ids: list[str]
    checkpoint: dict[str, Any]
    estimate: dict[str, dict[str, int]]
    unwanted: list[str]
    error_code: str | None
    error_message: str | None
    changed_by: str | None
    idempotency_key: str | None
    created_by: UUID
    created_at: datetime
    started_at: datetime | None
    paused_at: datetime | None
    completed_at: datetime | None
    updated_at: datetime


class FoundItem(View):
    """A product or seller that a run found. `cost_cents`: its part of its page's cost."""

    id: UUID
    marketplace: str
    item_type: str
    external_id: str
    status: str
    data: dict[str, Any] | None
    error_code: str | None
    error_message: str | None
    cost_cents: int
    attempt: int
    created_at: datetime
    completed_at: datetime | None


@router.post("/orgs/{org_id}/runs", status_code=201, responses={**CREATED, **problems_of(404, 409)})
def create_run(
    org_id: OrgId,
    body: CreateRun,
    key: IdempotencyKey,
    connection: AsPerson,
    person: CurrentPerson,
    response: Response,
) -> CreatedRun:
    """Create a run. It starts when fewer runs of the organisation are running than allowed."""
    members.check_org(connection, org_id)
    context = Context.start(connection, org_id)
    try:
        with database.on_behalf(connection):
            run_id = runs.create_run(
                context,
                marketplace=body.marketplace,
                categories=[one.plan() for one in body.categories],
                created_by=person.user_id,
                name=body.name,
                idempotency_key=key,
                cap_cents=body.cap_cents,
                allow_over_cap=body.allow_over_cap,
                unwanted=body.unwanted,
            ).id
    except DuplicateRequest as error:
        run_id = error.job_id
        response.headers["Idempotency-Replayed"] = "true"
    response.headers["Location"] = location("runs", run_id)
    return CreatedRun.model_validate(runs.get_run(context, run_id))


@router.get("/orgs/{org_id}/runs", response_model=list[Run], responses={**LISTED, **problems_of(404)})
def list_runs(
    org_id: OrgId,
    connection: AsPerson,
    page: Paged,
    status: Annotated[RunStatus | None, Query(description="Only runs with this status.")] = None,
    before: Annotated[UUID | None, Query(description="Continue after this run of the page before.")] = None,
) -> Sequence[Any]:
    """List the runs of an organisation, newest first."""
    members.check_org(connection, org_id)
    context = Context.start(connection, org_id)
    rows = runs.list_runs(context, status=status, before=before, limit=page.limit + 1)
    return page.of(rows, "before", attrgetter("id"))


@router.get("/runs/{run_id}", response_model=Run, responses={**READ, **problems_of(404)})
def show_run(run_id: RunId, connection: AsPerson, if_none_match: IfNoneMatch = None) -> Response:
    """Show a run with its counters and costs. With `If-None-Match`: 304 while it is unchanged."""
    return conditional(Run.model_validate(runs.get_run(_context(connection, run_id), run_id)), if_none_match)


@router.get("/runs/{run_id}/items", response_model=list[FoundItem], responses={**LISTED, **problems_of(404)})
def list_found(
    run_id: RunId,
    connection: AsPerson,
    page: Paged,
    status: Annotated[
        Literal["pending", "processing", "completed", "failed", "skipped"] | None,
        Query(description="Only items with this status."),
    ] = None,
    after: Annotated[UUID | None, Query(description="Continue after this item of the page before.")] = None,
) -> Sequence[Any]:
    """List the products and sellers that a run found."""
    context = _context(connection, run_id)
    rows = found.list_items(context, run_id, status=status, after=after, limit=page.limit + 1)
    return page.of(rows, "after", attrgetter("id"))


Change = Annotated[ChangeRun, Body()]
_UNEXPLAINED = ChangeRun()


@router.post("/runs/{run_id}/pause", responses=problems_of(404, 409))
def pause_run(run_id: RunId, connection: AsPerson, person: CurrentPerson, body: Change = _UNEXPLAINED) -> Run:
    """Pause a run until it is resumed. Calls that have begun are finished and booked."""
    context = _context(connection, run_id)
    with database.on_behalf(connection):
        return Run.model_validate(runs.pause_run(context, run_id, actor=person.name, reason=body.reason))


@router.post("/runs/{run_id}/resume", responses=problems_of(404, 409))
def resume_run(run_id: RunId, connection: AsPerson, person: CurrentPerson, body: Change = _UNEXPLAINED) -> Run:
    """Let a paused run continue from its checkpoint when a place is free."""
    context = _context(connection, run_id)
    with database.on_behalf(connection):
        return Run.model_validate(runs.resume_run(context, run_id, actor=person.name, reason=body.reason))


@router.post("/runs/{run_id}/cancel", responses=problems_of(404, 409))
def cancel_run(run_id: RunId, connection: AsPerson, person: CurrentPerson, body: Change = _UNEXPLAINED) -> Run:
    """End a run: no further call begins, and the items so far are kept."""
    context = _context(connection, run_id)
    with database.on_behalf(connection):
        return Run.model_validate(runs.cancel_run(context, run_id, actor=person.name, reason=body.reason))


def _context(connection: Connection, run_id: UUID) -> Context:
    """Return a context of the run's organisation. Raises `NotFound` for a run that the person does not see."""
    return Context.start(connection, runs.org_of(connection, run_id))
