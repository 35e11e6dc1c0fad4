"""Cooldowns: after a retry-after answer no call under the same concurrency limit begins until then."""

from __future__ import annotations

import pytest

from app.context import Connection
from app.engine.domain import ConcurrencyLimit
from app.engine.effects import cooldowns
from app.engine.inspect.explain import explain_event
from app.engine.queue.publish import publish
from app.errors import Busy, Transient
from app.testing import worker
from tests.helpers.calls import Mail
from tests.helpers.support import drain, drain_all, scalar
from tests.helpers.toy import want

_WAITS = "SELECT extract(epoch FROM due_at - now())::float, args->>'attempt' FROM engine.delayed"


def test_an_event_waits_for_the_time_that_the_other_side_gave(connection: Connection, mail: Mail) -> None:
    """It spends no attempt, however often the other side answers so."""
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
def test_all_calls_under_the_same_limit_wait(connection: Connection, mail: Mail, limit: str | None) -> None:
    """In the same delivery and in later ones. Calls under another limit are made."""
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


def test_parked_rows_are_not_woken_during_a_cooldown(connection: Connection, mail: Mail) -> None:
    """`explain` shows the end of the cooldown and its reason."""
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


def test_explain_shows_why_a_call_waits(connection: Connection, mail: Mail) -> None:
    """The reason is the other side's answer."""
    mail.errors = [Busy("slow down", retry_after=600)]
    first, second = want("first"), want("second")
    publish(connection, first, second)
    drain()
    for event in (first, second):
        (said,) = [one.sentence for one in explain_event(connection, event.id) if one.kind == "put_back"]
        assert "slow down" in said


def test_a_longer_cooldown_in_force_is_kept(connection: Connection) -> None:
    """A shorter answer changes the reason, not the end. The cooldown counts from its first answer."""
    cooldowns.begin(connection, {"account": (600.0, "first")})
    (first,) = cooldowns.find(connection, ["account", "other"])
    assert (first.key, first.reason, 590 < first.seconds <= 600) == ("account", "first", True)
    cooldowns.begin(connection, {"account": (1.0, "second"), "other": (60.0, "x" * 1000 + "\x00")})
    found = {one.key: one for one in cooldowns.find(connection, ["account", "other"])}
    assert found["account"].until == first.until
    assert (found["account"].reason, found["account"].since) == ("second", first.since)
    assert found["other"].reason == "x" * 300
    cooldowns.begin(connection, {"account": (3600.0, "third")})
    assert cooldowns.find(connection, ["account"])[0].seconds > 3500


def test_a_cooldown_that_is_over_is_not_in_force(connection: Connection) -> None:
    """A new one counts from its own answer."""
    cooldowns.begin(connection, {"account": (0.0, "over")})
    assert cooldowns.find(connection, ["account"]) == []
    connection.execute("UPDATE engine.rests SET since = '2001-01-01'")
    cooldowns.begin(connection, {"account": (60.0, "again")})
    (found,) = cooldowns.find(connection, ["account"])
    assert found.since.year > 2001
    assert cooldowns.find(connection, []) == []


def test_the_key_is_the_limit_or_else_the_events_type() -> None:
    """The error of an event that waits has the reason and the seconds."""
    event = want("letter")
    assert cooldowns.key_of(ConcurrencyLimit("account", 2), event) == "account"
    assert cooldowns.key_of(None, event) == "effect/toy/call.wanted"
    error = cooldowns.busy("account", 60.0, "slow down")
    assert (error.retry_after, "slow down" in str(error)) == (60.0, True)
