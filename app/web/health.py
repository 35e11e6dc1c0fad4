"""`/healthz`: the process answers. `/readyz`: it can work: database, migrations, and a live worker."""

from __future__ import annotations

import psycopg
from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from psycopg_pool import PoolTimeout

from app.context import Connection
from app.engine.queue.workers import list_workers
from app.schema import migrate
from app.web.access import Pool
from app.web.problems import problem
from app.wiring import sources

router = APIRouter(tags=["health"])

_LIMIT_S = 2.0
"""Longest wait for a connection. Probes time out after a few seconds."""


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Report that the process answers. Touches nothing else."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"description": "Not ready; `checks` has the reasons."}})
def readyz(pool: Pool) -> Response:
    """Report whether the database answers, its migrations are applied and a worker is alive: 200, else 503."""
    try:
        with pool.connection(timeout=_LIMIT_S) as connection:
            checks = {"database": "ok", "migrations": _migrations(connection), "worker": _worker(connection)}
    except (psycopg.OperationalError, PoolTimeout):
        checks = {"database": "does not answer"}
    except psycopg.errors.UndefinedTable:
        checks = {"database": "ok", "migrations": "missing: python cli.py db migrate"}
    wrong = [f"{name}: {what}" for name, what in checks.items() if what != "ok"]
    if wrong:
        return problem(503, "; ".join(wrong), title="Not ready", checks=checks)
    return JSONResponse({"status": "ok", "checks": checks})


def _migrations(connection: Connection) -> str:
    missing = migrate.pending_on(connection, sources())
    return f"{len(missing)} pending ({missing[0]}): python cli.py db migrate" if missing else "ok"


def _worker(connection: Connection) -> str:
    alive = any(worker.is_known and not worker.is_stale for worker in list_workers(connection))
    return "ok" if alive else "none is alive: python cli.py work"
