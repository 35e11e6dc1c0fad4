"""Rescue and fencing: one owner for each delivery, and none for longer than its owner lives."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any, LiteralString

import psycopg
import pytest
from procrastinate import jobs

from app import database as doors
from app.context import Connection
from app.engine.queue.publish import publish
from app.engine.worker import rescue as rescuing
from app.engine.worker.app import _pool, app, load_arguments
from app.engine.worker.rescue import rescue, sweep
from app.settings import Settings, settings
from tests.conftest import Database
from tests.helpers.support import drain_all, scalar, waiting
from tests.helpers.toy import Outside, say, want


def fetch(connection: Connection, *, heartbeat: str = "0 s") -> dict[str, Any]:
    """Register a worker with a heartbeat of this age, and fetch a row."""
    worker_id = scalar(connection, "SELECT worker_id FROM procrastinate_register_worker_v1()")
    connection.execute(
        "UPDATE public.procrastinate_workers SET last_heartbeat = now() - %s::interval WHERE id = %s",
        [heartbeat, worker_id],
    )
    row_id = scalar(connection, "SELECT id FROM procrastinate_fetch_job_v2(NULL, %s)", worker_id)
    assert row_id is not None, "no row is due"
    return {"id": row_id, "worker_id": worker_id}


def held(row: dict[str, Any]) -> jobs.Job:
    """Return the delivery as the worker that fetched it knows it."""
    return jobs.Job(
        id=row["id"],
        queue="events",
        lock=None,
        queueing_lock=None,
        task_name="consume",
        attempts=0,
        worker_id=row["worker_id"],
    )


def limits(**changes: float) -> Settings:
    """Return the settings with other limits."""
    return settings().model_copy(update=changes)


def test_the_delivery_of_a_dead_worker_is_freed_and_applied_once(connection: Connection, outside: Outside) -> None:
    """Its row waits again with one attempt more. A live worker's row stays."""
    publish(connection, say("dead"))
    dead = fetch(connection, heartbeat="1 hour")
    publish(connection, say("alive"))
    alive = fetch(connection)
    assert [row.row_id for row in rescue(connection, settings())] == [dead["id"]]
    states = dict(connection.execute("SELECT id, status::text FROM public.procrastinate_jobs").fetchall())
    assert states == {dead["id"]: "todo", alive["id"]: "doing"}
    connection.execute("DELETE FROM public.procrastinate_workers")
    rescue(connection, settings())
    drain_all(connection)
    assert scalar(connection, "SELECT count(*) FROM toy.heard") == 2


def test_a_delivery_that_runs_too_long_is_freed(connection: Connection, outside: Outside) -> None:
    """Also of a live worker, which may be unable to record the outcome."""
    publish(connection, say("stuck"))
    fetch(connection)
    assert rescue(connection, limits(longest_run=3600)) == []
    connection.execute("UPDATE public.procrastinate_events SET at = now() - interval '2 hours'")
    assert len(rescue(connection, limits(longest_run=3600))) == 1
    assert scalar(connection, "SELECT reason FROM engine.rescues") == "too_long"


def test_a_delivery_that_crashes_its_workers_is_buried(connection: Connection, outside: Outside) -> None:
    """After `most_rescues` its events are dead letters."""
    publish(connection, say("killer"))
    for _ in range(settings().most_rescues + 1):
        fetch(connection, heartbeat="1 hour")
        rescue(connection, settings())
    assert waiting(connection) == 0
    assert scalar(connection, "SELECT error_class FROM engine.failed_jobs") == "KilledItsWorkers"
    assert scalar(connection, "SELECT event_data->'data'->>'word' FROM engine.failed_jobs") == "killer"


def test_a_crashing_event_under_an_applied_id_is_buried_apart(connection: Connection, outside: Outside) -> None:
    """With other data it is another event. An exact copy is not buried."""
    applied = say("applied")
    publish(connection, applied)
    drain_all(connection)
    for event in (applied, applied.model_copy(update={"data": say("impostor").data})):
        publish(connection, event)
        for _ in range(settings().most_rescues + 1):
            fetch(connection, heartbeat="1 hour")
            rescue(connection, settings())
        assert waiting(connection) == 0
    letters = connection.execute("SELECT event_data->'data'->>'word', error_class FROM engine.failed_jobs").fetchall()
    assert letters == [("impostor", "KilledItsWorkers")]
    assert scalar(connection, "SELECT count(*) FROM engine.event_rescues") == 0


def test_after_a_rescue_events_are_delivered_alone(connection: Connection, outside: Outside) -> None:
    """A batch is split and no siblings are taken, so that the cause of a crash is found."""
    publish(connection, *[say(f"w{n}") for n in range(5)])
    fetch(connection, heartbeat="1 hour")
    rescue(connection, settings())
    drain_all(connection)
    assert scalar(connection, "SELECT count(*) FROM toy.heard") == 5
    assert scalar(connection, "SELECT count(DISTINCT applied_at) FROM engine.event_log") == 5


def test_calls_of_a_dead_worker_are_in_doubt(connection: Connection, outside: Outside) -> None:
    """A batch of begun effects is split, and each call asks first."""
    publish(connection, want("a"), want("b"))
    row = fetch(connection, heartbeat="1 hour")
    connection.execute(
        "INSERT INTO engine.calls (event_id, row_id, attempts, worker_id)"
        " SELECT (e->>'id')::uuid, id, attempts, worker_id"
        " FROM public.procrastinate_jobs, jsonb_array_elements(args->'events') e"
        " WHERE id = %s",
        [row["id"]],
    )
    rescue(connection, settings())
    drain_all(connection)
    assert sorted((word, call.in_doubt) for word, call in outside.calls) == [("a", True), ("b", True)]


def test_rescuers_at_once_free_each_delivery_once(database: Database, connection: Connection, outside: Outside) -> None:
    """Of several workers that try at once one does."""
    for n in range(20):
        publish(connection, say(f"w{n}"))
        fetch(connection, heartbeat="1 hour")

    def one(_: int) -> int:
        with doors.connect(database.url, autocommit=True) as other:
            return len(rescue(other, settings()))

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(one, range(8))) == 20
    assert scalar(connection, "SELECT count(*) FROM engine.rescues") == 20


WORDS = ["success", "failure", "retry"]
STATES = ["rescued", "taken by another", "done"]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("word", WORDS)
def test_a_worker_without_its_lease_changes_nothing(
    connection: Connection, outside: Outside, word: str, state: str
) -> None:
    """However it ends the delivery, the row stays as its new owner has it."""
    publish(connection, say("contested"))
    row = fetch(connection, heartbeat="1 hour")
    zombie = held(row)
    rescue(connection, settings())
    if state == "taken by another":
        fetch(connection)
    elif state == "done":
        drain_all(connection)
    before = connection.execute("SELECT * FROM public.procrastinate_jobs").fetchall()
    asyncio.run(end_as_procrastinate(zombie, word))
    assert connection.execute("SELECT * FROM public.procrastinate_jobs").fetchall() == before


@pytest.mark.parametrize(
    ("word", "left"),
    [
        ("success", "todo"),
        ("success of another task", None),
        ("failure", "failed"),
        ("retry", "todo"),
        ("stop", "todo"),
    ],
)
def test_the_owner_ends_its_delivery(connection: Connection, outside: Outside, word: str, left: str | None) -> None:
    """A failed row is kept. A row of a stopping worker waits, and so does one that our task left."""
    publish(connection, say("mine"))
    row = fetch(connection)
    owner = held(row)
    asyncio.run(end_as_procrastinate(owner, word))
    found = connection.execute("SELECT status::text, attempts FROM public.procrastinate_jobs").fetchone()
    # The next delivery is told apart from this delivery by its attempts.
    assert found == (left and (left, 1))


@pytest.mark.parametrize("word", ["retry", "stop"])
def test_a_row_waits_again_beside_another_one_with_its_queueing_lock(
    connection: Connection, outside: Outside, word: str
) -> None:
    """A queueing lock is unique among waiting rows: the row that comes back gives it up.

    Stock Procrastinate 3.10.0 raises `UniqueViolation` here and leaves the row `doing`.
    """
    insert = (
        "INSERT INTO public.procrastinate_jobs (queue_name, task_name, queueing_lock)"
        " VALUES ('events', 'prune', 'prune')"
    )
    connection.execute(insert)
    row = fetch(connection)
    connection.execute(insert)
    asyncio.run(end_as_procrastinate(held(row).evolve(task_name="prune", queueing_lock="prune"), word))
    found = connection.execute(
        "SELECT status::text, queueing_lock FROM public.procrastinate_jobs ORDER BY id"
    ).fetchall()
    assert found == [("todo", None), ("todo", "prune")]


async def end_as_procrastinate(job: jobs.Job, word: str) -> None:
    """End a delivery as Procrastinate's worker does."""
    import procrastinate  # noqa: PLC0415

    connector = procrastinate.PsycopgConnector(json_loads=load_arguments, pool_factory=_pool, min_size=1, max_size=1)
    with app.replace_connector(connector):
        async with app.open_async():
            match word:
                case "success of another task":
                    await app.job_manager.finish_job(
                        job.evolve(task_name="prune"), jobs.Status.SUCCEEDED, delete_job=True
                    )
                case "success":
                    await app.job_manager.finish_job(job, jobs.Status.SUCCEEDED, delete_job=True)
                case "failure":
                    await app.job_manager.finish_job(job, jobs.Status.FAILED, delete_job=False)
                case "stop":
                    await app.job_manager.finish_job(job, jobs.Status.ABORTED, delete_job=False)
                case _:
                    await app.job_manager.retry_job(job)


@pytest.mark.parametrize(
    "statement",
    [
        rescuing._FREE,  # noqa: SLF001 - how a statement is carried out is the law here
        rescuing._FAILED,  # noqa: SLF001 - the same
        # What the foreign key does where a worker's row goes.
        "UPDATE public.procrastinate_jobs SET worker_id = NULL WHERE worker_id = 1",
    ],
    ids=["rescue", "sweep", "a worker goes"],
)
def test_rows_in_delivery_are_found_by_their_own_index(
    database: Database, connection: Connection, outside: Outside, statement: LiteralString
) -> None:
    """However many rows wait, and whatever the statistics say."""
    publish(connection, *[say(f"w{n}") for n in range(3000)], batch_size=1)
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute("ANALYZE public.procrastinate_jobs")
    limits = {"stalled_after": 30.0, "longest_run": 1800.0, "queues": ["events"]}
    with connection.transaction():
        connection.execute(rescuing._BY_INDEX)  # noqa: SLF001 - the same
        plan = "\n".join(line for (line,) in connection.execute(f"EXPLAIN {statement}", limits))
    assert "Seq Scan on procrastinate_jobs" not in plan
    assert "tallyman_jobs_" in plan


def test_rows_that_the_queue_failed_by_itself_become_dead_letters(connection: Connection, outside: Outside) -> None:
    """For example an unknown task. Its arguments are kept, and its row is removed."""
    connection.execute(
        "INSERT INTO public.procrastinate_jobs (queue_name, task_name, args)"
        " VALUES ('events', 'of_another_program', '{\"some\": \"thing\"}')"
    )
    drain_all(connection)
    sweep(connection)  # the worker's own sweep may have been first
    assert waiting(connection) == scalar(connection, "SELECT count(*) FROM public.procrastinate_jobs") == 0
    row = connection.execute("SELECT event_data, error_class, error_message FROM engine.failed_jobs").fetchone()
    assert row is not None
    assert row[0] == {"some": "thing"}
    assert row[1] == "FailedInTheQueue"
    assert "'of_another_program'" in row[2]


def test_a_prune_that_failed_is_no_dead_letter(connection: Connection, outside: Outside) -> None:
    """It contains no event, and the next prune does its work."""
    connection.execute(
        "INSERT INTO public.procrastinate_jobs (queue_name, task_name, status) VALUES ('events', 'prune', 'failed')"
    )
    assert sweep(connection) == 0
    assert scalar(connection, "SELECT count(*) FROM engine.failed_jobs") == 0
