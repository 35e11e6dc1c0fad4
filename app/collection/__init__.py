"""Collection domain: products and sellers from paid APIs, under a budget that cannot be overspent."""

from __future__ import annotations

from app.engine.registration import Domain

DOMAIN = Domain(
    name="collection",
    schemas=("collection",),
    parts="app.collection.parts:PARTS",
    commands={
        "runs": "app.commands.runs:app",
        "settings": "app.commands.settings:app",
        "marketplaces": "app.commands.marketplaces:app",
        "sellers": "app.commands.sellers:app",
    },
    routers=("app.web.api.runs:router", "app.web.api.collection_settings:router", "app.web.api.run_events:router"),
    fixtures="app.collection.fixtures:FIXTURES",
)
