"""The stage of a run: a separate server, two portals and workspaces, all in one directory."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from app import database
from app.chaos import observer
from app.context import Connection, Context
from app.demo import processes
from app.demo.processes import PortalProcess
from app.logistics import carriers, coverage
from app.logistics.coverage import CoverageRow
from app.postgres import embedded
from app.postgres.embedded import Embedded
from app.schema import migrate
from app.settings import use
from app.tenancy.store import create_workspace
from app.wiring import sources

CARRIER = "coordinadora"
WORKSPACES = 4
SESSIONS = 20
"""Concurrent order calls of each workspace's account."""
MANY_SESSIONS = 100
"""The same for accounts at the slow portal: enough for one tenant to occupy every delivery of every worker."""

PORTAL_TIMEOUT_S = 1.0
PORTAL_SETTLE_S = 1.5
SLOW_MS = 1200.0
"""A slow portal enters the order within `PORTAL_SETTLE_S`, but answers after its callers' timeout."""
STALLED_AFTER_S = 3.0
HEARTBEAT_S = 0.5

WORKER = {
    "TALLYMAN_HEARTBEAT_INTERVAL": str(HEARTBEAT_S),
    "TALLYMAN_STALLED_AFTER": str(STALLED_AFTER_S),
    "TALLYMAN_RESCUE_INTERVAL": "0.5",
    "TALLYMAN_SWEEP_INTERVAL": "0.5",
    "TALLYMAN_POLLING_INTERVAL": "0.2",
    "TALLYMAN_GRACEFUL_TIMEOUT": "2.4",
    "TALLYMAN_RETRY_BASE": "0.1",
    "TALLYMAN_RETRY_CAP": "1",
    "TALLYMAN_MOST_ATTEMPTS": "3",
    "TALLYMAN_MOST_RESCUES": "1",
    "TALLYMAN_UNKNOWN_PATIENCE": "3",
    "TALLYMAN_PORTAL_TIMEOUT": str(PORTAL_TIMEOUT_S),
    "TALLYMAN_PORTAL_SETTLE": str(PORTAL_SETTLE_S),
    "TALLYMAN_LOG_FORMAT": "json",
    "TALLYMAN_LOG_LEVEL": "INFO",
}
"""Short limits, so that a minute has as many faults as months of an installation."""

CALM: dict[str, Any] = {
    "latency_ms": 40,
    "jitter_ms": 30,
    "error_rate": 0.03,
    "timeout_rate": 0.005,
    "lost_answer_rate": 0.03,
    "session_uses": 150,
    "is_down": False,
    "rules": [
        {"field": "address", "contains": "Vereda", "then": "refuse", "message": "no delivery route"},
        {"field": "address", "contains": "Torre", "then": "timeout", "times": 1},
        {"field": "address", "contains": "Bodega", "then": "timeout"},
        {"field": "address", "contains": "Glorieta", "then": "garble", "times": 1},
        {"field": "address", "contains": "Pasaje", "then": "drip", "times": 1},
    ],
}
"""The portal's behaviour without a fault of the deck."""

HANGS = "Callejón"
"""A street: the slow portal does not answer the first two calls of each of its orders."""
SLOW: dict[str, Any] = {
    "latency_ms": 700,
    "jitter_ms": 100,
    "rules": [{"field": "address", "contains": HANGS, "then": "timeout", "times": 2}],
}
"""Behaviour of the portal of the tenants that load the workers."""

_SHOPS = [f"shop-{number}" for number in range(1, WORKSPACES + 1)]
_PLACES = [("Bogotá", "Cundinamarca", "BOGOTA (C/MARCA)"), ("Medellín", "Antioquia", "MEDELLIN (ANT)")]


@dataclass(frozen=True, slots=True)
class Stage:
    """The server, portals and workspaces of a run. `accounts`: the portal's username of each workspace.

    `flooding` and `hanging` are tenants of the slow portal. `small` uses the other one, without faults.
    """

    home: Path
    server: Embedded
    portal: PortalProcess
    slow_portal: PortalProcess
    accounts: dict[UUID, str]
    workspaces: list[UUID]
    flooding: UUID
    hanging: UUID
    small: UUID
    environment: dict[str, str]

    @property
    def portals(self) -> tuple[PortalProcess, PortalProcess]:
        """Return both portals."""
        return self.portal, self.slow_portal

    @property
    def superuser_url(self) -> str:
        """Return the superuser's URL of the run's database, for faults and checks. Bypasses row-level security."""
        return superuser_url(self.server)

    def connect(self) -> Connection:
        """Open a producer's connection. Raises psycopg's errors during an outage."""
        return database.connect(self.server.service_url)

    def overlook(self) -> Connection:
        """Open a superuser connection in autocommit mode. Sees all rows."""
        return psycopg.connect(self.superuser_url, autocommit=True, connect_timeout=5)


def superuser_url(server: Embedded) -> str:
    """Return the superuser's URL of the program's database."""
    return make_conninfo(server.superuser_url, dbname="tallyman", application_name="chaos")


@contextmanager
def stage(home: Path) -> Iterator[Stage]:
    """Set up server, portals and workspaces in `home`. The processes end with the block, their files stay."""
    try:
        server = embedded.ensure_running(home)
        environment = _environment(home, server)
        migrate.migrate(server.owner_url, sources())
        observer.install(superuser_url(server))
        with _portal(CALM, [*_SHOPS, "small"]) as portal, _portal(SLOW, ["flooding", "hanging"]) as slow:
            doors = {**dict.fromkeys([*_SHOPS, "small"], portal), **dict.fromkeys(["flooding", "hanging"], slow)}
            with database.connect(server.service_url) as connection:
                ids = {name: _open_workspace(connection, name, door, slow=door is slow) for name, door in doors.items()}
            accounts = {workspace_id: name for name, workspace_id in ids.items()}
            shops = [ids[name] for name in _SHOPS]
            special = (ids["flooding"], ids["hanging"], ids["small"])
            yield Stage(home, server, portal, slow, accounts, shops, *special, environment)
    finally:
        embedded.stop(home)


def _portal(behaviour: Mapping[str, Any], names: Sequence[str]) -> AbstractContextManager[PortalProcess]:
    """Run a portal with accounts of these names."""
    return processes.portal({**behaviour, "accounts": {name: f"{name}-password" for name in names}})


def _environment(home: Path, server: Embedded) -> dict[str, str]:
    """Return the workers' environment, and apply the same settings to this process."""
    keys = "chaos:" + base64.b64encode(secrets.token_bytes(32)).decode()
    use(home=home, keys=SecretStr(keys), portal_settle=PORTAL_SETTLE_S, portal_timeout=PORTAL_TIMEOUT_S)
    # With a URL, workers do not start the embedded server, so that an outage lasts as long as intended.
    use(DATABASE_URL=server.service_url)
    own = {"DATABASE_URL": server.service_url, "TALLYMAN_HOME": str(home), "TALLYMAN_KEYS": keys}
    return {**os.environ, **WORKER, **own}


def _open_workspace(connection: Connection, name: str, portal: PortalProcess, *, slow: bool) -> UUID:
    workspace = create_workspace(connection, name)
    context = Context.start(connection, workspace.id)
    password = SecretStr(f"{name}-password")
    sessions = MANY_SESSIONS if slow else SESSIONS
    carriers.set_carrier(
        context, CARRIER, username=name, password=password, portal_url=portal.url, max_sessions=sessions
    )
    carriers.enable_carrier(context, CARRIER)
    places = [CoverageRow(city=city, department=department, carrier_city=their) for city, department, their in _PLACES]
    coverage.import_coverage(connection, CARRIER, places)
    return workspace.id
