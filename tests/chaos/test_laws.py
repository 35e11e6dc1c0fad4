"""Each law reports its violations."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import LiteralString
from uuid import uuid4

from app.chaos import ending, laws
from app.chaos.model import Model
from app.chaos.report import Violation, summarise
from app.context import Connection
from app.logistics.fixtures.chaos import order_laws
from app.logistics.fixtures.chaos.books import Books
from app.logistics.fixtures.chaos.orders import robot_work
from app.testing.tables import keep
from tests.chaos.conftest import KEY
from tests.conftest import Database


def broken(connection: Connection, model: Model) -> set[str]:
    """Return the laws that are broken."""
    orders = order_laws.check(connection, Books(), [], [])
    return {violation.law for violation in (*check(connection, model), *orders)}


def check(connection: Connection, model: Model) -> list[Violation]:
    """Return the violations of the generic laws, with the jobs of logistics."""
    return laws.check(connection, model, [robot_work([], Books())])


TAMPERED: dict[str, LiteralString] = {
    "robot jobs: the counters equal the items": (
        "UPDATE logistics.robot_jobs SET success_count = success_count - 1, error_count = error_count + 1"
    ),
    # Lost: it was said, and is neither applied nor dead.
    "an event that was committed is applied or dead": "DELETE FROM engine.event_log WHERE type = 'order/updated'",
    "what is applied was committed": "DELETE FROM chaos.said WHERE type = 'robot/item.completed'",
    "nothing waits once everything is quiet": (
        "INSERT INTO public.procrastinate_jobs (queue_name, task_name, args) VALUES ('events', 'consume', '{}')"
    ),
    "every item has a result": (
        "UPDATE logistics.robot_job_items SET status = 'processing', tracking_number = NULL, completed_at = NULL"
    ),
    # Counted a second time.
    "an attempt at an item gets one result": "UPDATE logistics.robot_job_items SET status = status",
    "an item's last attempt got its result": "DELETE FROM chaos.results",
    "every job has ended": "UPDATE logistics.robot_jobs SET status = 'processing', completed_at = NULL",
    "a job that ended has said so once a generation": "DELETE FROM engine.event_log WHERE type = 'robot/job.completed'",
    "a job has ended in its last generation": "UPDATE logistics.robot_jobs SET generation = generation + 1",
    "a lock of another session makes no dead letter": (
        "INSERT INTO engine.failed_jobs (job_type, event_data, error_message, error_class, retry_count, resolved_at)"
        " VALUES ('robot/item.completed', '{}', 'locked', 'RowLocked', 1, now())"
    ),
    "no outside call is left open": (
        "INSERT INTO engine.calls (event_id, row_id, attempts) VALUES (gen_random_uuid(), 1, 0)"
    ),
    "an event of a job is its workspace's": (
        "UPDATE engine.event_log SET tenant_id = gen_random_uuid() WHERE type = 'robot/item.completed'"
    ),
    "a shipped order has a number that one of its items got": (
        "UPDATE logistics.orders SET tracking_number = 'another' WHERE reference = '00001'"
    ),
    "an accepted job exists": "UPDATE logistics.robot_jobs SET idempotency_key = 'tuesday'",
    "every job was submitted": "UPDATE logistics.robot_jobs SET idempotency_key = 'tuesday'",
    "a job has the items that were submitted": (
        "SET session_replication_role = replica; DELETE FROM logistics.robot_job_items;"
        " SET session_replication_role = origin"
    ),
    "a dead letter that can be replayed is done in the end": (
        "INSERT INTO engine.failed_jobs (job_type, event_data, error_message, retry_count)"
        " VALUES ('robot/item.completed', '{}', 'died', 1)"
    ),
}
"""What breaks each law of the database."""


def test_the_mark_of_a_discarded_call_may_stay(overlooking: Connection, model: Model) -> None:
    """Its outcome is unknown. That of a letter resolved in another way is known."""
    overlooking.execute("INSERT INTO engine.calls (event_id, row_id, attempts) VALUES (gen_random_uuid(), 0, 0)")
    overlooking.execute(
        "INSERT INTO engine.failed_jobs"
        " (job_type, event_data, error_message, retry_count, event_id, resolved_at, notes)"
        " SELECT 'robot/item.requested', '{}', 'died', 1, event_id, now(), 'discarded by chaos' FROM engine.calls"
    )
    assert broken(overlooking, model) == set()
    overlooking.execute("UPDATE engine.failed_jobs SET notes = 'replayed'")
    assert broken(overlooking, model) == {"no outside call is left open"}


def test_every_law_can_be_broken(database: Database, overlooking: Connection, model: Model) -> None:
    """An undisturbed run breaks none. After tampering, each is reported."""
    assert check(overlooking, model) == []
    silent = []
    with keep(database.superuser_url) as kept:
        for law, statement in TAMPERED.items():
            overlooking.execute(statement)
            silent += [] if law in broken(overlooking, model) else [law]
            kept.restore()
        assert silent == []
        assert check(overlooking, model) == []


def test_differences_from_the_model_are_found(overlooking: Connection, model: Model) -> None:
    """Lost jobs, jobs of others, rolled-back jobs, and a key of two jobs."""
    rows = overlooking.execute("SELECT event_id FROM engine.event_log WHERE type = 'robot/item.completed'").fetchall()
    (applied,), (unsaid,) = rows[:2]
    model.deliver([uuid4()], "late")
    model.deliver([applied], "mismatched")
    model.take_back_events([unsaid])
    submission, _ = model.accepted[KEY]
    model.accept(submission, uuid4())
    assert broken(overlooking, model) == {
        "a delivered event is applied or dead",
        "a mismatched or unreadable event is a dead letter and is not applied",
        "an event that was rolled back is neither applied nor dead",
        "one key, one job",
    }


def test_a_delayed_event_that_is_early_or_lost_is_found(overlooking: Connection, model: Model) -> None:
    """An event applied in time breaks no law. One applied early and one that is lost are reported."""
    rows = overlooking.execute("SELECT event_id FROM engine.event_log WHERE type = 'robot/item.completed'").fetchall()
    (in_time,), (early,) = rows[:2]
    now = datetime.now(UTC)
    overlooking.execute("INSERT INTO chaos.applied VALUES (%s, %s), (%s, %s)", [in_time, now, early, now])
    model.delay([in_time], now)
    assert check(overlooking, model) == []
    model.delay([early], now + timedelta(milliseconds=1))
    model.delay([in_time], now + timedelta(hours=1))  # a second try of the same publish: the first may have committed
    model.deliver([uuid4()], "delayed")
    assert broken(overlooking, model) == {
        "a delayed event is not applied before it is due",
        "a delivered event is applied or dead",
    }


REUSED = """
INSERT INTO engine.failed_jobs (job_type, event_data, error_message, error_class, retry_count, event_id)
SELECT type, jsonb_build_object('id', event_id, 'data', jsonb_build_object('error_message', %s::text)), 'died',
       'ReusedId', 1, gen_random_uuid()
  FROM engine.event_log WHERE event_id = %s
"""


def test_an_event_with_another_events_id_that_is_not_dead_once_is_found(overlooking: Connection, model: Model) -> None:
    """The ledger keeps the first event. The other must be exactly one dead letter."""
    (event_id,) = overlooking.execute(
        "SELECT event_id FROM engine.event_log WHERE type = 'robot/item.completed'"
    ).fetchall()[0]
    model.reuse(event_id, "reused 1", is_taken=True)
    law = {"an event with another event's id is one dead letter"}
    assert broken(overlooking, model) == law
    overlooking.execute(REUSED, ["reused 1", event_id])
    assert broken(overlooking, model) == set()
    overlooking.execute(REUSED, ["reused 1", event_id])
    assert broken(overlooking, model) == law
    overlooking.execute("DELETE FROM engine.failed_jobs")
    overlooking.execute("""UPDATE engine.event_log SET data = data || '{"error_message": "reused 1"}'""")
    assert broken(overlooking, model) == law


def test_a_job_that_was_rolled_back_and_exists_is_found(overlooking: Connection, model: Model) -> None:
    """A producer that rolled back has submitted nothing. One that does not know the outcome is not done."""
    submission, _ = model.accepted.pop(KEY)
    model.take_back(submission)
    model.intend(replace(submission, key="tuesday"))
    assert broken(overlooking, model) == {
        "a job whose submit was rolled back does not exist",
        "the end of every submission is known",
    }


def test_a_worker_that_ends_otherwise_than_documented_is_found() -> None:
    """Exit code 75 is allowed only for a worker that was told to stop."""
    fine = ("exit 0 (told SIGTERM)", "exit 75 (told SIGTERM)", "exit 70 (by itself)", "exit 1 (by itself)")
    wrong = ("exit 75 (by itself)", "exit 0 (by itself)", "exit 1 (told SIGTERM)", "killed by SIGTERM (told SIGTERM)")
    assert list(ending.wrong_ends(dict.fromkeys(fine, 2))) == []
    found = [violation.detail for violation in ending.wrong_ends(dict.fromkeys((*fine, *wrong), 1))]
    assert found == [f"1 times: {how}" for how in wrong]


def test_percentiles_of_recovery_times_use_the_nearest_rank() -> None:
    """Of a hundred times, and of none."""
    found = summarise([float(number) for number in range(100)])
    assert (found.deliveries, found.p50, found.p99) == (100, 50.0, 99.0)
    assert summarise([]).deliveries == 0
