"""Preflight checks: server and schema requirements that a worker checks before its first delivery."""

from __future__ import annotations

import structlog

from app.context import Connection
from app.engine.domain import wiring
from app.errors import SetupError
from app.settings import settings

log = structlog.get_logger(__name__)

_LOSSY = (
    "SELECT name FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit', 'full_page_writes') AND setting = 'off'"
)
_NEEDED = """
SELECT name, to_regclass(name) IS NOT NULL
  FROM unnest(ARRAY['public.procrastinate_jobs', 'engine.event_log', 'engine.actions', 'engine.paused_queues',
                    'engine.sequence', 'engine.delayed', 'engine.queue_rows', 'engine.event_types']
                   || %s::text[]) AS name
UNION ALL SELECT 'engine.enqueue', to_regproc('engine.enqueue') IS NOT NULL
"""
_ROLE = "SELECT rolname, rolsuper, rolbypassrls, session_user FROM pg_roles WHERE rolname = current_user"
_WORKER_ROLE = "tallyman_worker"
_HAS_WORKER_ROLE = """
SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s AND pg_has_role(session_user, oid, 'MEMBER')
                AND pg_has_role(oid, 'service_role', 'USAGE'))
"""
_OPEN_TABLES = """
SELECT n.nspname || '.' || c.relname
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
   AND (n.nspname = 'engine' OR n.nspname = ANY(%s)
        OR (n.nspname = 'public' AND c.relname LIKE 'procrastinate\\_%%'))
 ORDER BY 1
"""


def check_schema(connection: Connection) -> None:
    """Raise `SetupError` if the database lacks a table or function of this program."""
    needed = [*(lockable.name for lockable in wiring().lockables), *wiring().tables]
    missing = [name for (name, found) in connection.execute(_NEEDED, [needed]) if not found]
    if missing:
        raise SetupError(f"the schema is missing or older than this program ({missing[0]}): python cli.py db migrate")


def check(connection: Connection) -> None:
    """Raise `SetupError` if the server can lose commits or tenants are not isolated. Only a warning with `--unsafe`."""
    found = problems(connection)
    if not found:
        return
    if settings().unsafe:
        log.warning("unsafe", problems=found)
        return
    raise SetupError("; ".join(found) + "; fix it, or set TALLYMAN_UNSAFE=1 to start anyway")


def _remedy(connection: Connection, role: str, login: str) -> str:
    if role != "service_role":
        return "connect as a member of service_role"
    if (has := connection.execute(_HAS_WORKER_ROLE, [_WORKER_ROLE]).fetchone()) and has[0]:
        return f"set TALLYMAN_SERVICE_ROLE={_WORKER_ROLE}, its member, which has its grants and no bypass"
    return (
        f"have a superuser, or an admin of service_role, run CREATE ROLE {_WORKER_ROLE}; GRANT service_role TO"
        f" {_WORKER_ROLE}; GRANT {_WORKER_ROLE} TO {login}; then set TALLYMAN_SERVICE_ROLE={_WORKER_ROLE}"
    )


def problems(connection: Connection) -> list[str]:
    """Return what is wrong with the server, one sentence for each problem."""
    found = [f"{name} is off: a crash of the server loses commits" for (name,) in connection.execute(_LOSSY)]
    for role, is_super, bypasses, login in connection.execute(_ROLE):
        if is_super or bypasses:
            found.append(f"role {role} is not subject to row-level security: {_remedy(connection, role, login)}")
    tables = connection.execute(_OPEN_TABLES, [list(wiring().schemas)])
    return found + [f"{table} has no forced row-level security: run `db migrate`" for (table,) in tables]
