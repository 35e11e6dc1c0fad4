"""Connections: a worker process takes as many as documented."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from app import database as doors
from app.context import Connection
from app.engine.queue.connections import of_process
from app.engine.worker.supervise import plan
from app.logistics.jobs import create_robot_job, get_robot_job
from app.simulators.portal import Behaviour, Portal
from tests.conftest import Database
from tests.helpers.factories import Workspace
from tests.helpers.shops import equip
from tests.helpers.support import scalar
from tests.helpers.waits import until
from tests.helpers.workers import worker_pool

ORDERS = 60
_OURS = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'tallyman%%' AND pid <> ALL(%s)"


@pytest.mark.parametrize(
    ("arguments", "idle", "most"), [(("work",), 6, 26), (("work", "-q", "events"), 5, 21), (("plain",), 5, 21)]
)
def test_the_documented_numbers_are_those_of_the_plan(arguments: tuple[str, ...], idle: int, most: int) -> None:
    """What docs/operations.md says of each way to start a worker."""
    queues = [arguments[-1]] if "-q" in arguments else None
    workers = plan(queues, None) if arguments[0] == "work" else [{"concurrency": 4}]
    found = of_process([worker["concurrency"] for worker in workers])
    assert (found.idle, found.most) == (idle, most)


def test_a_worker_takes_no_more_connections_than_documented(
    database: Database, connection: Connection, workspace: Workspace, portal: Portal, tmp_path: Path
) -> None:
    """At least those of an idle one once it runs, and in the middle of a job never more than the most."""
    portal.start_over(Behaviour(latency_ms=20))
    shop = equip(connection, workspace.id, portal)
    limits = of_process([worker["concurrency"] for worker in plan(None, None)])
    with (
        psycopg.connect(database.superuser_url, autocommit=True) as admin,
        doors.connect(database.url, autocommit=True) as listener,
        worker_pool(tmp_path) as workers,
    ):
        own = [one.info.backend_pid for one in (admin, listener, connection)]
        workers.work()
        until(listener, lambda: scalar(admin, _OURS, own) >= limits.idle)
        seen = [scalar(admin, _OURS, own)]
        job = create_robot_job(shop.context, shop.order(ORDERS))

        def is_done() -> bool:
            seen.append(scalar(admin, _OURS, own))
            return get_robot_job(shop.context, job.id).status == "completed"

        until(listener, is_done, limit=60)
    assert max(seen) <= limits.most
