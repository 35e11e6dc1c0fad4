"""The declarations of collection for workers and operators: wiring, invariants, checkups and explainers."""

from __future__ import annotations

from app.collection import effects, handlers, page_handlers
from app.engine.domain import Lockable, Wiring
from app.engine.registration import Parts
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
    locks=(handlers.lock,),
    lockables=(
        Lockable("collection", "places", handlers.place_of),
        Lockable("collection", "collection_runs", handlers.settled_run),
    ),
)

PARTS = Parts(wirings=(_RUNS,), tables=("collection.collection_runs",))
