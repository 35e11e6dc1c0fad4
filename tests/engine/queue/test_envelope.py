"""Delivery: what a queue row remembers of the error that brought it back."""

from __future__ import annotations

import json
from typing import LiteralString

import pytest

import events
from app.context import Connection
from app.engine.queue.envelope import Delivery, LeaseLost, Row, hold, open_rows, remembered
from app.engine.queue.publish import publish, put_back
from app.errors import Transient
from tests.helpers.support import drain, drain_all, scalar
from tests.helpers.toy import Outside, say, want


def test_an_error_is_remembered_as_far_as_it_can_be_stored() -> None:
    """Its class and the beginning of its message, without what PostgreSQL's JSON cannot hold."""
    assert remembered(Transient("no answer")) == "Transient: no answer"
    assert remembered(Transient("a\x00b" + "x" * 1000)) == "Transient: ab" + "x" * 297
    assert remembered(Transient("half \ud800")) == "Transient: half ?"


def test_a_row_remembers_its_error_and_its_events_are_the_same(connection: Connection, outside: Outside) -> None:
    """Quotes and all; the reader of the row finds the event and its attempt, as without an error."""
    for event in (say("w"), want("c")):
        raw = event.model_dump(mode="json", exclude_none=True)
        put_back(connection, [(event, raw)], delay=0, attempt=2, error='Transient: "no" \\ answer')
        row = scalar(connection, "SELECT max(id) FROM public.procrastinate_jobs")
        args = scalar(connection, "SELECT args FROM public.procrastinate_jobs WHERE id = %s", row)
        assert (args["error"], args["attempt"]) == ('Transient: "no" \\ answer', 2)
        text = scalar(connection, "SELECT args::text FROM public.procrastinate_jobs WHERE id = %s", row)
        (letter,) = open_rows([Row(row, text)])
        assert (letter.event, letter.attempt) == (event, 2)


def test_an_event_without_attempts_goes_back_as_it_came(connection: Connection, outside: Outside) -> None:
    """A deadlock says nothing about it: its row is as if it had never been tried."""
    event = say("unlucky")
    raw = event.model_dump(mode="json", exclude_none=True)
    put_back(connection, [(event, raw)], delay=1, attempt=0, error="DeadlockDetected: ")
    assert scalar(connection, "SELECT args FROM engine.delayed") == raw


def test_attributes_of_a_producer_stay_with_the_event(connection: Connection, outside: Outside) -> None:
    """Content type and extensions are in the row of a put-back event and in its dead letter."""
    own = {"datacontenttype": "application/json", "partitionkey": "p-1", "sampled": False}
    event = events.parse({**say("lost", "later").model_dump(mode="json", exclude_none=True), **own})
    publish(connection, event)
    drain()
    args = scalar(connection, "SELECT args->'events'->0 FROM engine.delayed")
    assert args == json.loads(event.json_bytes())
    drain_all(connection)
    dead = scalar(connection, "SELECT event_data FROM engine.failed_jobs")
    assert {name: dead[name] for name in own} == own


_TAKE = "UPDATE public.procrastinate_jobs SET status = 'doing', attempts = 1, worker_id = %s WHERE id = %s"
OTHERS = {
    "put back": "status = 'todo'",
    "rescued, and taken again by the same worker": "attempts = 2",
    "taken by another worker": "worker_id = NULL",
}
"""What may have become of a row that a delivery took, by the change of it."""


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_a_row_that_was_given_away_is_not_held(connection: Connection, outside: Outside, change: LiteralString) -> None:
    """The row's attempts and worker are the delivery's lease: with any other it is another delivery's."""
    publish(connection, say("word"))
    worker_id = scalar(connection, "SELECT worker_id FROM procrastinate_register_worker_v1()")
    row_id = scalar(connection, "SELECT id FROM public.procrastinate_jobs")
    connection.execute(_TAKE, [worker_id, row_id])
    delivery = Delivery(row_id, 1, worker_id)
    with connection.transaction():
        hold(connection, delivery)
    connection.execute(f"UPDATE public.procrastinate_jobs SET {change}")  # noqa: S608 - a constant of the module
    with pytest.raises(LeaseLost):
        hold(connection, delivery)
