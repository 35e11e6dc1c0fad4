"""Build the wiring of a batch."""

from __future__ import annotations

from typing import Any

from app.engine.batches import effects, forecasts, handlers
from app.engine.batches.tables import Batch
from app.engine.domain import Effect, Lockable, Wiring


def wiring(batch: Batch[Any, Any], effect: Effect) -> Wiring:
    """Return the wiring of a batch: handlers, forecasts, locks, and `effect` for its requests."""
    return Wiring(
        handlers={
            batch.submitted: lambda context, events: handlers.job_submitted(context, batch, events),
            batch.completed: lambda context, events: handlers.item_completed(context, batch, events),
            batch.job_completed: handlers.ignore,
        },
        effects={batch.requested: effects.serve(batch, effect)},
        forecasts={
            batch.submitted: lambda connection, events: forecasts.submissions(connection, batch, events),
            batch.requested: lambda connection, events: forecasts.requests(connection, batch, events),
            batch.completed: lambda connection, events: forecasts.results(connection, batch, events),
        },
        locks=(lambda connection, events: handlers.lock_jobs(connection, batch, events),),
        lockables=(
            Lockable(batch.schema, batch.jobs, lambda event: handlers.job_of(batch, event)),
            Lockable(batch.schema, batch.items, lambda event: handlers.item_of(batch, event)),
        ),
    )
