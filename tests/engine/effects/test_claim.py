"""Claim a batch of effects: take slots, mark calls as begun, prepare them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.context import Connection
from app.engine import domain
from app.engine.delivery.engine import Engine
from app.engine.delivery.ledger import enter
from app.engine.domain import ConcurrencyLimit
from app.engine.effects import cooldowns
from app.engine.effects.claim import claim
from app.engine.queue.lease import LeaseLost
from app.engine.queue.publish import publish
from app.errors import Permanent
from tests.helpers.blocking_calls import claimed, fetch, word_of
from tests.helpers.calls import keyed
from tests.helpers.dead_letters import begin_call, make_call
from tests.helpers.queued import queued
from tests.helpers.support import scalar
from tests.helpers.toy import Outside, Wanted, want

_WAITING = """
SELECT coalesce(e #>> '{data,word}', args #>> '{data,word}'), due_at > now() + interval '100 ms', key
  FROM engine.delayed, jsonb_array_elements(args->'events') e ORDER BY 1
"""
_MARKS = "SELECT array_agg(event_id ORDER BY event_id) FROM engine.calls"


def test_a_claim_marks_the_calls_and_prepares_them(connection: Connection, outside: Outside, engine: Engine) -> None:
    """A task has the input of its call; a call that a delivery left behind is in doubt."""
    first, second = want("first"), want("second", limit="account")
    begin_call(connection, second)
    connection.execute("UPDATE engine.calls SET ask_after = now()")
    batch = claimed(engine, connection, first, second)
    tasks = {word_of(task): task for task in batch.tasks}
    assert {word: task.call.in_doubt for word, task in tasks.items()} == {"first": False, "second": True}
    assert (tasks["first"].call.attempt, tasks["first"].call.is_last, tasks["first"].begun) == (0, False, False)
    assert (tasks["first"].prepared.work, tasks["first"].key) == (first.data, first.id)
    assert batch.limits == {ConcurrencyLimit("account", 2): 1}
    assert tasks["second"].limit == ConcurrencyLimit("account", 2)
    assert scalar(connection, _MARKS) == sorted([first.id, second.id])


def test_events_that_need_no_call_leave_the_row(connection: Connection, outside: Outside, engine: Engine) -> None:
    """An applied event, and an obsolete one, which counts as applied. Nothing to call: None, and no row."""
    applied, stale, needed = want("applied"), want("stale"), want("needed")
    outside.stale.add("stale")
    enter(connection, [queued(applied)])
    batch = claimed(engine, connection, applied, stale, needed)
    assert [word_of(task) for task in batch.tasks] == ["needed"]
    assert scalar(connection, "SELECT jsonb_array_length(args->'events') FROM public.procrastinate_jobs") == 1
    assert scalar(connection, "SELECT count(*) FROM engine.event_log") == 2
    publish(connection, applied)
    assert claim(engine, fetch(connection)) is None
    assert scalar(connection, "SELECT count(*) FROM public.procrastinate_jobs") == 1
    assert scalar(connection, _MARKS) == [needed.id]


def test_events_without_a_slot_are_parked(connection: Connection, outside: Outside, engine: Engine) -> None:
    """For their limit; the others of the row are claimed. A call under a limit with a free slot waits in the batch."""
    claimed(engine, connection, want("a", limit="full"), want("b", limit="full"))
    batch = claimed(engine, connection, want("c", limit="full"), want("d", limit="free"), want("e"))
    assert sorted(word_of(task) for task in batch.tasks) == ["d", "e"]
    assert connection.execute(_WAITING).fetchall() == [("c", True, "full")]


def test_events_in_cooldown_are_put_back_until_it_ends(
    connection: Connection, outside: Outside, engine: Engine
) -> None:
    """Neither a slot nor a mark is taken for them, and no attempt is spent."""
    cooldowns.begin(connection, {"account": (60.0, "slow down")})
    batch = claimed(engine, connection, want("cooling", limit="account"), want("other"))
    assert ([word_of(task) for task in batch.tasks], batch.limits) == (["other"], {})
    ((attempt, error, seconds),) = connection.execute(
        "SELECT args->>'attempt', args->>'error', extract(epoch FROM due_at - now()) FROM engine.delayed"
    ).fetchall()
    assert (attempt, "slow down" in error, 55 < seconds <= 67) == ("0", True, True)


def test_an_event_whose_call_is_in_progress_waits(connection: Connection, outside: Outside, engine: Engine) -> None:
    """So does a call in its grace period, until that ends."""
    busy, doubtful = want("busy"), want("doubtful")
    make_call(connection, busy)
    begin_call(connection, doubtful)
    connection.execute(
        "UPDATE engine.calls SET ask_after = now() + interval '1 hour' WHERE event_id = %s", [doubtful.id]
    )
    publish(connection, busy, doubtful)
    assert claim(engine, fetch(connection)) is None
    assert connection.execute(_WAITING).fetchall() == [("busy", True, None), ("doubtful", True, None)]
    assert scalar(connection, "SELECT max(due_at) > now() + interval '50 min' FROM engine.delayed")


def test_two_events_with_one_key_make_one_call(connection: Connection, outside: Outside, engine: Engine) -> None:
    """The second one waits for the result of the first."""
    with domain.use(keyed(outside)):
        batch = claimed(engine, connection, want("same"), want("same"))
    assert len(batch.tasks) == 1
    assert [word for word, *_ in connection.execute(_WAITING)] == ["same"]


def test_a_batch_whose_worker_crashed_is_put_into_single_rows(
    connection: Connection, outside: Outside, engine: Engine
) -> None:
    """A call that crashes workers is then alone. No call is marked."""
    publish(connection, *(want(str(n)) for n in range(3)))
    connection.execute("UPDATE public.procrastinate_jobs SET attempts = 1")
    assert claim(engine, fetch(connection)) is None
    assert scalar(connection, "SELECT array_agg(jsonb_array_length(args->'events')) FROM procrastinate_jobs") == [
        1,
        1,
        1,
    ]
    assert scalar(connection, _MARKS) is None


def test_a_claim_that_fails_puts_each_event_into_its_own_row(
    connection: Connection, outside: Outside, engine: Engine
) -> None:
    """A single event is ended with the error."""

    def prepare(*_: object) -> list[domain.Prepared]:
        raise Permanent("no")

    wiring = outside.wiring()
    effect = replace(wiring.effects[Wanted], prepare=prepare)
    with domain.use(domain.Wiring(wiring.handlers, {Wanted: effect})):
        publish(connection, want("a"), want("b"))
        assert claim(engine, fetch(connection)) is None
        assert scalar(connection, "SELECT count(*) FROM public.procrastinate_jobs") == 2
        assert claim(engine, fetch(connection)) is None
    assert scalar(connection, "SELECT count(*) FROM public.procrastinate_jobs") == 1
    assert scalar(connection, "SELECT error_class FROM engine.failed_jobs") == "Permanent"
    assert scalar(connection, _MARKS) is None


def test_a_claim_without_the_lease_changes_nothing(connection: Connection, outside: Outside, engine: Engine) -> None:
    """Another worker has the row: `LeaseLost`."""
    publish(connection, want("word"))
    delivery = fetch(connection)
    with pytest.raises(LeaseLost):
        claim(engine, replace(delivery, attempts=7))
    assert scalar(connection, _MARKS) is None
