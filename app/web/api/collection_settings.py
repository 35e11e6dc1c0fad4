"""Settings of an organisation's collection runs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field, StrictInt

from app.collection import settings
from app.collection.rules import MOST_CENTS, MOST_RUNS
from app.context import Context
from app.tenancy import members
from app.web.access import AsPerson
from app.web.answers import RequestBody, View
from app.web.api.paths import OrgId
from app.web.openapi import problems_of

router = APIRouter(prefix="/v1", tags=["runs"])


class ChangeSettings(RequestBody):
    """Settings to change. The others stay as they are."""

    budget_cap_cents: Annotated[
        Annotated[StrictInt, Field(ge=0, le=MOST_CENTS)] | None, Field(description="Cap of a run, in cents.")
    ] = None
    soft_warning_percent: Annotated[
        Annotated[StrictInt, Field(ge=1, le=100)] | None, Field(description="Part of the cap at which to warn.")
    ] = None
    max_concurrent_runs: Annotated[
        Annotated[StrictInt, Field(ge=1, le=MOST_RUNS)] | None, Field(description="Runs that may run at once.")
    ] = None


class Settings(View):
    """An organisation's settings. `updated_at`: null if nothing is set, and these are the defaults."""

    budget_cap_cents: int
    soft_warning_percent: int
    max_concurrent_runs: int
    updated_at: datetime | None


class ChangedSettings(View):
    """The settings after a change, the runs that it paused, and those that it woke."""

    settings: Settings
    paused: list[UUID]
    woken: list[UUID]


@router.get("/orgs/{org_id}/collection-settings", responses=problems_of(404))
def show_settings(org_id: OrgId, connection: AsPerson) -> Settings:
    """Show the settings of an organisation's runs."""
    members.check_org(connection, org_id)
    return Settings.model_validate(settings.get_settings(Context.start(connection, org_id)))


@router.patch("/orgs/{org_id}/collection-settings", responses=problems_of(403, 404))
def change_settings(org_id: OrgId, body: ChangeSettings, connection: AsPerson) -> ChangedSettings:
    """Change settings and, in the same commit, the runs that they concern. For admins of the organisation."""
    members.check_org(connection, org_id)
    members.check_admin(connection, org_id)
    changed = settings.set_settings_as_admin(Context.start(connection, org_id), **body.model_dump())
    return ChangedSettings.model_validate(changed)
