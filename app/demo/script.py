"""The demo's script: its data, the portal's behaviour, and the fixes between its two parts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

from pydantic import SecretStr

from app.context import Connection, Context
from app.engine.batches.store import select_items
from app.logistics import carriers, coverage
from app.logistics.coverage import CoverageRow
from app.logistics.files import read_csv
from app.logistics.orders import OrderRow
from app.logistics.store import ROBOT_JOBS
from app.tenancy.store import Workspace, create_workspace

HERE = Path(__file__).parent
CARRIER = "coordinadora"

PORTAL: dict[str, Any] = {
    "latency_ms": 150,
    "jitter_ms": 100,
    "lost_answer_rate": 0.02,
    "session_uses": 120,
    "seed": 7,
    "rules": [
        {"field": "address", "contains": "Vereda", "then": "refuse", "message": "rural address: no delivery route"},
        {"field": "address", "contains": "torre", "then": "timeout", "times": 1},
        {"field": "address", "contains": "bodega", "then": "timeout"},
    ],
}
"""Rural addresses are refused. Towers time out once, warehouses until the portal is fixed. Two of 100 accepted orders
lose their answer. A session lasts for 120 calls."""

WORKER = {
    "TALLYMAN_PORTAL_TIMEOUT": "1.5",
    "TALLYMAN_PORTAL_SETTLE": "1",
    "TALLYMAN_MARKETPLACE_SETTLE": "1",
    "TALLYMAN_RETRY_BASE": "0.5",
    "TALLYMAN_MOST_ATTEMPTS": "3",
    "TALLYMAN_HEARTBEAT_INTERVAL": "1",
    "TALLYMAN_STALLED_AFTER": "4",
    "TALLYMAN_GRACEFUL_TIMEOUT": "2",
    "TALLYMAN_RESCUE_INTERVAL": "1",
    "TALLYMAN_POLLING_INTERVAL": "0.5",
    "TALLYMAN_LOG_FORMAT": "json",
}
"""Short limits for a demo of under a minute. The defaults suit slow portals."""


def orders(wanted: int) -> Iterator[OrderRow]:
    """Yield `wanted` orders from the file. Repeats the file with other references and recipients if necessary."""
    taken = 0
    for round_ in count():
        for row in read_csv(HERE / "orders.csv", OrderRow):
            if taken == wanted:
                return
            taken += 1
            yield row if round_ == 0 else _again(row, round_)


def _again(row: OrderRow, round_: int) -> OrderRow:
    document = f"{row.recipient_document}{round_}"
    return row.model_copy(update={"reference": f"{row.reference}-{round_}", "recipient_document": document})


def prepare(connection: Connection, name: str, portal_url: str) -> Workspace:
    """Create a workspace with an enabled account at the portal, and import the carrier's cities."""
    workspace = create_workspace(connection, name)
    context = Context.start(connection, workspace.id)
    carriers.set_carrier(
        context, CARRIER, username="demo", password=SecretStr("demo-password"), portal_url=portal_url, max_sessions=12
    )
    carriers.enable_carrier(context, CARRIER)
    coverage.import_coverage(connection, CARRIER, read_csv(HERE / "coverage.csv", CoverageRow))
    return workspace


def mend(connection: Connection) -> dict[str, Any]:
    """Add a city to the carrier's coverage. Returns the portal's changed behaviour."""
    opened = CoverageRow(city="Mitú", department="Vaupés", carrier_city="MITU (VAU)", is_active=True)
    coverage.import_coverage(connection, CARRIER, [opened])
    return {"rules": PORTAL["rules"][:2]}


def retriable(connection: Connection, job_id: UUID) -> list[UUID]:
    """Return the failed items that can succeed now: all but those that the portal refused."""
    found: list[UUID] = []
    after: UUID | None = None
    while page := select_items(connection, ROBOT_JOBS, job_id, status="error", after=after, limit=1000):
        found += [item.id for item in page if item.error_type != "portal"]
        after = page[-1].id
    return found
