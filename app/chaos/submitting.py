"""Submitting: create random orders, and submit a job until the result is known."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from itertools import count
from uuid import UUID

from app.chaos.model import Submission
from app.chaos.stage import CARRIER, Stage
from app.context import Connection, Context
from app.errors import DuplicateRequest
from app.logistics.jobs import create_robot_job
from app.logistics.orders import OrderRow, import_orders
from app.logistics.submit import CarrierDisabled

_LOOK_AGAIN_S = 0.2
_ADDRESSES = ("Calle", "Vereda", "Torre", "Bodega", "Glorieta", "Pasaje")
_HOW_OFTEN_EACH_ADDRESS = (180, 6, 4, 1, 3, 3)
_CITIES = (("Bogotá", "Cundinamarca"), ("Medellín", "Antioquia"), ("Mitú", "Vaupés"))
_HOW_OFTEN_EACH_CITY = (50, 30, 2)
_OPEN = """
SELECT count(*) FROM logistics.robot_job_items i JOIN logistics.robot_jobs j ON j.id = i.job_id
 WHERE i.status IN ('pending', 'processing') AND j.workspace_id = ANY(%s)
"""
_numbers = count(1)


def orders(size: int, dice: random.Random) -> list[OrderRow]:
    """Return `size` new orders. The portal or the coverage refuses some."""
    return [
        order(dice.choices(_ADDRESSES, _HOW_OFTEN_EACH_ADDRESS)[0], *dice.choices(_CITIES, _HOW_OFTEN_EACH_CITY)[0])
        for _ in range(size)
    ]


def order(street: str, city: str = "Bogotá", department: str = "Cundinamarca") -> OrderRow:
    """Return a new order. The portal's rules match the street."""
    number = next(_numbers)
    return OrderRow(
        reference=f"C-{number:06}",
        recipient_name="Ana Pérez",
        recipient_document=str(1_000_000_000 + number),
        address=f"{street} {number % 97} # 2-3",
        city=city,
        department=department,
    )


def open_items(connection: Connection, workspaces: Sequence[UUID]) -> int:
    """Return the number of items of these workspaces without a result."""
    row = connection.execute(_OPEN, [list(workspaces)]).fetchone()
    return int(row[0]) if row else 0


def submit(stage: Stage, submission: Submission, rows: Sequence[OrderRow]) -> UUID:
    """Submit in a separate transaction, once the carrier is enabled. Returns the id of the key's job."""
    while True:
        try:
            with stage.connect() as connection, connection.transaction():
                return create(connection, submission, rows)
        except DuplicateRequest as known:
            return known.job_id
        except CarrierDisabled:
            time.sleep(_LOOK_AGAIN_S)


def create(connection: Connection, submission: Submission, rows: Sequence[OrderRow]) -> UUID:
    """Import the orders and submit them in the caller's transaction. Returns the job's id."""
    context = Context.start(connection, submission.workspace_id)
    order_ids = import_orders(context, rows).order_ids
    return create_robot_job(context, order_ids, carrier=CARRIER, idempotency_key=submission.key).id
