"""The declarations of collection for workers and operators: wiring, invariants, checkups and explainers."""

from __future__ import annotations

from app.collection import checkups, effects, explain, forecasts, handlers, invariants, page_handlers
from app.engine.domain import Lockable, Wiring
from app.engine.registration import Explainer, Parts
from events import collection

_RUNS = Wiring(
    handlers={
        collection.JobSubmitted: handlers.job_submitted,
        collection.RunPaused: handlers.place_freed,
        collection.JobCompleted: handlers.place_freed,
        collection.BudgetWarned: handlers.ignore,
        collection.PageCompleted: page_handlers.page_completed,
        collection.ItemCompleted: page_handlers.item_completed,
    },
    effects={collection.PageRequested: effects.EFFECT},
    forecasts={
        collection.JobSubmitted: forecasts.starts,
        collection.RunPaused: forecasts.starts,
        collection.JobCompleted: forecasts.starts,
        collection.PageRequested: forecasts.requests,
        collection.PageCompleted: forecasts.results,
        collection.ItemCompleted: forecasts.items,
    },
    locks=(handlers.lock,),
    lockables=(
        # Lock order: places, runs, pages, items.
        Lockable("collection", "places", handlers.place_of),
        Lockable("collection", "collection_runs", handlers.run_of),
        Lockable("collection", "collection_pages", handlers.page_of),
    ),
)

PARTS = Parts(
    wirings=(_RUNS,),
    invariants=invariants.COLLECTION,
    checkups=checkups.COLLECTION,
    explainers=(
        Explainer(
            job=explain.explain_run,
            item=explain.explain_item,
            tenant=explain.with_accounts,
            tenant_of=explain.tenant_of,
        ),
    ),
    tables=(
        "collection.collection_runs",
        "collection.collection_pages",
        "collection.collection_items",
        "collection.sellers",
    ),
)
