"""The lease: one delivery holds a queue row."""

from __future__ import annotations

from typing import LiteralString

import pytest
from psycopg.rows import class_row

from app.context import Connection
from app.engine.queue.envelope import Row, open_rows
from app.engine.queue.lease import Delivery, LeaseLost, lock_delivery, take_siblings
from app.engine.queue.publish import publish
from tests.helpers.support import scalar
from tests.helpers.toy import Outside, say

_TAKE = "UPDATE public.procrastinate_jobs SET status = 'doing', attempts = 1, worker_id = %s WHERE id = %s"
_ROWS = "SELECT id AS row_id, args::text AS args FROM public.procrastinate_jobs ORDER BY id"
OTHERS = {
    "put back": "status = 'todo'",
    "rescued, and taken again by the same worker": "attempts = 2",
    "taken by another worker": "worker_id = NULL",
}
"""What may have become of a row that a delivery took, by the change of it."""


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_a_row_that_was_given_away_is_not_held(connection: Connection, outside: Outside, change: LiteralString) -> None:
    """A lease with other attempts or another worker belongs to another delivery."""
    publish(connection, say("word"))
    worker_id = scalar(connection, "SELECT worker_id FROM procrastinate_register_worker_v1()")
    row_id = scalar(connection, "SELECT id FROM public.procrastinate_jobs")
    connection.execute(_TAKE, [worker_id, row_id])
    delivery = Delivery(row_id, 1, worker_id)
    with connection.transaction():
        lock_delivery(connection, delivery)
    connection.execute(f"UPDATE public.procrastinate_jobs SET {change}")  # noqa: S608 - a constant of the module
    with pytest.raises(LeaseLost):
        lock_delivery(connection, delivery)


TAKEN = {
    "another delivery has it": "status = 'doing', attempts = 1",
    "it came back from a delivery": "attempts = 1",
}
"""What may have become of a sibling since it was read, by the change of its row."""


@pytest.mark.parametrize("change", TAKEN.values(), ids=TAKEN)
def test_a_sibling_that_was_taken_since_it_was_read_is_left_alone(
    connection: Connection, outside: Outside, change: LiteralString
) -> None:
    """Only a row that still waits for its first delivery is taken along; the other one stays in the queue."""
    publish(connection, say("first"))
    publish(connection, say("second"))
    cursor = connection.cursor(row_factory=class_row(Row))
    first, second = open_rows(cursor.execute(_ROWS).fetchall())
    connection.execute(
        f"UPDATE public.procrastinate_jobs SET {change} WHERE id = %s",  # noqa: S608 - a constant of the module
        [second.row_id],
    )
    with connection.transaction():
        assert take_siblings(connection, [first, second]) == [first]
    assert connection.execute("SELECT id FROM public.procrastinate_jobs").fetchall() == [(second.row_id,)]
