"""The demo's workspace, portal, workers and output."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from app import database
from app.demo import processes, script
from app.demo.processes import PortalProcess, Workers
from app.settings import settings, use


@dataclass(frozen=True, slots=True)
class Stage:
    """The demo's workspace, its organisation, the portal, the workers and the output."""

    workspace_id: UUID
    org_id: UUID
    portal: PortalProcess
    worker_pool: Workers
    say: Callable[[str], None]


def set_up(stack: ExitStack, say: Callable[[str], None]) -> Stage:
    """Start the portal and two workers, until `stack` closes. Returns the stage, with a new workspace."""
    # The simulated portal has its verdict at once, so a retry need not wait for the settle time.
    use(portal_settle=1.0, marketplace_settle=1.0)
    portal = stack.enter_context(processes.portal(script.PORTAL))
    say(f"Carrier's portal (simulated): {portal.url}")
    name = f"Demo {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
    with database.connect() as connection:
        workspace = script.prepare(connection, name, portal.url)
    log = settings().home / "demo-workers.log"
    worker_pool = stack.enter_context(processes.workers(log, script.WORKER))
    pids = worker_pool.start(), worker_pool.start()
    say(f"Workspace: {name!r}; workers: {pids[0]}, {pids[1]} (their log: {log})")
    return Stage(workspace.id, workspace.org_id, portal, worker_pool, say)
