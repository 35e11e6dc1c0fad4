"""The stage of a run: its server, database and workspaces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import psycopg

from app import database
from app.context import Connection

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
    "TALLYMAN_LOG_FORMAT": "json",
    "TALLYMAN_LOG_LEVEL": "INFO",
}
"""Short limits, so that a minute has as many faults as months of an installation. Domains add their own."""


@dataclass(frozen=True, slots=True)
class Stage:
    """The server and database of a run.

    `service_url`: for producers. `superuser_url`: for faults and checks; bypasses row-level security. `environment`: of
    the workers. `workspace_of`: create a workspace with a name.
    """

    home: Path
    service_url: str = field(repr=False)
    superuser_url: str = field(repr=False)
    environment: dict[str, str] = field(repr=False)
    workspace_of: Callable[[Connection, str], UUID]

    def connect(self) -> Connection:
        """Open a producer's connection. Raises psycopg's errors during an outage."""
        return database.connect(self.service_url)

    def overlook(self) -> Connection:
        """Open a superuser connection in autocommit mode. Sees all rows."""
        return psycopg.connect(self.superuser_url, autocommit=True, connect_timeout=5)

    def new_workspace(self, name: str) -> UUID:
        """Create a workspace. Returns its id."""
        with self.connect() as connection:
            return self.workspace_of(connection, name)
