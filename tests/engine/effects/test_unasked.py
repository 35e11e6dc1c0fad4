"""Effects whose other side cannot be asked: which calls are repeated, and which wait for a person."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from app.context import Connection
from app.engine import domain
from app.engine.dead_letters import plan as plans
from app.engine.dead_letters.letters import Filters
from app.engine.dead_letters.redeliver import redeliver
from app.engine.dead_letters.replay import Pace, run
from app.engine.domain import Policy, Prepared
from app.engine.queue.publish import publish
from app.errors import Busy, InvalidInput, NotCalled, Permanent, Transient
from app.testing import worker
from app.testing.faults import Fault
from events import Payload
from tests.conftest import Database
from tests.helpers.calls import Mail, deaths
from tests.helpers.deaths import die_in_a_call, rescued
from tests.helpers.support import drain, drain_all, scalar
from tests.helpers.toy import Made, want

_WAITS = "SELECT extract(epoch FROM due_at - now())::float, args->>'attempt' FROM engine.delayed"
_HEARD = "SELECT word FROM toy.heard ORDER BY word"


class Answer(BaseModel):
    """The answer of a mail server."""

    number: int


def garbled() -> object:
    """Parse an answer that does not match the model."""
    return Answer.model_validate({"number": "secret"})


NOTHING_LEFT = {
    "busy": Busy("all lines are taken"),
    "refused": ConnectionRefusedError("connection refused"),
    "said so": Transient("no connection", maybe_called=False),
}


@pytest.mark.parametrize("name", NOTHING_LEFT)
def test_an_error_before_anything_was_sent_is_tried_again(connection: Connection, mail: Mail, name: str) -> None:
    """No mark stays: the next delivery calls, and is not in doubt."""
    mail.errors = [NOTHING_LEFT[name], NOTHING_LEFT[name]]
    publish(connection, want("letter"))
    drain()
    assert scalar(connection, "SELECT count(*) FROM engine.calls") == 0
    drain_all(connection)
    assert mail.sent == ["letter"]
    assert deaths(connection) == []


@pytest.mark.parametrize("may_be", [True, False])
def test_only_a_call_that_may_have_been_made_has_a_grace_period(
    connection: Connection, mail: Mail, *, may_be: bool
) -> None:
    """A call that was not made is retried after the policy's delay."""
    mail.errors = [Transient("broken", maybe_called=may_be)]
    options: dict[str, Any] = {"can_be_asked": True, "grace_period": lambda: 600.0}
    with domain.use(mail.wiring(policy=Policy(base=100.0), **options)):
        publish(connection, want("letter"))
        drain()
    ((seconds, attempt),) = connection.execute(_WAITS).fetchall()
    assert attempt == "1"
    assert 595 < seconds <= 600 if may_be else 45 < seconds <= 100


def test_not_called_can_be_replayed(connection: Connection, mail: Mail) -> None:
    """`NotCalled` is final, and a replay calls."""
    mail.errors = [NotCalled("no key")]
    publish(connection, want("letter"))
    drain_all(connection)
    assert deaths(connection) == ["NotCalled"]
    assert replayed(connection) == ["valid"]
    assert mail.sent == ["letter"]


def replayed(connection: Connection, *, again: bool = False) -> list[str]:
    """Replay all dead letters. Returns the classes of the plan."""
    plan = plans.make(connection, Filters(), actor="ana")
    found = plans.letters(connection, plan.id)
    with connection.transaction():
        redeliver(connection, found, again=again)
    drain_all(connection)
    return [str(one.class_) for one in found]


IN_DOUBT: dict[str, Exception | Callable[[], object]] = {"time-out": Transient("no answer"), "garbled": garbled}


@pytest.mark.parametrize("name", IN_DOUBT)
def test_a_call_that_may_have_been_made_is_buried(connection: Connection, mail: Mail, name: str) -> None:
    """At once. Neither a delivery nor a replay repeats it."""
    mail.errors = [IN_DOUBT[name]]
    publish(connection, want("letter"))
    drain_all(connection)
    assert deaths(connection) == ["InDoubt"]
    why = scalar(connection, "SELECT error_message FROM engine.failed_jobs")
    assert "may have been made" in why
    assert "secret" not in why
    assert replayed(connection) == ["in_doubt"]
    assert (mail.sent, deaths(connection)) == ([], ["InDoubt"])


def test_a_call_whose_worker_crashed_is_buried(database: Database, connection: Connection, mail: Mail) -> None:
    """It may have been made."""
    publish(connection, want("letter"))
    die_in_a_call(database, connection, mail.wiring(), Fault.DIES_AFTER)
    rescued(connection)
    drain_all(connection)
    assert (mail.sent, deaths(connection)) == (["letter"], ["InDoubt"])


def test_a_person_can_let_the_call_be_made_again(connection: Connection, mail: Mail) -> None:
    """With `again` and a reason, which is in the audit log."""
    mail.errors = [Transient("no answer")]
    publish(connection, want("letter"))
    drain_all(connection)
    plan = plans.make(connection, Filters(), actor="ana")
    with pytest.raises(InvalidInput, match="reason"):
        run(connection, plan, Pace(again=True), actor="ana", reason=None, show=lambda _: None)
    assert replayed(connection, again=True) == ["in_doubt"]
    assert (mail.sent, deaths(connection)) == (["letter"], [])
    assert connection.execute(_HEARD).fetchall() == [("letter: sent",)]


@pytest.mark.parametrize("most", [1, 3])
def test_an_effect_has_a_retry_policy_of_its_own(connection: Connection, mail: Mail, most: int) -> None:
    """Its attempts and delays replace the worker's."""
    mail.errors = [Transient("no line", maybe_called=False) for _ in range(9)]
    with domain.use(mail.wiring(policy=Policy(most_attempts=most, base=1000.0, cap=1000.0))):
        publish(connection, want("letter"))
        for delivery in range(most):
            drain()
            waits = connection.execute(_WAITS).fetchall()
            if delivery < most - 1:
                assert 490 < waits[0][0] <= 1000
            worker.let_time_pass(connection)
    assert (deaths(connection), len(mail.errors)) == (["Transient"], 9 - most)


def test_a_call_in_doubt_is_not_given_up(connection: Connection, mail: Mail) -> None:
    """`give_up` would record a failure of a call that may have been made."""

    def give_up(prepared: Prepared, _error: Exception) -> Payload:
        return Made(word=prepared.work.word, outcome="failed")

    mail.errors = [Transient("no answer")]
    with domain.use(mail.wiring(policy=Policy(most_attempts=1), give_up=give_up)):
        publish(connection, want("letter"))
        drain_all(connection)
    assert (deaths(connection), connection.execute(_HEARD).fetchall()) == (["InDoubt"], [])


@pytest.mark.parametrize("asks", [True, False])
def test_a_permanent_error_is_final(connection: Connection, mail: Mail, *, asks: bool) -> None:
    """Whether the other side can be asked or not."""
    mail.errors = [Permanent("no such mailbox")]
    with domain.use(mail.wiring(can_be_asked=asks)):
        publish(connection, want("letter"))
        drain_all(connection)
    assert deaths(connection) == ["Permanent"]


def test_an_unreadable_answer_is_asked_about(connection: Connection, mail: Mail) -> None:
    """A `ValidationError` leaves the call in doubt. The next delivery asks and succeeds."""
    mail.errors = [garbled]
    with domain.use(mail.wiring(can_be_asked=True)):
        publish(connection, want("letter"))
        drain_all(connection)
    assert (mail.sent, deaths(connection)) == (["letter"], [])
