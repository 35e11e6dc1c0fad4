"""Rescue of deliveries that run too long."""

from __future__ import annotations

from app.context import Connection
from app.engine.queue.publish import publish
from app.engine.worker.rescue import rescue
from app.settings import settings
from tests.helpers.support import scalar
from tests.helpers.toy import Outside, want


def in_hand(connection: Connection) -> int:
    """Let a live worker hold a batch of two effects for two hours. Returns its row."""
    publish(connection, want("a"), want("b"))
    worker = scalar(connection, "SELECT worker_id FROM procrastinate_register_worker_v1()")
    row = int(scalar(connection, "SELECT id FROM procrastinate_fetch_job_v2(NULL, %s)", worker))
    connection.execute("UPDATE public.procrastinate_events SET at = now() - interval '2 hours'")
    return row


def freed(connection: Connection) -> list[int]:
    """Rescue with a longest run of an hour. Returns the freed rows."""
    limits = settings().model_copy(update={"longest_run": 3600.0})
    return [row.row_id for row in rescue(connection, limits)]


def test_a_long_batch_with_progress_is_not_rescued(connection: Connection, outside: Outside) -> None:
    """The run counts from its last recorded outcome."""
    row = in_hand(connection)
    connection.execute(
        "INSERT INTO engine.calls (call_key, event_id, row_id, attempts, begun_at)"
        " VALUES (gen_random_uuid(), gen_random_uuid(), %s, 0, now() - interval '59 minutes')",
        [row],
    )
    assert freed(connection) == []


def test_a_long_batch_without_progress_is_rescued(connection: Connection, outside: Outside) -> None:
    """Although its worker's heartbeat is fresh."""
    row = in_hand(connection)
    connection.execute(
        "INSERT INTO engine.calls (call_key, event_id, row_id, attempts, begun_at)"
        " VALUES (gen_random_uuid(), gen_random_uuid(), %s, 0, now() - interval '61 minutes')",
        [row],
    )
    assert freed(connection) == [row]
    assert scalar(connection, "SELECT reason FROM engine.rescues") == "too_long"
