"""Robots in separate processes: shared limits, grace periods, and secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr

from app import database as doors
from app.context import Connection
from app.logistics import carriers, jobs
from app.settings import settings
from app.simulators.portal import Portal, Rule
from tests.conftest import Database
from tests.helpers.robot_results import broken, items_of
from tests.helpers.shops import Shop
from tests.helpers.support import drain, drain_all, scalar
from tests.helpers.waits import until
from tests.helpers.workers import WorkerPool, worker_pool

PASSWORD = "demo-password"
WRONG = "not-this-one"


@pytest.fixture
def workers(hasty: None, tmp_path: Path) -> Iterator[WorkerPool]:
    """A pool of workers."""
    with worker_pool(tmp_path) as started:
        yield started


@pytest.fixture
def wait(database: Database) -> Iterator[Callable[[Callable[[], object]], None]]:
    """Wait until a condition is true."""
    with doors.connect(database.url, autocommit=True) as listener:
        yield lambda condition: until(listener, condition)


Wait = Callable[[Callable[[], object]], None]


def is_over(shop: Shop, job_id: UUID) -> bool:
    """Return whether the job has ended and no event of it waits."""
    over = jobs.get_robot_job(shop.context, job_id).completed_at is not None
    return over and scalar(shop.connection, "SELECT count(*) FROM public.procrastinate_jobs") == 0


def test_an_account_has_no_more_calls_at_once_than_it_may_over_all_workers(
    shop: Shop, portal: Portal, workers: WorkerPool, wait: Wait
) -> None:
    """Two processes, four batches, two sessions: never a third call at once. Parked requests are entered too."""
    carriers.set_carrier(shop.context, "coordinadora", max_sessions=2)
    portal.change(latency_ms=20)
    job = jobs.create_robot_job(shop.context, shop.order(100))
    started = [workers.work(), workers.work()]
    wait(lambda: scalar(shop.connection, "SELECT count(*) FROM engine.delayed WHERE key IS NOT NULL"))
    wait(lambda: is_over(shop, job.id))
    assert [worker.stop() for worker in started] == [0, 0]
    assert jobs.get_robot_job(shop.context, job.id).success_count == 100
    assert (portal.record.most_at_once, portal.record.summary().accepted, portal.record.duplicates) == (2, 100, [])
    left = "SELECT key FROM engine.delayed UNION ALL SELECT key FROM engine.slots"
    assert shop.connection.execute(left).fetchall() == []
    assert broken(shop.connection) == []


def test_a_wrong_password_is_tried_once(
    shop: Shop, portal: Portal, workers: WorkerPool, wait: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For any number of orders, because portals lock accounts. A retry with the right one ships all.

    At no log level does a worker log a password.
    """
    monkeypatch.setenv("TALLYMAN_LOG_LEVEL", "DEBUG")
    carriers.set_carrier(shop.context, "coordinadora", password=SecretStr(WRONG))
    job = jobs.create_robot_job(shop.context, shop.order(60))
    worker = workers.work()
    wait(lambda: is_over(shop, job.id))
    page = jobs.get_job_with_items(shop.context, job.id, limit=1)
    assert (page.job.status, page.errors) == ("failed", {"portal": 60})
    assert "refused the username or the password; `carriers set coordinadora`" in (page.items[0].error_message or "")
    assert (portal.record.wrong_logins, portal.record.entries) == (1, [])
    carriers.set_carrier(shop.context, "coordinadora", password=SecretStr(PASSWORD))
    jobs.retry_failed_items(shop.context, job.id)
    wait(lambda: is_over(shop, job.id))
    assert worker.stop() == 0
    assert jobs.get_robot_job(shop.context, job.id).success_count == 60
    assert (portal.record.wrong_logins, portal.record.logins) == (1, 1)
    log = worker.log.read_text()
    assert '"level": "debug"' in log
    assert [word for word in (PASSWORD, WRONG, "sealed:v1:") if word in log] == []


def test_a_retry_asks_the_portal_after_the_grace_period(
    shop: Shop, portal: Portal, workers: WorkerPool, wait: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last attempt timed out and the portal is still entering the order."""
    for name, value in {"MOST_ATTEMPTS": "1", "PORTAL_SETTLE": "2"}.items():
        monkeypatch.setenv(f"TALLYMAN_{name}", value)
    settings.cache_clear()
    worker = workers.work()
    first = jobs.create_robot_job(shop.context, shop.order(1))
    wait(lambda: is_over(shop, first.id))
    portal.change(latency_ms=1000)
    job = jobs.create_robot_job(shop.context, shop.order(1))
    wait(lambda: is_over(shop, job.id))
    (item,) = items_of(shop, job.id)
    assert item.error_type == "timeout"
    portal.change(latency_ms=0)
    jobs.retry_failed_items(shop.context, job.id)
    wait(lambda: is_over(shop, job.id))
    wait(lambda: portal.record.find("demo", [f"{item.id}-0"]))
    assert worker.stop() == 0
    (entered,) = portal.record.find("demo", [f"{item.id}-0", f"{item.id}-1"])
    assert items_of(shop, job.id)[0].tracking_number == entered.tracking_number
    documents = [entry.form.recipient_document for entry in portal.record.entries]
    assert len(documents) == len(set(documents)) == 2


PLACES = (
    "public.procrastinate_jobs",
    "public.procrastinate_events",
    "engine.event_log",
    "engine.failed_jobs",
    "engine.calls",
    "logistics.robot_jobs",
    "logistics.robot_job_items",
)


def told(connection: Connection) -> str:
    """Return all content of these tables as text."""
    found: list[Any] = []
    for place in PLACES:
        found += connection.execute(f"SELECT t::text FROM {place} t").fetchall()  # noqa: S608
    return str(found)


def test_no_password_is_in_the_queue_the_ledger_or_a_dead_letter(shop: Shop, portal: Portal, hasty: None) -> None:
    """Neither plain nor sealed, at any time, after success and failure."""
    rules: list[tuple[Any, str]] = [("refuse", "Vereda"), ("timeout", "torre"), ("garble", "bodega"), ("lost", "casa")]
    portal.change(rules=[Rule(field="address", contains=word, then=then) for then, word in rules])
    order_ids = [one for _, word in [*rules, ("accept", "Calle")] for one in shop.order(2, address=f"{word} 1")]
    sealed = scalar(shop.connection, "SELECT portal_password FROM logistics.carrier_configs")
    for spoil in (_leave, _set_a_wrong_password, _set_one_that_does_not_open):
        jobs.create_robot_job(shop.context, order_ids)
        seen = [told(shop.connection)]
        drain(queues=["events"])
        spoil(shop)
        seen.append(told(shop.connection))
        drain_all(shop.connection)
        seen.append(told(shop.connection))
        assert [word for word in (PASSWORD, WRONG, sealed, "sealed:v1:") if word in "".join(seen)] == []
    assert scalar(shop.connection, "SELECT count(*) FROM engine.failed_jobs") == len(order_ids)


def _leave(_shop: Shop) -> None:
    """Change nothing."""


def _set_a_wrong_password(shop: Shop) -> None:
    carriers.set_carrier(shop.context, "coordinadora", password=SecretStr(WRONG))


def _set_one_that_does_not_open(shop: Shop) -> None:
    shop.connection.execute("UPDATE logistics.carrier_configs SET portal_password = 'sealed:v1:test:AAAA'")
