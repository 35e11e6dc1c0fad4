"""Items that are requested again while an earlier attempt is in progress."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from psycopg.rows import scalar_row

from app import database as doors
from app.context import Connection
from app.logistics import carriers
from app.logistics.jobs import create_robot_job, get_robot_job, retry_failed_items
from app.settings import settings
from app.simulators.portal import Portal
from events.robot import ItemCompleted
from tests.conftest import Database
from tests.helpers.factories import Workspace
from tests.helpers.robot_results import update_job_item_result
from tests.helpers.shops import equip
from tests.helpers.support import waiting
from tests.helpers.waits import until
from tests.helpers.workers import worker_pool

_BATCH = 25
_BEGUN = "SELECT count(*) FROM engine.calls"
_LAST_ITEM = "SELECT id FROM logistics.robot_job_items ORDER BY id DESC LIMIT 1"


def test_an_item_that_is_requested_again_while_its_batch_runs_is_entered_once(
    database: Database,
    connection: Connection,
    workspace: Workspace,
    portal: Portal,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The last item of a long batch is ended by hand and requested again: both attempts enter it once.

    The account has a session for a second delivery, and the grace period ends long before the first
    delivery comes to the item.
    """
    monkeypatch.setenv("TALLYMAN_PORTAL_SETTLE", "0.2")
    settings.cache_clear()
    shop = equip(connection, workspace.id, portal)
    carriers.set_carrier(shop.context, "coordinadora", max_sessions=_BATCH)
    portal.change(latency_ms=600)
    job = create_robot_job(shop.context, shop.order(_BATCH))
    scalars = connection.cursor(row_factory=scalar_row)
    with worker_pool(tmp_path) as workers, doors.connect(database.url, autocommit=True) as listener:
        workers.work()
        until(listener, lambda: scalars.execute(_BEGUN).fetchone() == _BATCH)
        item_id = scalars.execute(_LAST_ITEM).fetchone()
        given_up = {"status": "error", "error_type": "unknown", "error_message": "given up by hand"}
        said = ItemCompleted.model_validate({"job_id": job.id, "item_id": item_id, "attempt": 0, **given_up})
        update_job_item_result(shop.context, said)
        assert retry_failed_items(shop.context, job.id, [said.item_id]).items == 1
        until(listener, lambda: not waiting(connection))
    ended = get_robot_job(shop.context, job.id)
    assert (ended.status, ended.success_count, ended.generation) == ("completed", _BATCH, 2)
    entered = Counter(entry.form.reference.rpartition("-")[0] for entry in portal.record.entries)
    assert [item for item, times in entered.items() if times > 1] == []
