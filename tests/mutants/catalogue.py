"""All mutants, in the order of their numbers."""

from __future__ import annotations

from tests.mutants import (
    collection_runs,
    decisions,
    delivery,
    effects,
    fairness,
    imports,
    joining,
    logistics,
    messages,
    metrics,
    queue,
    schema,
    signed_requests,
    streams,
    webhooks,
)

MUTANTS = (
    *decisions.MUTANTS,
    *queue.MUTANTS,
    *imports.MUTANTS,
    *logistics.MUTANTS,
    *schema.MUTANTS,
    *delivery.MUTANTS,
    *effects.MUTANTS,
    *joining.MUTANTS,
    *fairness.MUTANTS,
    *collection_runs.MUTANTS,
    *messages.MUTANTS,
    *streams.MUTANTS,
    *metrics.MUTANTS,
    *webhooks.MUTANTS,
    *signed_requests.MUTANTS,
)
