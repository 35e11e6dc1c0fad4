"""Webhooks domain: signed requests to endpoints that a tenant registers for types of its events."""

from __future__ import annotations

from app.engine.registration import Domain

DOMAIN = Domain(
    name="webhooks",
    schemas=("webhooks",),
    parts="app.webhooks.parts:PARTS",
    commands={"webhooks": "app.commands.webhooks:app"},
    routers=("app.web.api.webhooks:router",),
    fixtures="app.webhooks.fixtures:FIXTURES",
)
