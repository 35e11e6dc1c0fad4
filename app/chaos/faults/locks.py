"""Locks of the rows of jobs and items in another session."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, LiteralString

from app.chaos.fault_context import Done, FaultContext
from app.chaos.faults.holding import HOLD_S, hold, hold_long
from app.chaos.part import Harm
from app.engine.batches import Batch
from app.engine.batches.statements import statement

_JOB: LiteralString = """
SELECT id FROM {jobs} WHERE status = 'processing' ORDER BY random() LIMIT 1 FOR UPDATE SKIP LOCKED
"""
_ITEM: LiteralString = """
SELECT id FROM {items} WHERE {status} IN ({pending}, {processing}) ORDER BY random() LIMIT 1 FOR UPDATE SKIP LOCKED
"""


class Locks:
    """The faults that lock rows of a batch."""

    def __init__(self, batch: Batch[Any, Any]) -> None:
        self._batch = batch

    @property
    def faults(self) -> Mapping[Harm, int]:
        """Return the copies of each fault in a deck."""
        return {self.lock_job: 2, self.lock_job_for_long: 1, self.lock_item_for_long: 1}

    def lock_job(self, fault_context: FaultContext) -> Done | None:
        """Lock the row of a running job in another session."""
        return hold(fault_context, statement(self._batch, _JOB), "job", fault_context.dice.uniform(*HOLD_S))

    def lock_job_for_long(self, fault_context: FaultContext) -> Done | None:
        """Lock the row of a running job for up to 30 s: its results wait, those of other jobs do not."""
        return hold_long(fault_context, statement(self._batch, _JOB), "job")

    def lock_item_for_long(self, fault_context: FaultContext) -> Done | None:
        """Lock the row of an open item for up to 30 s."""
        return hold_long(fault_context, statement(self._batch, _ITEM), "item")
