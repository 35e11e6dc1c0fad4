"""Checkups of server and schema: version, settings, tenant isolation, migrations, drift, and blocked vacuum."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row

from app import database
from app.engine.domain import wiring
from app.engine.health.doctor import CheckContext, Checkup, Finding, Limits
from app.engine.health.schema_drift import drifts
from app.engine.queue import connections
from app.engine.worker import preflight
from app.schema import migrate
from app.schema.scripts import Sources

OLDEST_SERVER = 15
_CROWDED = 0.8
_WORKER = connections.of_process([2, 4])
"""The number of connections of `cli.py work`."""

_SETTINGS = """
SELECT name, setting FROM pg_settings WHERE name IN ('autovacuum', 'track_counts', 'max_connections', 'wal_level')
"""
_LOGIN = "SELECT rolname FROM pg_roles WHERE rolname = session_user AND (rolsuper OR rolbypassrls)"
_CONNECTIONS = """
SELECT coalesce(sum(numbackends), 0)::integer, current_setting('max_connections')::integer FROM pg_stat_database
"""
_TRANSACTIONS = """
SELECT pid, coalesce(usename, '?') AS login, coalesce(nullif(application_name, ''), '?') AS application,
       coalesce(state, '?') AS state, extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds
  FROM pg_stat_activity
 WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'
   AND xact_start < clock_timestamp() - %s * interval '1 second'
 ORDER BY xact_start LIMIT 10
"""
_HIDDEN = "SELECT count(*) FROM pg_stat_activity WHERE usesysid IS NOT NULL AND query = '<insufficient privilege>'"
_PREPARED = """
SELECT gid FROM pg_prepared_xacts
 WHERE prepared < clock_timestamp() - %s * interval '1 second' ORDER BY prepared LIMIT 10
"""
_SLOTS = """
SELECT slot_name, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint AS kept FROM pg_replication_slots
 WHERE NOT active AND pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) > %s ORDER BY 2 DESC LIMIT 10
"""


@dataclass(frozen=True, slots=True)
class _Transaction:
    pid: int
    login: str
    application: str
    state: str
    seconds: float


def _version(context: CheckContext) -> Iterator[Finding]:
    yield from check_version(context.service.info.server_version)


def check_version(version: int) -> Iterator[Finding]:
    """Check a server version in libpq's format: 180006 is 18.6."""
    if version // 10_000 < OLDEST_SERVER:
        yield Finding("problem", "server", f"PostgreSQL {version // 10_000}", "upgrade to PostgreSQL 15 or newer")


def _safety(context: CheckContext) -> Iterator[Finding]:
    remedy = "fix this first: workers do not start with this problem"
    for problem in preflight.problems(context.service):
        yield Finding("problem", "safety", problem, remedy)
    for (login,) in context.login.execute(_LOGIN):
        what = f"login {login} is subject to no policy once it leaves service_role"
        yield Finding("warning", "safety", what, "connect as a login that is neither superuser nor BYPASSRLS")


def _settings(context: CheckContext) -> Iterator[Finding]:
    yield from check_settings(dict(context.service.execute(_SETTINGS).fetchall()), context.limits)
    for used, most in context.service.execute(_CONNECTIONS):
        yield from check_connections(used, most)


def check_settings(found: Mapping[str, str], limits: Limits) -> Iterator[Finding]:
    """Check a server's settings. `found`: values by name, in the format of pg_settings."""
    for name in ("autovacuum", "track_counts"):
        if found[name] == "off":
            what = f"{name} is off: the queue's tables are never vacuumed, so fetching becomes ever slower"
            yield Finding("problem", "settings", what, f"set {name} = on")
    if int(found["max_connections"]) < limits.fewest_connections:
        what = f"max_connections is {found['max_connections']}: a worker process takes up to {_WORKER.most}"
        yield Finding("warning", "settings", what, f"set max_connections to {limits.fewest_connections} at least")
    if found["wal_level"] != "logical":
        what = f"wal_level is {found['wal_level']}: no client can subscribe to the publication supabase_realtime"
        yield Finding("info", "settings", what, "set wal_level = logical if browsers subscribe to items through it")


def check_connections(used: int, most: int) -> Iterator[Finding]:
    """Check the number of connections in use (`used`) against max_connections (`most`)."""
    if used > _CROWDED * most:
        what = f"{used} of {most} connections are in use"
        yield Finding("warning", "settings", what, "raise max_connections, or run fewer workers")


def _migrations(_context: CheckContext) -> Iterator[Finding]:
    found = migrate.status(database.conninfo(), Sources.installed(wiring().migrations))
    if found.pending:
        yield Finding("problem", "migrations", f"to be applied: {', '.join(found.pending)}", "run `db migrate`")
    if found.edited:
        remedy = "restore the files, and put the changes into a new migration"
        yield Finding("problem", "migrations", f"edited after they were applied: {', '.join(found.edited)}", remedy)
    if found.unknown:
        what = f"the database is ahead of this program, which does not know {', '.join(found.unknown)}"
        yield Finding("problem", "migrations", what, "deploy the program version that has these migrations")


def _drift(_context: CheckContext) -> Iterator[Finding]:
    try:
        found = drifts(database.owner_url())
    except psycopg.errors.InsufficientPrivilege as error:
        what = f"Procrastinate's schema cannot be compared with the package's: {error.diag.message_primary}"
        yield Finding("info", "queue schema", what, "set MIGRATION_DATABASE_URL to the owner's login, check again")
        return
    named = [f"{one.kind} {one.name} is {one.how}" for one in found]
    if broken := [name for one, name in zip(found, named, strict=True) if one.how != "added"]:
        remedy = (
            "run `db migrate`; if that changes nothing, put the objects back as procrastinate's schema.sql has them"
        )
        yield Finding("problem", "queue schema", f"not as the installed package has it: {_some(broken)}", remedy)
    if added := [name for one, name in zip(found, named, strict=True) if one.how == "added"]:
        what = f"not of the installed package: {_some(added)}"
        yield Finding(
            "warning", "queue schema", what, "drop unneeded objects: they can slow the queue or change its behaviour"
        )


def _transactions(context: CheckContext) -> Iterator[Finding]:
    limit = context.limits.longest_transaction_s
    cursor = context.login.cursor(row_factory=class_row(_Transaction))
    for one in cursor.execute(_TRANSACTIONS, [limit]):
        who = f"{one.application} ({one.login}, pid {one.pid}, {one.state})"
        what = f"{who} has had a transaction open for {one.seconds:.0f} s: vacuum cannot remove newer dead rows"
        yield Finding(
            "warning", "transactions", what, f"find its cause; SELECT pg_terminate_backend({one.pid}) ends it"
        )
    for (gid,) in context.login.execute(_PREPARED, [limit]):
        what = f"prepared transaction {gid!r} has been left open: it holds locks and blocks vacuum"
        yield Finding("warning", "transactions", what, f"ROLLBACK PREPARED '{gid}', or COMMIT PREPARED")
    for name, kept in context.login.execute(_SLOTS, [context.limits.most_kept_wal_bytes]):
        what = f"replication slot {name} is inactive and keeps {kept / (1 << 20):.0f} MB of WAL"
        yield Finding(
            "warning", "transactions", what, f"start its consumer, or SELECT pg_drop_replication_slot('{name}')"
        )
    for (hidden,) in context.login.execute(_HIDDEN):
        if hidden:
            what = f"{hidden} sessions of other logins are hidden from this login"
            yield Finding("info", "transactions", what, "GRANT pg_read_all_stats to this login to check them too")


def _some(names: list[str]) -> str:
    most = 10
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


SERVER = (
    Checkup("server", _version, "PostgreSQL 15 or newer"),
    Checkup("safety", _safety, "commits are durable and tenants are isolated"),
    Checkup("settings", _settings, "the server's settings are suitable"),
    Checkup("migrations", _migrations, "the schema is that of this program"),
    Checkup("queue schema", _drift, "Procrastinate's schema is that of the installed package"),
    Checkup("transactions", _transactions, "no transaction or slot blocks vacuum"),
)
