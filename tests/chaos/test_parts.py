"""A domain's part of a run: the generic actors and laws work for any batch, with any names of tables and columns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest

from app.chaos import laws, observer
from app.chaos.model import Model, Submission
from app.chaos.operator import Operator
from app.chaos.part import ChaosPart, Work
from app.chaos.producer import Producer
from app.chaos.results import Results
from app.chaos.scheduler import Scheduler
from app.chaos.setup import declared
from app.chaos.stage import Stage
from app.chaos.submitting import open_items
from app.context import Connection, Context
from app.engine import batches, domain
from app.errors import SetupError
from app.testing.drain import drain_all
from events import new_id
from tests.conftest import Database
from tests.helpers import songs
from tests.helpers.songs import SONGS

REUSED = ("reused, applied id", "reused, dead id", "reused, new id")
KINDS = ("late", "early", "foreign", "mismatched", *REUSED)


def invent(_workspace: UUID, size: int, _dice: Random) -> tuple[Any, frozenset[str]]:
    """Create a song in at most nine variants."""
    numbers = range(1, min(size, 9) + 1)
    return [{"variant_number": n} for n in numbers], frozenset(str(n) for n in numbers)


def create(connection: Connection, submission: Submission) -> UUID:
    """Submit a song."""
    context = Context.start(connection, submission.workspace_id)
    return batches.submit(context, SONGS, submission.content, request={}, idempotency_key=submission.key).id


WORK = Work(
    batch=SONGS,
    tenants=(new_id(), new_id()),
    invent=invent,
    create=create,
    names=b"SELECT order_id AS job_id, array_agg(variant_number::text) AS names FROM songs.variants GROUP BY 1",
    success=lambda _: {"duration_ms": 7},
)


@pytest.fixture
def stage(database: Database, tmp_path: Path) -> Iterator[Stage]:
    """The tests' database as the stage of a run, with the songs' tables observed."""
    songs.install(database)
    observer.install(database.superuser_url)
    try:
        observer.observe(database.superuser_url, SONGS)
        with domain.use(songs.WIRING):
            yield Stage(tmp_path, database.url, database.superuser_url, {}, lambda *_: new_id())
    finally:
        observer.remove(database.superuser_url)


def test_jobs_of_any_batch_are_submitted_disturbed_and_checked(stage: Stage, connection: Connection) -> None:
    """Every kind of result is delivered, jobs are retried, and no law is broken at the end."""
    model = Model()
    producer, results = Producer(stage, model, "1", work=WORK), Results(stage, model, "2", work=WORK)
    operator = Operator(stage, model, "3", parts=[ChaosPart(work=WORK)])
    scheduler = Scheduler(stage, model, "4", work=WORK)
    wanted = {f"delivered {kind}" for kind in KINDS} | {"retried failed items", "submitted plainly"}
    for _ in range(400):
        for actor in (producer, results, operator):
            actor.act()
        if results.dice.random() < 0.2:
            drain_all(connection)
        if wanted <= set(model.done):
            break
    drain_all(connection)
    assert wanted <= set(model.done)
    assert open_items(connection, SONGS, WORK.tenants) == 0
    assert broken(stage, model) == set()
    scheduler.act()
    drain_all(connection)  # makes delayed events due, so that they are early
    assert broken(stage, model) == {"a delayed event is not applied before it is due"}


TAMPERED: dict[str, LiteralString] = {
    "every item has a result": "UPDATE songs.variants SET generation_status = 'generating'",
    "an attempt at an item gets one result": "UPDATE songs.variants SET generation_status = generation_status",
    "an item's last attempt got its result": "DELETE FROM chaos.results",
    "every job has ended": "UPDATE songs.orders SET status = 'processing'",
    "a job that ended has said so once a generation": "DELETE FROM engine.event_log WHERE type = 'test/song.completed'",
    "a job has ended in its last generation": "UPDATE songs.orders SET generation = generation + 1",
    "an event of a job is its workspace's": "UPDATE songs.orders SET user_id = gen_random_uuid()",
    "an accepted job exists": "UPDATE songs.orders SET idempotency_key = 'tuesday'",
    "a job has the items that were submitted": "UPDATE songs.variants SET variant_number = 7",
}


@pytest.mark.parametrize("law", TAMPERED)
def test_a_law_of_any_batch_can_be_broken(stage: Stage, connection: Connection, law: str) -> None:
    """After tampering, each law is reported."""
    model = Model()
    content, names = invent(WORK.tenants[0], 1, Random())
    submission = Submission(WORK.tenants[0], "monday", names, content)
    model.accept(submission, create(connection, submission))
    drain_all(connection)
    assert broken(stage, model) == set()
    with stage.overlook() as overlooking:
        overlooking.execute(TAMPERED[law])
    assert law in broken(stage, model)


def broken(stage: Stage, model: Model) -> set[str]:
    """Return the laws that are broken."""
    with psycopg.connect(stage.superuser_url, autocommit=True) as connection:
        return {violation.law for violation in laws.check(connection, model, [WORK])}


def test_a_run_needs_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a domain that takes part, nothing is started."""
    monkeypatch.setattr("app.chaos.setup.domains", lambda: ())
    with pytest.raises(SetupError, match="no installed domain declares a part"):
        declared()
