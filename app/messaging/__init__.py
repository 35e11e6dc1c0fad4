"""Messaging domain: direct and group messages that become jobs, and the people who send them."""

from __future__ import annotations

from app.engine.registration import Domain

DOMAIN = Domain(
    name="messaging",
    schemas=("messaging",),
    parts="app.messaging.parts:PARTS",
    routers=("app.web.webhooks.twilio:router",),
    commands={"messages": "app.commands.messages:app"},
    fixtures="app.messaging.fixtures:FIXTURES",
)
