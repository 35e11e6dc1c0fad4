"""Tenancy domain: organisations and their workspaces."""

from __future__ import annotations

from app.engine.registration import Domain, Parts

DOMAIN = Domain(
    name="tenancy",
    schemas=("tenancy",),
    parts=Parts(tables=("tenancy.workspaces",)),
    commands={"workspaces": "app.commands.workspaces:app", "orgs": "app.commands.orgs:app"},
    fixtures="app.tenancy.fixtures:FIXTURES",
)
