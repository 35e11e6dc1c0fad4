"""Effects whose other side cannot be asked (e-mail): what is tried again, what waits, what a person decides."""

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
from app.engine.inspect.explain import explain_event
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
    """What a mail server says."""

    number: int


def garbled() -> object:
    """The answer that the effect parses is not what it should be."""
    return Answer.model_validate({"number": "secret"})


NOTHING_LEFT = {
    "busy": Busy("all lines are taken"),
    "refused": ConnectionRefusedError("connection refused"),
    "said so": Transient("no connection", maybe_called=False),
}


@pytest.mark.parametrize("name", NOTHING_LEFT)
def test_an_error_before_anything_was_sent_is_tried_again(connection: Connection, mail: Mail, name: str) -> None:
    """No mark of a call stays: the next delivery calls, and is not in doubt."""
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
    """What failed while begun waits until the other side may be asked; what was not sent waits as the policy says."""
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
    """Replay all that is dead; the classes that the plan gave it."""
    plan = plans.make(connection, Filters(), actor="ana")
    found = plans.letters(connection, plan.id)
    with connection.transaction():
        redeliver(connection, found, again=again)
    drain_all(connection)
    return [str(one.class_) for one in found]


IN_DOUBT: dict[str, Exception | Callable[[], object]] = {"time-out": Transient("no answer"), "garbled": garbled}


@pytest.mark.parametrize("name", IN_DOUBT)
def test_a_call_that_may_have_been_made_is_for_a_person(connection: Connection, mail: Mail, name: str) -> None:
    """At once, with what happened; nothing is called again, by no delivery and by no replay."""
    mail.errors = [IN_DOUBT[name]]
    publish(connection, want("letter"))
    drain_all(connection)
    assert deaths(connection) == ["InDoubt"]
    why = scalar(connection, "SELECT error_message FROM engine.failed_jobs")
    assert "may have been made" in why
    assert "secret" not in why
    assert replayed(connection) == ["in_doubt"]
    assert (mail.sent, deaths(connection)) == ([], ["InDoubt"])


def test_the_worker_died_in_the_call(database: Database, connection: Connection, mail: Mail) -> None:
    """Nobody knows whether it was made: for a person, too."""
    publish(connection, want("letter"))
    die_in_a_call(database, connection, mail.wiring(), Fault.DIES_AFTER)
    rescued(connection)
    drain_all(connection)
    assert (mail.sent, deaths(connection)) == (["letter"], ["InDoubt"])


def test_a_person_can_let_the_call_be_made_again(connection: Connection, mail: Mail) -> None:
    """`again` makes it once more, knowingly; it takes a reason, which is on record."""
    mail.errors = [Transient("no answer")]
    publish(connection, want("letter"))
    drain_all(connection)
    plan = plans.make(connection, Filters(), actor="ana")
    with pytest.raises(InvalidInput, match="reason"):
        run(connection, plan, Pace(again=True), actor="ana", reason=None, show=lambda _: None)
    assert replayed(connection, again=True) == ["in_doubt"]
    assert (mail.sent, deaths(connection)) == (["letter"], [])
    assert connection.execute(_HEARD).fetchall() == [("letter: sent",)]


# Come back later ---------------------------------------------------------------------------------


def test_come_back_later_waits_as_long_as_it_says_and_spends_nothing(connection: Connection, mail: Mail) -> None:
    """The event waits for so many seconds, with the attempt that it had, however often it is told so."""
    mail.errors = [Transient("too many", retry_after=600) for _ in range(8)]
    publish(connection, want("letter"))
    for _ in range(8):
        drain()
        ((seconds, attempt),) = connection.execute(_WAITS).fetchall()
        assert 599 < seconds < 661
        assert attempt == "0"
        connection.execute("DELETE FROM engine.rests")
        worker.let_time_pass(connection)
    drain_all(connection)
    assert mail.sent == ["letter"]


@pytest.mark.parametrize("limit", ["account", None])
def test_the_whole_account_cools_down(connection: Connection, mail: Mail, limit: str | None) -> None:
    """No other call under the concurrency limit is begun: not in the same delivery, and not in a later one."""
    mail.errors = [Busy("slow down", retry_after=600)]
    publish(connection, *[want(f"w{n}", limit=limit) for n in range(3)])
    publish(connection, want("later", limit=limit))
    if limit:
        publish(connection, want("elsewhere", limit="another account"))
    drain(concurrency=1)
    assert mail.sent == (["elsewhere"] if limit else [])
    waits = connection.execute(_WAITS).fetchall()
    assert all(590 < seconds < 661 and attempt in {"0", None} for seconds, attempt in waits)
    assert scalar(connection, "SELECT count(*) FROM engine.calls") == 0
    connection.execute("UPDATE engine.rests SET until = now()")
    drain_all(connection)
    assert sorted(set(mail.sent) - {"elsewhere"}) == ["later", "w0", "w1", "w2"]


def test_what_is_parked_is_not_woken_while_the_account_cools_down(connection: Connection, mail: Mail) -> None:
    """And `explain` says until when, and why."""
    mail.errors = [Busy("slow down", retry_after=600)]
    parked = want("parked", limit="account")
    publish(connection, want("first", limit="account"))
    drain()
    publish(connection, parked)
    connection.execute(
        "WITH late AS (UPDATE public.procrastinate_jobs SET scheduled_at = now() + interval '1 hour'"
        " WHERE id = (SELECT max(id) FROM public.procrastinate_jobs) RETURNING id)"
        " INSERT INTO engine.parked (row_id, key, most) SELECT id, 'account', 2 FROM late"
    )
    drain()
    assert scalar(connection, "SELECT count(*) FROM engine.parked") == 1
    sentences = [reason.sentence for reason in explain_event(connection, parked.id)]
    assert any("no call of account is made until" in one and "slow down" in one for one in sentences)
    connection.execute("UPDATE engine.rests SET until = now()")
    drain_all(connection)
    assert sorted(mail.sent) == ["first", "parked"]


def test_explain_says_until_when_a_call_waits(connection: Connection, mail: Mail) -> None:
    """An event that was put back for a rest says what the other side said."""
    mail.errors = [Busy("slow down", retry_after=600)]
    first, second = want("first"), want("second")
    publish(connection, first, second)
    drain()
    for event in (first, second):
        (said,) = [one.sentence for one in explain_event(connection, event.id) if one.kind == "put_back"]
        assert "slow down" in said


# An effect's own retry policy --------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 3])
def test_an_effect_has_a_retry_policy_of_its_own(connection: Connection, mail: Mail, most: int) -> None:
    """Its attempts, and how long it waits between them, in place of the worker's."""
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


def test_giving_up_says_nothing_of_a_call_in_doubt(connection: Connection, mail: Mail) -> None:
    """An effect that says "failed" when it gives up does not say so of a call that may have been made."""

    def give_up(prepared: Prepared, _error: Exception) -> Payload:
        return Made(word=prepared.work.word, outcome="failed")

    mail.errors = [Transient("no answer")]
    with domain.use(mail.wiring(policy=Policy(most_attempts=1), give_up=give_up)):
        publish(connection, want("letter"))
        drain_all(connection)
    assert (deaths(connection), connection.execute(_HEARD).fetchall()) == (["InDoubt"], [])


@pytest.mark.parametrize("asks", [True, False])
def test_a_clear_no_is_final(connection: Connection, mail: Mail, *, asks: bool) -> None:
    """`Permanent` buries at once, whether the other side can be asked or not."""
    mail.errors = [Permanent("no such mailbox")]
    with domain.use(mail.wiring(can_be_asked=asks)):
        publish(connection, want("letter"))
        drain_all(connection)
    assert deaths(connection) == ["Permanent"]


def test_an_answer_that_cannot_be_read_is_asked_about_where_it_can_be(connection: Connection, mail: Mail) -> None:
    """A `ValidationError` is no verdict on the event: the next delivery asks, and succeeds."""
    mail.errors = [garbled]
    with domain.use(mail.wiring(can_be_asked=True)):
        publish(connection, want("letter"))
        drain_all(connection)
    assert (mail.sent, deaths(connection)) == (["letter"], [])
