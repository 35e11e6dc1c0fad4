"""A workspace with an account at a portal, and pending orders."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import LiteralString
from uuid import UUID

from psycopg import sql
from psycopg.rows import scalar_row
from pydantic import SecretStr

from app.bench.temporary_database import TemporaryDatabase
from app.context import Connection, Context
from app.logistics import carriers, coverage
from app.logistics.coverage import CoverageRow
from app.settings import using
from app.tenancy import store as tenancy
from events import new_id

CARRIER = "coordinadora"
CITY = "BOGOTA (C/MARCA)"
"""The only city with coverage, in the carrier's spelling."""
USERNAME, PASSWORD = "demo", "demo-password"
"""Credentials of the simulated portal."""
SESSIONS = 16
"""Concurrent calls that the account allows: those of two workers with one batch each."""

_EMPTY = sql.SQL(
    "TRUNCATE logistics.robot_job_items, logistics.robot_jobs, logistics.orders, engine.event_log, engine.failed_jobs,"
    " engine.calls, engine.slots, engine.parked, engine.delayed, engine.rescues, engine.event_rescues, engine.rests,"
    " public.procrastinate_jobs RESTART IDENTITY CASCADE"
)
_ORDERS: LiteralString = """
INSERT INTO logistics.orders
       (id, workspace_id, reference, recipient_name, recipient_document, address, city, department, weight_kg)
SELECT id, %s, n::text, 'Ana Pérez', (1020300000 + %s + n)::text, 'Calle 1 # 2-3', 'Bogotá', 'Cundinamarca', 1.5
  FROM unnest(%s::uuid[]) WITH ORDINALITY AS o (id, n)
RETURNING id
"""


@dataclass(frozen=True, slots=True)
class ShippingWorkspace:
    """A workspace with an enabled carrier. Its workers need the keys in `environment`."""

    temp_database: TemporaryDatabase
    workspace_id: UUID
    keys: str = field(repr=False)

    def environment(self) -> dict[str, str]:
        """Return the environment of a worker process."""
        return {**self.temp_database.environment(), "TALLYMAN_KEYS": self.keys}

    def start_over(self, orders: int, *, served: int = 0) -> list[UUID]:
        """Replace all jobs, events and orders by `orders` pending orders. Returns their ids.

        Each order has another recipient; the numbers of the first `served` recipients are skipped.
        """
        self.temp_database.arrange(_EMPTY)
        with self.temp_database.connect() as connection:
            made = connection.cursor(row_factory=scalar_row).execute(
                _ORDERS, [self.workspace_id, served, [new_id() for _ in range(orders)]]
            )
            order_ids: list[UUID] = made.fetchall()
        self.temp_database.arrange(sql.SQL("VACUUM ANALYZE"))
        return order_ids

    def context(self, connection: Connection) -> Context:
        """Return a context for the workspace."""
        return Context.start(connection, self.workspace_id)


@contextmanager
def shipping_workspace(temp_database: TemporaryDatabase, portal_url: str) -> Iterator[ShippingWorkspace]:
    """Yield a workspace with an enabled account at a portal. The password is sealed with a key of this block."""
    keys = "bench:" + base64.b64encode(os.urandom(32)).decode()
    with using(keys=SecretStr(keys)):
        with temp_database.connect() as connection:
            made = ShippingWorkspace(temp_database, tenancy.create_workspace(connection, f"bench {new_id()}").id, keys)
            _equip(made.context(connection), portal_url)
        yield made


def _equip(context: Context, portal_url: str) -> None:
    password = SecretStr(PASSWORD)
    carriers.set_carrier(
        context, CARRIER, username=USERNAME, password=password, portal_url=portal_url, max_sessions=SESSIONS
    )
    carriers.enable_carrier(context, CARRIER)
    city = CoverageRow(city="Bogotá", department="Cundinamarca", carrier_city=CITY)
    coverage.import_coverage(context.connection, CARRIER, [city])
