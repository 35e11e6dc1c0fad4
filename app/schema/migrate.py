"""Migration runner: apply ordered .sql files, each once, in one transaction with its record.

A file is `migrations/NNNN_name.sql`. The runner opens the transaction, unless the file's first line is
`-- no-transaction`. Such a file has one idempotent statement, because it may have run without being recorded. A file
must not be edited after it was applied: the runner records the sha256 of its content and refuses a difference. The
runner also refuses a database with files that this checkout does not have, because older code must not write to it.

A domain from another package has its own directory (`app.engine.registration.Domain.migrations`). Its files are
applied after the program's, in the order of their numbers, and are recorded as `<domain>/NNNN_name.sql`.

Procrastinate's schema comes from the installed package. An empty database gets its `schema.sql`, which is recorded
together with the upgrade files that it includes. Later runs apply each upgrade file that is not recorded.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg.rows import class_row, scalar_row

from app import database
from app.context import Connection
from app.errors import SetupError
from app.schema.scripts import Script, Sources

_LOCK_KEY = 0x7461_6C6C_796D_616E
"""The key of the advisory lock that allows one migrator a database: `tallyman` in ASCII."""
_LOCK_LIMIT = 600.0
"""Seconds to wait for another migrator."""
_OLDEST_SERVER = 150000

_PREPARE = b"""
CREATE SCHEMA IF NOT EXISTS engine;
CREATE TABLE engine.schema_migrations (
    name text PRIMARY KEY,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE engine.schema_migrations IS 'Which migration files were applied, with the hash of their content.';
ALTER TABLE engine.schema_migrations ENABLE ROW LEVEL SECURITY;
ALTER TABLE engine.schema_migrations FORCE ROW LEVEL SECURITY;
CREATE POLICY owner_does_all ON engine.schema_migrations TO CURRENT_USER USING (true) WITH CHECK (true);
"""

_LET_SERVICE_READ = b"""
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'service_role')
        AND NOT EXISTS (
            SELECT FROM pg_policies
            WHERE schemaname = 'engine' AND tablename = 'schema_migrations' AND policyname = 'service_reads'
        )
    THEN
        CREATE POLICY service_reads ON engine.schema_migrations FOR SELECT TO service_role USING (true);
        GRANT USAGE ON SCHEMA engine TO service_role;
        GRANT SELECT ON engine.schema_migrations TO service_role;
    END IF;
END
$$
"""

_EXISTS = "SELECT to_regclass(%s) IS NOT NULL"
_RECORDS = "SELECT name, sha256 FROM engine.schema_migrations ORDER BY name"
_RECORD = "INSERT INTO engine.schema_migrations (name, sha256) VALUES (%s, %s)"
_TRY_LOCK = "SELECT pg_try_advisory_lock(%s)"
# A migration that waits for a busy table blocks all later statements on it. It is better to fail and retry.
_LIMITS = "SET LOCAL lock_timeout = '30s'"


@dataclass(frozen=True, slots=True)
class Status:
    """Names of migration files, by state.

    `applied`: recorded. `pending`: to be applied. `edited`: changed since they were applied. `unknown`: recorded, but
    not in this checkout. `elsewhere`: of domains that this process does not load (TALLYMAN_DOMAINS).
    """

    applied: tuple[str, ...]
    pending: tuple[str, ...]
    edited: tuple[str, ...]
    unknown: tuple[str, ...]
    elsewhere: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Recorded:
    name: str
    sha256: str


def migrate(address: str | None = None, sources: Sources | None = None) -> list[str]:
    """Apply the pending files to the database at `address` (default: `owner_url()`). Returns their names, in order.

    Waits up to 600 s while another process migrates. Raises `SetupError`, and applies nothing, if a file was edited
    after it was applied or is unknown here. Raises `SetupError` if a file fails; earlier files stay applied.
    """
    sources = sources or Sources.installed()
    with _connected(address) as connection:
        _wait_for_lock(connection)
        if not _exists(connection, "engine.schema_migrations"):
            with connection.transaction():
                connection.execute(_PREPARE)
        recorded = _recorded(connection)
        _refuse(_compare(recorded, sources))
        scripts = _pending(recorded, sources)
        _refuse_strange_queue(connection, scripts)
        for script in scripts:
            _apply(connection, script)
        connection.execute(_LET_SERVICE_READ)
    return [script.name for script in scripts]


def status(address: str | None = None, sources: Sources | None = None) -> Status:
    """Return the state of all files for the database at `address` (default: `owner_url()`). Changes nothing."""
    with _connected(address) as connection:
        recorded = _recorded(connection) if _exists(connection, "engine.schema_migrations") else {}
    return _compare(recorded, sources or Sources.installed())


def pending(address: str | None = None, sources: Sources | None = None) -> tuple[str, ...]:
    """Return the names of the files that `migrate` would apply."""
    return status(address, sources).pending


def pending_on(connection: Connection, sources: Sources) -> tuple[str, ...]:
    """Return the names of the files that `migrate` would apply, as `service_role` sees them."""
    return _compare(_recorded(connection), sources).pending


def _compare(recorded: dict[str, str], sources: Sources) -> Status:
    hashes = {script.name: script.sha256 for script in sources.ours()}
    known = {*hashes, *(script.name for script in sources.queue_upgrades())}
    missing = [name for name in recorded if name not in known and not name.endswith("/schema.sql")]
    elsewhere = [name for name in missing if _is_of_another_domain(name, sources)]
    return Status(
        applied=tuple(recorded),
        pending=tuple(script.name for script in _pending(recorded, sources)),
        edited=tuple(name for name, sha256 in recorded.items() if hashes.get(name, sha256) != sha256),
        unknown=tuple(name for name in missing if name not in elsewhere),
        elsewhere=tuple(elsewhere),
    )


def _is_of_another_domain(name: str, sources: Sources) -> bool:
    """Whether a recorded file belongs to a domain that this process does not load, and not to a newer program."""
    domain, slash, _ = name.partition("/")
    return bool(slash) and domain != "procrastinate" and domain not in sources.domains


def _pending(recorded: dict[str, str], sources: Sources) -> list[Script]:
    has_queue = any(name.startswith("procrastinate/") for name in recorded)
    queue = sources.queue_upgrades() if has_queue else [sources.queue_schema()]
    return [script for script in [*queue, *sources.ours()] if script.name not in recorded]


def _refuse(found: Status) -> None:
    if found.edited:
        message = f"edited after they were applied: {', '.join(found.edited)}; restore them and write a new migration"
        raise SetupError(message)
    if found.unknown:
        message = f"the database is ahead: this program does not know {', '.join(found.unknown)}; update it"
        raise SetupError(message)


def _refuse_strange_queue(connection: Connection, scripts: list[Script]) -> None:
    """Raise `SetupError` for Procrastinate tables that this runner did not install: the needed upgrades are unknown."""
    if any(script.included for script in scripts) and _exists(connection, "procrastinate_jobs"):
        message = (
            "this database has tables of Procrastinate that `db migrate` did not install, so their version is unknown:"
            " use another database, or drop everything named procrastinate_* if its jobs are not needed"
        )
        raise SetupError(message)


def _apply(connection: Connection, script: Script) -> None:
    try:
        if script.is_transactional:
            with connection.transaction():
                connection.execute(_LIMITS)
                connection.execute(script.content)
                _record(connection, script)
        else:
            connection.execute(script.content)
            _record(connection, script)
    except psycopg.Error as error:
        message = f"migration {script.name}{_line(script, error)} failed: {error.diag.message_primary or error}"
        raise SetupError(message) from error


def _line(script: Script, error: psycopg.Error) -> str:
    """Return the line of the error in the file, or an empty text if PostgreSQL does not report it."""
    position = error.diag.statement_position
    if not position:
        return ""
    before = script.content.decode(errors="replace")[: int(position)]
    return f", line {before.count(chr(10)) + 1},"


def _record(connection: Connection, script: Script) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(_RECORD, [(one.name, one.sha256) for one in (script, *script.included)])


def _recorded(connection: Connection) -> dict[str, str]:
    """Return the hashes of the recorded files, by name."""
    with connection.cursor(row_factory=class_row(_Recorded)) as cursor:
        return {row.name: row.sha256 for row in cursor.execute(_RECORDS)}


def _exists(connection: Connection, table: str) -> bool:
    return _ask(connection, _EXISTS, table)


def _ask(connection: Connection, question: LiteralString, value: object) -> bool:
    with connection.cursor(row_factory=scalar_row) as cursor:
        return bool(cursor.execute(question, [value]).fetchone())


def _wait_for_lock(connection: Connection) -> None:
    """Take the migrators' lock. Polls, because waiting in `pg_advisory_lock` deadlocks with CREATE INDEX CONCURRENTLY.

    The lock belongs to the session, so the server releases it also if this process crashes.
    """
    end = time.monotonic() + _LOCK_LIMIT
    while not _ask(connection, _TRY_LOCK, _LOCK_KEY):
        if time.monotonic() > end:
            message = f"another process has been migrating this database for {_LOCK_LIMIT:.0f} s"
            raise SetupError(message)
        time.sleep(0.05)


@contextmanager
def _connected(address: str | None) -> Iterator[Connection]:
    """Open a connection in autocommit mode, with `public` as search path for Procrastinate's unqualified names."""
    address = database.bounded(address or database.owner_url())
    with psycopg.connect(address, autocommit=True, application_name="migrate") as connection:
        if connection.info.server_version < _OLDEST_SERVER:
            message = f"PostgreSQL 15 or newer is needed, not {connection.info.parameter_status('server_version')}"
            raise SetupError(message)
        connection.execute("SET search_path TO public")
        yield connection
