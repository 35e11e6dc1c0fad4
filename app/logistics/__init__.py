"""Logistics domain: robots that enter a workspace's orders into its carriers' portals."""

from __future__ import annotations

from app.engine.registration import Domain

DOMAIN = Domain(
    name="logistics",
    schemas=("logistics",),
    parts="app.logistics.parts:PARTS",
    routers=(
        "app.web.callbacks:router",
        "app.web.api.robot_jobs:router",
        "app.web.api.orders:router",
        "app.web.api.coverage:router",
        "app.web.api.job_events:router",
    ),
    commands={
        "callbacks": "app.commands.callbacks:app",
        "carriers": "app.commands.carriers:app",
        "coverage": "app.commands.coverage:app",
        "orders": "app.commands.orders:app",
        "jobs": "app.commands.jobs:app",
    },
    fixtures="app.logistics.fixtures:FIXTURES",
)
