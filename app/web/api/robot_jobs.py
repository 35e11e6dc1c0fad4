"""Robot jobs: submit, list, show, retry and cancel them, and list their items."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Query, Response
from pydantic import Field, StrictBool

from app import database
from app.context import Connection, Context
from app.engine.batches.rules import ItemWord, JobStatus
from app.errors import DuplicateRequest
from app.logistics import jobs
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
from app.web.api.paths import EXAMPLE_ID, IdempotencyKey, JobId, WorkspaceId
from app.web.openapi import CREATED, problems_of

router = APIRouter(prefix="/v1", tags=["jobs"])


class SubmitJob(RequestBody):
    """Orders to ship with one carrier."""

    order_ids: Annotated[
        list[UUID],
        Field(
            min_length=1,
            max_length=100_000,
            description="Orders of the workspace, each once.",
            json_schema_extra={"uniqueItems": True},
            examples=[[EXAMPLE_ID]],
        ),
    ]
    carrier: Annotated[
        str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$", description="An enabled carrier of the workspace.")
    ] = "coordinadora"
    again: Annotated[
        StrictBool, Field(description="Also ship orders that are shipped or in an open job; false: refuse them.")
    ] = True


class RetryJob(RequestBody):
    """The items to request again."""

    item_ids: Annotated[
        list[UUID] | None,
        Field(min_length=1, max_length=100_000, description="Failed items of the job. Default: all of them."),
    ] = None


class CancelJob(RequestBody):
    """Why a job is cancelled."""

    reason: Annotated[Text, Field(description="The reason, for the audit log.", examples=["wrong file"])]
    dry_run: Annotated[StrictBool, Field(description="Only count what would happen; change nothing.")] = False


class SubmittedJob(View):
    """A submitted job: what never changes of it, so that a repeated request gets the same answer."""

    id: UUID
    workspace_id: UUID
    carrier: str
    total_items: int
    idempotency_key: str
    created_at: datetime


class Job(View):
    """A robot job: a batch of orders for one carrier."""

    id: UUID
    workspace_id: UUID
    carrier: str
    status: JobStatus
    total_items: int
    success_count: int
    error_count: int
    generation: Annotated[int, Field(description="1, and one more for each retry of failed items.")]
    idempotency_key: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    updated_at: datetime


class JobWithErrors(Job):
    """A robot job, and its failed items by type of error."""

    errors: Annotated[dict[str, int], Field(description="Failed items by type of error.", examples=[{"portal": 3}])]


class Item(View):
    """An item of a job: one order. `value_sent`: the values that the robot entered."""

    id: UUID
    job_id: UUID
    order_id: UUID
    order_reference: str
    status: ItemWord
    tracking_number: str | None
    validated_city: str | None
    value_sent: dict[str, Any] | None
    error_type: str | None
    error_message: str | None
    retry_count: int
    last_retry_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None


class RetriedJob(View):
    """A job after a retry. `items`: the number of items that were requested again."""

    job: Job
    items: int


class CancelledJob(View):
    """A cancelled job, and counts: items failed now, items whose call has begun, dead letters resolved."""

    job: Job
    failed: int
    in_hand: int
    letters: int


@router.post(
    "/workspaces/{workspace_id}/jobs",
    status_code=201,
    responses={**CREATED, **problems_of(404, 409)},
)
def submit_job(
    workspace_id: WorkspaceId, body: SubmitJob, key: IdempotencyKey, connection: AsPerson, response: Response
) -> SubmittedJob:
    """Submit orders as one job. The same key with the same body returns the first answer, with another body 409."""
    members.check_workspace(connection, workspace_id)
    context = Context.start(connection, workspace_id)
    try:
        with database.on_behalf(connection):
            job_id = jobs.create_robot_job(
                context, body.order_ids, carrier=body.carrier, idempotency_key=key, again=body.again
            ).id
    except DuplicateRequest as error:
        job_id = error.job_id
        response.headers["Idempotency-Replayed"] = "true"
    response.headers["Location"] = location("jobs", job_id)
    return SubmittedJob.model_validate(jobs.get_robot_job(context, job_id))


@router.get("/workspaces/{workspace_id}/jobs", response_model=list[Job], responses={**LISTED, **problems_of(404)})
def list_jobs(
    workspace_id: WorkspaceId,
    connection: AsPerson,
    page: Paged,
    status: Annotated[JobStatus | None, Query(description="Only jobs with this status.")] = None,
    before: Annotated[UUID | None, Query(description="Continue after this job of the page before.")] = None,
) -> Sequence[Any]:
    """List the jobs of a workspace, newest first."""
    members.check_workspace(connection, workspace_id)
    context = Context.start(connection, workspace_id)
    found = jobs.list_jobs(context, status=status, before=before, limit=page.limit + 1)
    return page.of(found, "before", attrgetter("id"))


@router.get(
    "/jobs/{job_id}",
    response_model=JobWithErrors,
    responses={**READ, **problems_of(404)},
)
def show_job(job_id: JobId, connection: AsPerson, if_none_match: IfNoneMatch = None) -> Response:
    """Show a job with its counters. With `If-None-Match`: 304 while it is unchanged."""
    page = jobs.get_job_with_items(_context(connection, job_id), job_id, limit=1)
    view = JobWithErrors.model_validate({**Job.model_validate(page.job).model_dump(), "errors": page.errors})
    return conditional(view, if_none_match)


@router.get("/jobs/{job_id}/items", response_model=list[Item], responses={**LISTED, **problems_of(404)})
def list_items(
    job_id: JobId,
    connection: AsPerson,
    page: Paged,
    status: Annotated[ItemWord | None, Query(description="Only items with this status.")] = None,
    after: Annotated[UUID | None, Query(description="Continue after this item of the page before.")] = None,
) -> Sequence[Any]:
    """List the items of a job, in a fixed order."""
    context = _context(connection, job_id)
    found = jobs.get_job_with_items(context, job_id, status=status, after=after, limit=page.limit + 1)
    return page.of(found.items, "after", attrgetter("id"))


@router.post("/jobs/{job_id}/retry", responses=problems_of(404, 409))
def retry_job(job_id: JobId, connection: AsPerson, body: Annotated[RetryJob, Body()] = RetryJob()) -> RetriedJob:  # noqa: B008 - immutable
    """Request failed items again. The job begins its next generation, and completes once more."""
    context = _context(connection, job_id)
    with database.on_behalf(connection):
        done = jobs.retry_failed_items(context, job_id, body.item_ids)
    return RetriedJob.model_validate(done)


@router.post("/jobs/{job_id}/cancel", responses=problems_of(404, 409))
def cancel_job(job_id: JobId, body: CancelJob, connection: AsPerson, person: CurrentPerson) -> CancelledJob:
    """Cancel a job that has not ended: fail items that no robot has begun, and allow no further calls."""
    context = _context(connection, job_id)
    with database.on_behalf(connection):
        done = jobs.cancel_job(context, job_id, actor=person.name, reason=body.reason, dry_run=body.dry_run)
    return CancelledJob.model_validate(done)


def _context(connection: Connection, job_id: UUID) -> Context:
    """Return a context of the job's workspace. Raises `NotFound` for a job that the person does not see."""
    return Context.start(connection, jobs.workspace_of(connection, job_id))
