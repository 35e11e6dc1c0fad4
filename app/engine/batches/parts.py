"""Build the `Parts` of a domain that consists of one batch."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from psycopg.rows import scalar_row

from app.context import Connection
from app.engine.batches import checks, explainers
from app.engine.batches.rows import ItemT, JobT
from app.engine.batches.statements import statement
from app.engine.batches.tables import Batch
from app.engine.batches.wiring import wiring
from app.engine.domain import Effect
from app.engine.registration import Explainer, Parts

_TENANT = """
SELECT {tenant} FROM {jobs} WHERE id = %(id)s OR id = (SELECT {job_id} FROM {items} WHERE id = %(id)s)
"""


def parts(batch: Batch[JobT, ItemT], effect: Effect, own: explainers.OwnReasons[JobT, ItemT] | None = None) -> Parts:
    """Return the `Parts` of a domain with one batch: wiring, invariants, checkups, explainers and tables.

    `own`: the domain's own reasons for `explain`.
    """
    return Parts(
        wirings=(wiring(batch, effect),),
        invariants=checks.invariants(batch),
        checkups=checks.checkups(batch),
        explainers=(
            Explainer(
                job=lambda connection, job_id: explainers.explain_job(connection, batch, job_id, own),
                item=lambda connection, item_id: explainers.explain_item(connection, batch, item_id, own),
                tenant_of=partial(tenant_of, batch=batch),
            ),
        ),
        tables=(batch.table, f"{batch.schema}.{batch.items}"),
    )


def tenant_of(connection: Connection, id_: UUID, batch: Batch[JobT, ItemT]) -> UUID | None:
    """Return the tenant of the job or item with this id; None if there is neither."""
    cursor = connection.cursor(row_factory=scalar_row)
    found: UUID | None = cursor.execute(statement(batch, _TENANT), {"id": id_}).fetchone()
    return found
