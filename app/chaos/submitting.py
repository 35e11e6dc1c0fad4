"""Submitting: submit a job of a `Work` until the result is known, and count its open items."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import count
from typing import Any, LiteralString
from uuid import UUID

from app.chaos.model import Submission
from app.chaos.part import Work
from app.chaos.stage import Stage
from app.context import Connection
from app.engine.batches import Batch
from app.engine.batches.statements import statement
from app.errors import DuplicateRequest

_LOOK_AGAIN_S = 0.2
_OPEN: LiteralString = """
SELECT count(*) FROM {items} i JOIN {jobs} j ON j.id = i.{job_id}
 WHERE i.{status} IN ({pending}, {processing}) AND j.{tenant} = ANY(%s)
"""
_numbers = count(1)


def new_key(actor: str) -> str:
    """Return an idempotency key that no other submission of the run has."""
    return f"{actor}-{next(_numbers)}"


def open_items(connection: Connection, batch: Batch[Any, Any], tenants: Sequence[UUID]) -> int:
    """Return the number of items of these tenants without a result."""
    row = connection.execute(statement(batch, _OPEN), [list(tenants)]).fetchone()
    return int(row[0]) if row else 0


def submit(stage: Stage, work: Work, submission: Submission) -> UUID:
    """Submit in a separate transaction, again after an error of `work.later`. Returns the id of the key's job."""
    while True:
        try:
            with stage.connect() as connection, connection.transaction():
                return work.create(connection, submission)
        except DuplicateRequest as known:
            return known.job_id
        except work.later:
            time.sleep(_LOOK_AGAIN_S)
