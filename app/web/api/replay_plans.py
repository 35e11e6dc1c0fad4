"""Replay plans of a tenant's dead letters: make, list and show them, and replay them, for admins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Path, Query
from pydantic import AwareDatetime, Field, StrictBool

from app import database
from app.context import Connection, Context
from app.engine.dead_letters import of_tenant, replay
from app.engine.dead_letters import plan as plans
from app.engine.dead_letters.forecast import Class
from app.engine.dead_letters.letters import Filters
from app.tenancy import members
from app.web.access import CurrentPerson, Pool
from app.web.answers import LISTED, Paged, RequestBody, Text, View
from app.web.api.paths import EXAMPLE_ID, TenantId
from app.web.openapi import problems_of

router = APIRouter(prefix="/v1", tags=["dead letters"])

_MOST_LINES = 100
PlanId = Annotated[UUID, Path(description="The plan.", examples=[EXAMPLE_ID])]


class MakePlan(RequestBody):
    """Which unresolved letters to replay. All conditions apply; without any, all letters of the tenant."""

    type: Annotated[Text | None, Field(description="Only of this event type.")] = None
    error_class: Annotated[Text | None, Field(description="Only with this error class.")] = None
    fingerprint: Annotated[Text | None, Field(description="Only of this failure.")] = None
    since: Annotated[AwareDatetime | None, Field(description="Only failed at or after this time.")] = None
    until: Annotated[AwareDatetime | None, Field(description="Only failed before this time.")] = None
    text: Annotated[Text | None, Field(description="Only with this text in the error or the event.")] = None
    ids: Annotated[
        list[UUID] | None, Field(min_length=1, max_length=1000, description="Only these letters or events.")
    ] = None


class ReplayPlan(RequestBody):
    """How to replay a plan."""

    reason: Annotated[Text | None, Field(description="Required for more than one letter, and with `again`.")] = None
    again: Annotated[StrictBool, Field(description="Repeat calls in doubt whose other side cannot be asked.")] = False


class Plan(View):
    """A plan: a fixed set of letters with the effect of each replay."""

    id: UUID
    created_at: datetime
    created_by: str
    filters: dict[str, Any]
    items_to_change: int
    counters_to_change: int
    finished_at: datetime | None
    classes: Annotated[dict[Class, int], Field(description="Letters by class.")]


class ListedPlan(View):
    """A plan with counts of letters: all, still to be replayed, and replayed without an outcome yet."""

    id: UUID
    created_at: datetime
    created_by: str
    filters: dict[str, Any]
    letters: int
    to_replay: int
    waiting: int
    finished_at: datetime | None
    expired_at: datetime | None


class PlanLetter(View):
    """A letter of a plan. `outcome`: null while it was not replayed, or its event waits."""

    letter_id: UUID
    position: int
    event_id: UUID | None
    class_: Annotated[Class, Field(serialization_alias="class")]
    detail: str | None
    replayed_at: datetime | None
    outcome: str | None


class Replayed(View):
    """The progress of a replay, in letters. `waiting`: replayed ones whose event has not been delivered yet."""

    total: int
    replayed: int
    applied: int
    dead: int
    skipped: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Admin:
    """An admin of the tenant of a request, and the database.

    The right is checked as the person, in a transaction of its own: plans and replays take several transactions, and
    ask outside systems between them.
    """

    tenant_id: TenantId
    person: CurrentPerson
    pool: Pool

    @contextmanager
    def context(self) -> Iterator[Context]:
        """Yield a context of the tenant, outside a transaction. Raises `NotFound`, `Forbidden`."""
        with self.pool.connection() as connection:
            with database.as_person(connection, self.person.user_id):
                members.check_admin(connection, self.tenant_id)
            yield Context.start(connection, self.tenant_id)


CurrentAdmin = Annotated[Admin, Depends()]


@router.post("/tenants/{tenant_id}/replay-plans", status_code=201, responses=problems_of(403, 404))
def make_plan(admin: CurrentAdmin, body: Annotated[MakePlan, Body()] = MakePlan()) -> Plan:  # noqa: B008 - immutable
    """Make a replay plan. Asks outside systems about calls in doubt. Replays nothing."""
    with admin.context() as context:
        made = of_tenant.make_plan(context, Filters(**body.model_dump()), actor=admin.person.name)
        return _view(context.connection, made)


@router.get(
    "/tenants/{tenant_id}/replay-plans",
    response_model=list[ListedPlan],
    responses={**LISTED, **problems_of(403, 404)},
)
def list_plans(
    admin: CurrentAdmin,
    page: Paged,
    every: Annotated[bool, Query(description="List finished and expired plans too.")] = False,  # noqa: FBT002
    before: Annotated[UUID | None, Query(description="Continue after this plan of the page before.")] = None,
) -> Sequence[Any]:
    """List the plans of a tenant, newest first."""
    with admin.context() as context:
        rows = of_tenant.list_plans(context, every=every, before=before, limit=page.limit + 1)
    return page.of(rows, "before", attrgetter("id"))


@router.get("/tenants/{tenant_id}/replay-plans/{plan_id}", responses=problems_of(403, 404))
def show_plan(plan_id: PlanId, admin: CurrentAdmin) -> Plan:
    """Show a plan with the number of its letters by class."""
    with admin.context() as context:
        return _view(context.connection, of_tenant.find_plan(context, plan_id))


@router.get(
    "/tenants/{tenant_id}/replay-plans/{plan_id}/letters",
    response_model=list[PlanLetter],
    responses={**LISTED, **problems_of(403, 404)},
)
def list_plan_letters(
    plan_id: PlanId,
    admin: CurrentAdmin,
    page: Paged,
    after: Annotated[int, Query(ge=-1, le=2**31 - 1, description="Continue after this position.")] = -1,
) -> Sequence[Any]:
    """List the letters of a plan in the order of replay, with their outcomes."""
    with admin.context() as context:
        found = of_tenant.find_plan(context, plan_id)
        rows = plans.page(context.connection, found.id, after, page.limit + 1)
    return page.of(rows, "after", attrgetter("position"))


@router.post(
    "/tenants/{tenant_id}/replay-plans/{plan_id}/replay", status_code=202, responses=problems_of(403, 404, 409)
)
def replay_plan(
    plan_id: PlanId,
    admin: CurrentAdmin,
    body: Annotated[ReplayPlan, Body()] = ReplayPlan(),  # noqa: B008 - immutable
) -> Replayed:
    """Put the letters of a plan back into the queue. Does not wait for the outcomes: the plan's letters show them."""
    with admin.context() as context:
        found = of_tenant.find_plan(context, plan_id)
        context.connection.commit()
        done = replay.run(
            context.connection,
            found,
            replay.Pace(again=body.again, wait=0),
            actor=admin.person.name,
            reason=body.reason,
            show=lambda _progress: None,
        )
    counts = {name: done.outcomes[name] for name in ("applied", "dead", "skipped")}
    return Replayed(total=done.total, replayed=done.replayed, waiting=done.waiting, **counts)


def _view(connection: Connection, found: plans.Plan) -> Plan:
    classes = plans.classes(connection, found.id)
    return Plan.model_validate({**{name: getattr(found, name) for name in found.__slots__}, "classes": classes})
