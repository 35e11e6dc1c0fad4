"""All mutants, in the order of their numbers."""

from __future__ import annotations

from tests.mutants import decisions, delivery, effects, fairness, imports, logistics, queue, schema

MUTANTS = (
    *decisions.MUTANTS,
    *queue.MUTANTS,
    *imports.MUTANTS,
    *logistics.MUTANTS,
    *schema.MUTANTS,
    *delivery.MUTANTS,
    *effects.MUTANTS,
    *fairness.MUTANTS,
)
