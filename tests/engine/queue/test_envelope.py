"""The format of a queue row, written and read in one module and one SQL view."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

import events
from app.context import Connection
from app.engine.queue.envelope import Row, may_hold_events, open_rows, remembered, write
from app.engine.queue.publish import publish, put_back
from app.engine.routing import Route
from app.errors import Transient
from tests.helpers.support import drain, drain_all, scalar
from tests.helpers.toy import Outside, say, want


def test_a_stored_error_is_cut() -> None:
    """Its class and the beginning of its message, without characters that PostgreSQL cannot store."""
    assert remembered(Transient("no answer")) == "Transient: no answer"
    assert remembered(Transient("a\x00b" + "x" * 1000)) == "Transient: ab" + "x" * 297
    assert remembered(Transient("half \ud800")) == "Transient: half ?"


def test_a_row_stores_its_error_beside_the_events(connection: Connection, outside: Outside) -> None:
    """Also with quotes. Events and attempt are read as without an error."""
    for event in (say("w"), want("c")):
        raw = event.model_dump(mode="json", exclude_none=True)
        put_back(connection, [(event, raw)], delay=0, attempt=2, error='Transient: "no" \\ answer')
        row = scalar(connection, "SELECT max(id) FROM public.procrastinate_jobs")
        args = scalar(connection, "SELECT args FROM public.procrastinate_jobs WHERE id = %s", row)
        assert (args["error"], args["attempt"]) == ('Transient: "no" \\ answer', 2)
        text = scalar(connection, "SELECT args::text FROM public.procrastinate_jobs WHERE id = %s", row)
        (letter,) = open_rows([Row(row, text)])
        assert (letter.event, letter.attempt) == (event, 2)


def test_an_event_without_attempts_is_written_as_published(connection: Connection, outside: Outside) -> None:
    """After a deadlock its row is as if it had never been delivered."""
    event = say("unlucky")
    raw = event.model_dump(mode="json", exclude_none=True)
    put_back(connection, [(event, raw)], delay=1, attempt=0, error="DeadlockDetected: ")
    assert scalar(connection, "SELECT args FROM engine.delayed") == raw


def test_attributes_of_a_producer_stay_with_the_event(connection: Connection, outside: Outside) -> None:
    """Content type and extensions are kept in a put-back row and in a dead letter."""
    own = {"datacontenttype": "application/json", "partitionkey": "p-1", "sampled": False}
    event = events.parse({**say("lost", "later").model_dump(mode="json", exclude_none=True), **own})
    publish(connection, event)
    drain()
    args = scalar(connection, "SELECT args->'events'->0 FROM engine.delayed")
    assert args == json.loads(event.json_bytes())
    drain_all(connection)
    dead = scalar(connection, "SELECT event_data FROM engine.failed_jobs")
    assert {name: dead[name] for name in own} == own


def test_the_view_reads_a_row_as_the_program_does(connection: Connection, outside: Outside) -> None:
    """Events, attempt and error of every kind of row, and of rows in another format."""
    event = json.loads(say("w").json_bytes())
    told: list[Any] = [
        event,
        {**event, "error": "an extension", "attempt": 7, "share": "x"},
        {"attempt": 2, "error": "Transient: away", "events": [event, event]},
        {"attempt": 3, "share": "a/b", "events": [event]},
        {"attempt": 1, "events": []},
        {"events": "none"},
        {"specversion": "1.0"},
        [1, 2],
        "text",
    ]
    for args in told:
        connection.execute(
            "INSERT INTO public.procrastinate_jobs (queue_name, task_name, args) VALUES ('events', 'consume', %s)",
            [Jsonb(args)],
        )
    publish(connection, say("later"), delay=60)
    seen = "SELECT row_id, args::text, events, coalesce(attempt, 0), error FROM engine.queue_rows ORDER BY row_id"
    rows = connection.execute(seen).fetchall()
    assert len(rows) == len(told) + 1
    for row_id, args, found, attempt, error in rows:
        letters = open_rows([Row(row_id, args)])
        assert [letter.raw for letter in letters] == found, args
        assert {letter.attempt for letter in letters} <= {attempt}, args
        assert error == ("Transient: away" if "Transient" in args else None)


@given(
    events_=st.lists(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5)), min_size=1, max_size=4),
    attempt=st.integers(0, 9),
    error=st.none() | st.text(alphabet=st.characters(codec="utf-8"), max_size=20),
    share=st.none() | st.text(alphabet=st.characters(codec="utf-8"), max_size=20),
)
def test_what_is_written_is_read(
    events_: list[dict[str, Any]], attempt: int, error: str | None, share: str | None
) -> None:
    """Events and attempt, whatever else the row stores."""
    route = Route("calls", 0, 500, effect_of="x" if share else None, share=share)
    task, args = write(route, [json.dumps(one) for one in events_], attempt, error)
    letters = open_rows([Row(1, args)])
    alone = len(events_) == 1 and not attempt and not share
    assert task == ("consume" if alone else "perform" if share else "consume_parcel")
    assert may_hold_events(args.encode()) or alone
    if not alone or "events" not in events_[0]:
        assert [letter.raw for letter in letters] == events_
        assert {letter.attempt for letter in letters} == {attempt}
