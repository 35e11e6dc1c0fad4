"""Notifications of new rows: none is lost, and each is handled once."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from app import database as doors
from app.context import Connection
from app.engine.queue import job_manager
from app.engine.queue.notifications import LatchedNotification
from app.engine.queue.publish import publish
from app.engine.worker.app import app, fresh_connector
from tests.conftest import Database
from tests.helpers.support import scalar, waiting
from tests.helpers.toy import Outside, say
from tests.helpers.waits import LIMIT_S, until

_HEARD = "SELECT count(*) FROM toy.heard"


def test_a_notification_during_a_fetch_is_seen_after_it() -> None:
    """It survives the first `clear()`, not the second."""
    notification = LatchedNotification()
    notification.set()
    notification.clear()
    assert notification.is_set()
    notification.clear()
    assert not notification.is_set()


async def test_a_row_that_comes_during_an_empty_fetch_is_fetched_at_once(
    database: Database, connection: Connection, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notification arrives before the worker sees that the fetch found nothing."""
    fetch, make = job_manager.FencedManager.fetch_job, app._worker  # noqa: SLF001 - between these two it happens
    notifications: list[asyncio.Event] = []
    rung: list[bool] = []

    def remember(**options: Any) -> Any:
        worker = make(**options)
        notifications.append(worker._new_job_event)  # noqa: SLF001 - the same
        return worker

    async def fetch_job(manager: job_manager.FencedManager, queues: Any, worker_id: int) -> Any:
        job = await fetch(manager, queues, worker_id)
        while job is None and not rung:
            # Again, if the worker does not listen yet.
            await asyncio.to_thread(publish, connection, say("late"))
            with suppress(TimeoutError):
                rung.append(await asyncio.wait_for(notifications[0].wait(), 0.5))
        return job

    monkeypatch.setattr(job_manager.FencedManager, "fetch_job", fetch_job)
    monkeypatch.setattr(app, "_worker", remember)
    with app.replace_connector(fresh_connector()), doors.connect(database.url, autocommit=True) as listener:
        async with app.open_async():
            serving = asyncio.create_task(
                app.run_worker_async(fetch_job_polling_interval=10 * LIMIT_S, install_signal_handlers=False)
            )
            try:
                await asyncio.to_thread(until, listener, lambda: scalar(connection, _HEARD) and not waiting(connection))
            finally:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)
