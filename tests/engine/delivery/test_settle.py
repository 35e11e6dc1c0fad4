"""Settle: put a failed event back or bury it, by its error and its attempt."""

from __future__ import annotations

from uuid import uuid4

import pytest

from app.context import Connection
from app.engine.delivery.retry import Bury, PutBack
from app.engine.delivery.settle import carry_out, settle
from app.engine.domain import Policy
from app.errors import Permanent, Transient
from tests.helpers import sequences
from tests.helpers.queued import queued, unreadable
from tests.helpers.sequences import StepFaults
from tests.helpers.support import scalar
from tests.helpers.toy import Outside, say

POLICY = Policy(most_attempts=3, base=100.0)
_DELAYED = """
SELECT args->'events'->0->'data'->>'word', (args->>'attempt')::int, args->>'error',
       extract(epoch FROM due_at - now())::float
  FROM engine.delayed ORDER BY 1
"""
_DEAD = "SELECT event_data->'data'->>'word', error_class, error_message FROM engine.failed_jobs ORDER BY 1"


def test_each_event_is_settled_by_its_own_attempt(connection: Connection, outside: Outside) -> None:
    """Those with attempts left wait, as long as the policy says; the others are buried. None counts as applied."""
    events = [queued(say(f"attempt {n}"), attempt=n) for n in range(3)]
    with connection.transaction():
        assert settle(connection, POLICY, events, Transient("no answer")) == 0
    first, second = connection.execute(_DELAYED).fetchall()
    assert first[:3] == ("attempt 0", 1, "Transient: no answer")
    assert second[:3] == ("attempt 1", 2, "Transient: no answer")
    assert 45 < first[3] <= 100 < second[3] + 5 <= 205
    assert connection.execute(_DEAD).fetchall() == [("attempt 2", "Transient", "no answer")]


def test_a_final_error_buries_at_the_first_attempt(connection: Connection, outside: Outside) -> None:
    """Nothing waits."""
    with connection.transaction():
        settle(connection, POLICY, [queued(say("word"))], Permanent("no"))
    assert connection.execute(_DEAD).fetchall() == [("word", "Permanent", "no")]
    assert connection.execute(_DELAYED).fetchall() == []


def test_a_sequenced_event_keeps_its_position(connection: Connection, step_faults: StepFaults) -> None:
    """While it waits or is dead, the later events of its subject cannot overtake it."""
    event = sequences.step(uuid4(), 1)
    with connection.transaction():
        settle(connection, POLICY, [queued(event)], Transient("no"))
    assert scalar(connection, "SELECT event_id FROM engine.sequence") == event.id


@pytest.mark.parametrize("decision", [PutBack(0, 1), Bury()])
def test_an_unreadable_event_is_always_buried(
    connection: Connection, outside: Outside, decision: PutBack | Bury
) -> None:
    """No delivery could read it."""
    carry_out(connection, unreadable(say("word")), decision, Transient("no"))
    assert len(connection.execute(_DEAD).fetchall()) == 1
    assert scalar(connection, "SELECT count(*) FROM engine.waiting()") == 0


def test_an_event_without_a_delay_is_due_at_once(connection: Connection, outside: Outside) -> None:
    """It is in the queue, with the attempt that was decided."""
    carry_out(connection, queued(say("word")), PutBack(0, 4), Transient("no"))
    assert scalar(connection, "SELECT (args->>'attempt')::int FROM public.procrastinate_jobs") == 4
