"""Runs with real worker processes that are killed: places, money and items against the marketplace's own ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

from app import database as doors
from app.collection import runs
from app.collection.settings import set_settings
from app.engine.inspect.invariants import audit
from app.program import INVARIANTS
from app.settings import settings
from app.simulators.marketplace import Category
from tests.conftest import Database
from tests.helpers.collecting import Desk, imbalances
from tests.helpers.support import scalar
from tests.helpers.waits import until
from tests.helpers.workers import WorkerPool, worker_pool

RUNS = 40
LIMIT_S = 120.0
_OVER: LiteralString = """
SELECT count(*) FROM collection.collection_runs WHERE status IN ('completed', 'failed', 'cancelled')
"""
_RUNNING: LiteralString = "SELECT count(*) FROM collection.collection_runs WHERE status = 'running'"
_ABOVE: LiteralString = """
SELECT count(*) FROM collection.collection_runs WHERE actual_cost_cents + reserved_cost_cents > budget_cap_cents
"""
_SETTLED: LiteralString = "SELECT count(*) FROM collection.collection_pages WHERE status = 'completed'"
# A trigger sees every commit that lets a run begin, also those between two looks of the test.
_WATCH = """
CREATE TABLE public.most_running (running integer NOT NULL);
GRANT INSERT, SELECT ON public.most_running TO service_role;
CREATE FUNCTION public.note_running() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.most_running SELECT count(*) FROM collection.collection_runs WHERE status = 'running';
    RETURN NULL;
END $$;
GRANT EXECUTE ON FUNCTION public.note_running() TO service_role;
CREATE TRIGGER note_running AFTER UPDATE ON collection.collection_runs
    FOR EACH STATEMENT EXECUTE FUNCTION public.note_running();
"""
_UNWATCH = """
DROP TRIGGER note_running ON collection.collection_runs;
DROP FUNCTION public.note_running;
DROP TABLE public.most_running
"""

Wait = Callable[[Callable[[], object]], None]


@pytest.fixture
def workers(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WorkerPool]:
    """A pool of workers with short limits."""
    for name, value in {"MARKETPLACE_TIMEOUT": "2", "MARKETPLACE_SETTLE": "0.2"}.items():
        monkeypatch.setenv(f"TALLYMAN_{name}", value)
    settings.cache_clear()
    with worker_pool(tmp_path) as started:
        yield started


@pytest.fixture
def wait(database: Database) -> Iterator[Wait]:
    """Wait until a condition is true."""
    with doors.connect(database.url, autocommit=True) as listener:
        yield lambda condition: until(listener, condition, limit=LIMIT_S)


@pytest.fixture
def most_running(database: Database) -> Iterator[Callable[[], int]]:
    """The most runs that any statement has seen running, by a trigger."""
    with psycopg.connect(database.superuser_url, autocommit=True) as owner:
        owner.execute(_WATCH)
        try:
            yield lambda: scalar(owner, "SELECT max(running) FROM public.most_running")
        finally:
            owner.execute(_UNWATCH)


def broken(desk: Desk) -> list[str]:
    """The invariants of the whole database that do not hold, and what is wrong in the books."""
    return [one.name for one in audit(desk.connection, INVARIANTS) if not one.holds] + list(
        map(str, imbalances(desk.connection))
    )


def items(desk: Desk, run: runs.Run) -> list[tuple[object, ...]]:
    """What a run has found, without its ids and times."""
    return [(one["external_id"], one["status"], str(one["data"])) for one in desk.items(run.id)]


def test_forty_runs_on_four_workers_that_are_killed(
    desk: Desk, workers: WorkerPool, wait: Wait, most_running: Callable[[], int]
) -> None:
    """Never more than three run at once, no run exceeds its cap, and the ledger equals the books to the cent."""
    desk.sells(**{f"c{n}": Category(pages=2, items=4, price_cents=n % 7 + 1) for n in range(RUNS)})
    desk.market.change(latency_ms=10, lost_rate=0.05, error_rate=0.05, seed=11)
    made = [desk.create(f"c{n}") for n in range(RUNS)]
    at_work = [workers.work() for _ in range(4)]
    for share in (8, 16, 24, 32):
        wait(lambda share=share: scalar(desk.connection, _OVER) >= share)  # type: ignore[misc]
        assert scalar(desk.connection, _RUNNING) <= 3
        assert scalar(desk.connection, _ABOVE) == 0
        at_work.pop(0).kill()
        at_work.append(workers.work())
    wait(lambda: scalar(desk.connection, _OVER) == RUNS)
    wait(lambda: not scalar(desk.connection, "SELECT count(*) FROM public.procrastinate_jobs"))
    assert [worker.stop() for worker in at_work] == [0] * 4
    assert 1 <= most_running() <= 3
    assert {desk.run(run.id).status for run in made} == {"completed"}
    assert sum(desk.books(run.id)[0] for run in made) == desk.charged
    assert len(desk.market.ledger.charges) == len(desk.market.ledger.by_reference()) == 2 * RUNS
    assert broken(desk) == []


def test_a_run_that_is_paused_and_whose_workers_die_finds_what_an_undisturbed_run_finds(
    desk: Desk, workers: WorkerPool, wait: Wait
) -> None:
    """Pause in the middle, kill every worker, start others, resume: the same items, each page charged once."""
    desk.sells(toys=Category(pages=10, items=5, price_cents=3), books=Category(pages=10, items=5, price_cents=2))
    calm = desk.create("toys", "books")
    first = workers.work()
    wait(lambda: desk.run(calm.id).status == "completed")
    desk.market.change(latency_ms=30)
    run = desk.create("toys", "books")
    second = workers.work()
    wait(lambda: scalar(desk.connection, _SETTLED) >= 26)
    runs.pause_run(desk.context, run.id, actor="olga")
    first.kill()
    second.kill()
    assert desk.run(run.id).status == "paused"
    third = workers.work()
    wait(lambda: desk.run(run.id).reserved_cost_cents == 0)
    runs.resume_run(desk.context, run.id, actor="olga")
    wait(lambda: desk.run(run.id).status == "completed")
    wait(lambda: not scalar(desk.connection, "SELECT count(*) FROM public.procrastinate_jobs"))
    assert third.stop() == 0
    assert items(desk, run) == items(desk, calm)
    assert desk.books(run.id) == desk.books(calm.id) == (50, 0, 0)
    assert desk.charged == 100
    assert broken(desk) == []


def test_a_run_keeps_its_own_cap_through_pauses_that_the_program_ends(
    desk: Desk, workers: WorkerPool, wait: Wait
) -> None:
    """The organisation's cap is 500, the run's own 800: paused at 800, resumed, still 800."""
    set_settings(desk.context, actor="olga", budget_cap_cents=500)
    desk.sells(toys=Category(pages=10, items=2, price_cents=100))
    run = desk.create("toys", cap_cents=800)
    worker = workers.work()
    wait(lambda: desk.run(run.id).status == "paused")
    assert (desk.run(run.id).pause_reason, desk.books(run.id)) == ("budget", (800, 0, 0))
    set_settings(desk.context, actor="olga", budget_cap_cents=5000)
    assert desk.run(run.id).status == "paused"
    runs.resume_run(desk.context, run.id, actor="olga")
    wait(lambda: desk.run(run.id).pause_reason == "budget")
    assert worker.stop() == 0
    now = desk.run(run.id)
    assert (now.budget_cap_cents, now.cap_override_cents, desk.books(run.id)) == (800, 800, (800, 0, 0))
    assert desk.charged == 800
