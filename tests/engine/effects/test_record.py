"""Record the outcomes of calls, and hand back the events that were not called."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from app.context import Connection, HandlerContext
from app.engine.delivery.engine import Engine
from app.engine.domain import FailedCall
from app.engine.effects.batch import EffectBatch
from app.engine.effects.record import hand_back, record_outcomes
from app.engine.queue.lease import LeaseLost
from app.errors import Busy, Permanent, Transient
from app.testing.published import assert_published
from events import Event
from tests.helpers.blocking_calls import claimed, word_of
from tests.helpers.support import scalar
from tests.helpers.toy import Made, Outside, Said, say, want

_ROWS = """
SELECT id, status::text, (SELECT array_agg(e #>> '{data,word}' ORDER BY e #>> '{data,word}')
                      FROM jsonb_array_elements(args->'events') e)
  FROM public.procrastinate_jobs WHERE queue_name = 'toys' ORDER BY id
"""
_MARKS = "SELECT count(*) FROM engine.calls"
_APPLIED = "SELECT array_agg(data->>'word' ORDER BY data->>'word') FROM engine.event_log"


def finish(batch: EffectBatch, *words: str, error: Exception | None = None, outcome: str = "made") -> None:
    """Give the tasks of these words an outcome: an error, or a result."""
    for task in batch.tasks:
        if word_of(task) in words:
            task.begun = True
            task.outcome = error or Made(word=word_of(task), outcome=outcome)


def test_outcomes_are_recorded_and_the_row_keeps_the_open_events(
    connection: Connection, outside: Outside, engine: Engine
) -> None:
    """One commit: ledger, result, end of the call, smaller row. The row is removed with its last event."""
    batch = claimed(engine, connection, *(want(word, limit="account") for word in "abc"))
    finish(batch, "a", "b")
    record_outcomes(batch)
    assert [word_of(task) for task in batch.tasks] == ["c"]
    ((_, status, words),) = connection.execute(_ROWS).fetchall()
    assert (status, words) == ("doing", ["c"])
    assert_published(connection, Made, count=2)
    assert (scalar(connection, _APPLIED), scalar(connection, _MARKS)) == (["a", "b"], 1)
    assert scalar(connection, "SELECT count(*) FROM engine.slots") == 1
    record_outcomes(batch)
    finish(batch, "c")
    record_outcomes(batch)
    assert connection.execute(_ROWS).fetchall() == []
    assert (scalar(connection, _MARKS), scalar(connection, "SELECT count(*) FROM engine.slots")) == (0, 0)


def test_a_failed_call_is_put_back_or_buried(connection: Connection, outside: Outside, engine: Engine) -> None:
    """A call that may have been made keeps its mark; one that was not made loses it."""
    batch = claimed(engine, connection, *(want(word) for word in ("later", "final", "unsent")))
    finish(batch, "later", error=Transient("no answer"))
    finish(batch, "final", error=Permanent("no"))
    finish(batch, "unsent", error=Transient("no line", maybe_called=False))
    marked = {word_of(task): task.key for task in batch.tasks}
    record_outcomes(batch)
    assert scalar(connection, "SELECT event_data #>> '{data,word}' FROM engine.failed_jobs") == "final"
    waiting = "SELECT array_agg(args #>> '{events,0,data,word}' ORDER BY 1) FROM engine.delayed"
    assert sorted(scalar(connection, waiting)) == ["later", "unsent"]
    left = scalar(connection, "SELECT array_agg(call_key) FROM engine.calls")
    assert set(left) == {marked["later"], marked["final"]}


def test_an_effect_records_its_failed_calls(connection: Connection, outside: Outside, engine: Engine) -> None:
    """In the same commit, with whether the event is dead. Calls that were not begun are left out."""
    told: list[tuple[str, str, bool]] = []

    def failed(_context: HandlerContext, calls: Sequence[FailedCall]) -> Iterator[Event[Said]]:
        for call in calls:
            told.append((call.event.data.word, str(call.error), call.is_dead))
            yield say(f"{call.event.data.word} failed")

    batch = claimed(engine, connection, *(want(word) for word in ("done", "later", "final", "unbegun")))
    batch.effect = replace(batch.effect, failed=failed)
    finish(batch, "done")
    finish(batch, "later", error=Transient("no answer"))
    finish(batch, "final", error=Permanent("no"))
    for task in batch.tasks:
        if word_of(task) == "unbegun":
            task.outcome = Busy("rests", retry_after=5)
    record_outcomes(batch)
    assert sorted(told) == [("final", "no", True), ("later", "no answer", False)]
    assert_published(connection, Said, count=2)


def test_an_outcome_that_cannot_be_stored_fails_its_own_event(
    connection: Connection, outside: Outside, engine: Engine
) -> None:
    """The others are recorded."""
    batch = claimed(engine, connection, want("odd"), want("even"))
    finish(batch, "odd", outcome="\x00")
    finish(batch, "even")
    record_outcomes(batch)
    assert scalar(connection, _APPLIED) == ["even"]
    assert scalar(connection, "SELECT error_class FROM engine.failed_jobs") == "CannotBeRecorded"


def test_the_longest_cooldown_of_a_key_is_recorded(connection: Connection, outside: Outside, engine: Engine) -> None:
    """It begins in the commit that puts the events back."""
    batch = claimed(engine, connection, want("a", limit="account"), want("b", limit="account"))
    finish(batch, "a", error=Transient("long", retry_after=600))
    finish(batch, "b", error=Transient("short", retry_after=60))
    record_outcomes(batch)
    assert connection.execute("SELECT key, reason, until > now() + interval '5 min' FROM engine.rests").fetchall() == [
        ("account", "long", True)
    ]


@pytest.mark.parametrize("stops", [True, False])
def test_events_that_were_not_called_are_handed_back(
    connection: Connection, outside: Outside, engine: Engine, *, stops: bool
) -> None:
    """Recorded are the outcomes that are there. A call in progress stays in doubt; the others lose their marks.

    A worker that stops leaves the other events in their row, at its position.
    """
    batch = claimed(engine, connection, *(want(word) for word in ("done", "open", "begun")))
    finish(batch, "done")
    (doubtful,) = (task for task in batch.tasks if word_of(task) == "begun")
    doubtful.begun = True
    row_id = batch.delivery.row_id
    hand_back(batch, stops=stops)
    assert batch.tasks == []
    assert scalar(connection, _APPLIED) == ["done"]
    assert scalar(connection, "SELECT array_agg(call_key) FROM engine.calls") == [doubtful.key]
    found = connection.execute(_ROWS).fetchall()
    assert sorted(words for *_, words in found) == [["begun"], ["open"]]
    rows = {words[0]: (row, status) for row, status, words in found}
    assert {status for _, status in rows.values()} == {"todo"}
    assert (rows["open"][0] == row_id) is stops
    assert scalar(connection, "SELECT max((args->>'attempt')::int) FROM public.procrastinate_jobs") == 0


def test_a_lost_lease_records_nothing(connection: Connection, outside: Outside, engine: Engine) -> None:
    """The row belongs to another delivery."""
    batch = claimed(engine, connection, want("word"))
    finish(batch, "word")
    connection.execute("UPDATE public.procrastinate_jobs SET attempts = attempts + 1")
    with pytest.raises(LeaseLost):
        record_outcomes(batch)
    assert (scalar(connection, _APPLIED), scalar(connection, _MARKS)) == (None, 1)
