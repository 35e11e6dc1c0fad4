"""The embedded PostgreSQL server, used if DATABASE_URL is not set: start, stop, reset, status.

The first process that needs the server starts it in a separate session. The server keeps running after that process
ends, until `stop()`. A server that is shutting down for another reason (systemd sends SIGTERM to a whole unit) is
stopped and started again.

    <home>/postgres.lock              locked while the server is created, started, stopped or deleted
    <home>/postgres.new.*/            an unfinished `initdb`
    <home>/postgres.old/              an unfinished `reset()`
    <home>/postgres/                  data and socket, mode 0700: `trust` admits only this account and root
    <home>/postgres/tallyman.ready    written last: roles and database exist
    <home>/postgres/log/              the server's log, one file for each weekday
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg

from app.postgres import postmaster
from app.postgres.postmaster import Postmaster
from app.settings import settings

_CONFIGURATION = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "wal_level": "logical",
    "max_replication_slots": "10",
    "max_wal_senders": "10",
    "shared_preload_libraries": "pg_stat_statements",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "on",
    "log_filename": "postgresql-%a.log",
    "log_rotation_size": "0",
    "log_truncate_on_rotation": "on",
    "log_line_prefix": "%m [%p] %q%u@%d/%a ",
    "log_lock_waits": "on",
    "log_min_duration_statement": "1s",
    # Parameters of statements may be personal data, which must not be logged.
    "log_parameter_max_length": "0",
}
"""Settings of a new server that differ from PostgreSQL's defaults. An admin's `ALTER SYSTEM` overrides them later."""

_CREATE_ROLES = b"""
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['anon', 'authenticated', 'service_role', 'tallyman', 'tallyman_owner'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I', name);
        END IF;
    END LOOP;
END
$$;
ALTER ROLE anon NOLOGIN NOSUPERUSER NOBYPASSRLS;
ALTER ROLE authenticated NOLOGIN NOSUPERUSER NOBYPASSRLS;
ALTER ROLE service_role NOLOGIN NOSUPERUSER NOBYPASSRLS;
ALTER ROLE tallyman LOGIN NOINHERIT NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB;
ALTER ROLE tallyman_owner LOGIN NOSUPERUSER NOBYPASSRLS CREATEROLE CREATEDB;
GRANT anon, authenticated, service_role TO tallyman WITH INHERIT FALSE, SET TRUE;
GRANT anon, authenticated, service_role TO tallyman_owner WITH ADMIN OPTION;
"""
_DATABASE_EXISTS = "SELECT FROM pg_database WHERE datname = 'tallyman'"
_CREATE_DATABASE = "CREATE DATABASE tallyman OWNER tallyman_owner"
_CREATE_EXTENSION = "CREATE EXTENSION IF NOT EXISTS pg_stat_statements"


@dataclass(frozen=True, slots=True)
class Embedded:
    """The address of a running server, and the URLs of its logins."""

    socket_directory: Path
    port: int

    @property
    def service_url(self) -> str:
        """The URL for workers and producers. The login has no rights except to use one of three roles."""
        return self._url("tallyman", "tallyman")

    @property
    def owner_url(self) -> str:
        """The URL for migrations. The login owns the database and is not a superuser."""
        return self._url("tallyman_owner", "tallyman")

    @property
    def superuser_url(self) -> str:
        """The superuser's URL, for the bootstrap and for tests only."""
        return self._url("postgres", "postgres")

    def _url(self, login: str, database: str) -> str:
        return f"postgresql://{login}@/{database}?host={quote(str(self.socket_directory), safe='/')}&port={self.port}"


@dataclass(frozen=True, slots=True)
class Status:
    """The state of the server. `size_bytes`: size of its data directory, 0 if there is none.

    `state`: `starting`, `ready` or `stopping`; None if the server does not run.
    """

    running: bool
    state: str | None
    pid: int | None
    version: str | None
    socket_directory: Path | None
    data_directory: Path
    size_bytes: int


def ensure_running(home: Path | None = None) -> Embedded:
    """Return the server of `home` (default: the settings' home). Creates and starts it if necessary.

    Safe to call from several processes at once. Raises `SetupError` if the server cannot be created or started.
    """
    data = _data_directory(home)
    return _bootstrapped(data) or _start(data)


def stop(home: Path | None = None) -> bool:
    """Stop the server, by SIGKILL if necessary. No commit is lost. Returns False if the server was not running."""
    data = _data_directory(home)
    if not data.exists():
        return False
    with _lock(data):
        return postmaster.stop(data)


def reset(home: Path | None = None) -> bool:
    """Stop the server and delete all of its data permanently. Returns False if there was no data."""
    data = _data_directory(home)
    if not data.exists():
        return False
    with _lock(data):
        postmaster.stop(data)
        postmaster.delete(data)
    return True


def status(home: Path | None = None) -> Status:
    """Return the state of the server. Does not start it."""
    data = _data_directory(home)
    found = postmaster.running(data)
    return Status(
        running=found is not None,
        state=(found.state or "starting") if found else None,
        pid=found.pid if found else None,
        version=postmaster.version(data),
        socket_directory=found.socket_directory if found else None,
        data_directory=data,
        size_bytes=_size(data),
    )


def _data_directory(home: Path | None) -> Path:
    return (home.expanduser().resolve() if home else settings().home_directory()) / "postgres"


def _marker(data: Path) -> Path:
    return data / "tallyman.ready"


def _bootstrapped(data: Path) -> Embedded | None:
    """Return the server if it is ready and bootstrapped, else None. Takes no lock."""
    found = postmaster.running(data)
    return _embedded(found) if found and found.is_ready and _marker(data).exists() else None


def _start(data: Path) -> Embedded:
    data.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _lock(data):
        if not data.exists():
            postmaster.initialise(data, _CONFIGURATION)
        server = _embedded(postmaster.start(data))
        if not _marker(data).exists():
            _bootstrap(server)
            _marker(data).touch()
    return server


def _embedded(found: Postmaster) -> Embedded:
    return Embedded(found.socket_directory, found.port)


def _bootstrap(server: Embedded) -> None:
    """Create roles, database and extension as superuser. Safe after an interruption: each step can be repeated."""
    with psycopg.connect(server.superuser_url, autocommit=True) as connection:
        connection.execute(_CREATE_ROLES)
        if not connection.execute(_DATABASE_EXISTS).fetchone():
            connection.execute(_CREATE_DATABASE)
    with psycopg.connect(server.superuser_url, dbname="tallyman", autocommit=True) as connection:
        connection.execute(_CREATE_EXTENSION)


@contextmanager
def _lock(data: Path) -> Iterator[None]:
    """Hold the lock of a data directory. The system releases it if the process ends."""
    with data.with_name("postgres.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _size(directory: Path) -> int:
    """Return the size of all files under `directory` in bytes. Files that are deleted meanwhile are ignored."""
    total = 0
    for path in directory.rglob("*"):
        with suppress(OSError):
            total += path.stat().st_size
    return total
