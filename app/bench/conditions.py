"""The conditions of a measurement. Only figures with equal conditions are comparable."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version

from app.context import Connection

_SETTINGS = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size", "autovacuum")


@dataclass(frozen=True, slots=True)
class Conditions:
    """Machine and versions of a benchmark. `server`: PostgreSQL's version and its durability settings."""

    machine: str
    cores: int
    python: str
    procrastinate: str
    psycopg: str
    server: dict[str, str]

    def line(self) -> str:
        """Return the conditions as one line of text."""
        server = ", ".join(f"{name}={value}" for name, value in self.server.items())
        versions = f"Python {self.python}, procrastinate {self.procrastinate}, psycopg {self.psycopg}"
        return f"{self.cores} cores ({self.machine}), client and server on one machine; {versions}; {server}"


def conditions(connection: Connection) -> Conditions:
    """Return the current conditions. `connection`: to the server under test."""
    server = {name: _setting(connection, name) for name in ("server_version", *_SETTINGS)}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    versions = (platform.python_version(), version("procrastinate"), version("psycopg"))
    return Conditions(platform.machine(), cores, *versions, server)


def _setting(connection: Connection, name: str) -> str:
    row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
    return str(row[0]) if row else "?"
