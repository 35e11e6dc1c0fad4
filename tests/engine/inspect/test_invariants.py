"""Audit: each invariant is a query that must return no row."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql

from app.context import Connection
from app.engine.delivery.ledger import enter
from app.engine.domain import Invariant
from app.engine.inspect.invariants import ENGINE, Verdict, all_hold, audit
from app.engine.queue.publish import publish
from app.testing import worker
from tests.helpers.dead_letters import begin_call, dead
from tests.helpers.queued import queued
from tests.helpers.support import scalar
from tests.helpers.toy import Outside, say, want


def broken(connection: Connection) -> list[str]:
    """Return the names of the engine's invariants that are violated."""
    return [verdict.name for verdict in audit(connection, ENGINE) if not verdict.holds]


def test_the_engines_invariants_hold_in_a_working_system(connection: Connection, outside: Outside) -> None:
    """With waiting, applied and dead events, and a delivery in progress."""
    publish(connection, say("in hand"))
    worker.fetch(connection, worker.register(connection))
    publish(connection, say("waits"), want("call"))
    dead(connection, say("dead"))
    enter(connection, [queued(say("applied"))])
    assert broken(connection) == []


def test_an_event_that_is_applied_and_dead_is_found(connection: Connection, outside: Outside) -> None:
    """The row names the letter and the event."""
    event = say("both")
    (letter,) = dead(connection, event)
    enter(connection, [queued(event)])
    assert broken(connection) == []
    connection.execute("UPDATE engine.failed_jobs SET resolved_at = NULL")
    (verdict,) = (one for one in audit(connection, ENGINE) if not one.holds)
    assert verdict == Verdict("no event is applied and dead", 1, [{"dead_letter": letter.id, "event_id": event.id}])


def test_a_recorded_call_in_progress_is_found(connection: Connection, outside: Outside) -> None:
    """The call of an applied event must have ended."""
    event = want("call")
    begin_call(connection, event)
    assert broken(connection) == []
    enter(connection, [queued(event)])
    assert broken(connection) == ["no outside call is under way that is recorded already"]


def test_a_delivery_of_more_than_a_day_is_found(connection: Connection, outside: Outside) -> None:
    """Counted from its last fetch."""
    publish(connection, say("word"))
    worker.fetch(connection, worker.register(connection))
    connection.execute("UPDATE public.procrastinate_events SET at = now() - interval '25 hours'")
    assert broken(connection) == ["no delivery runs for longer than a day"]
    connection.execute(
        "INSERT INTO public.procrastinate_events (job_id, type) SELECT id, 'started' FROM procrastinate_jobs"
    )
    assert broken(connection) == []


def test_violations_are_counted_and_the_first_are_returned(connection: Connection) -> None:
    """At most 20 rows, of plain or composed queries."""
    many = Invariant("many", "SELECT n FROM generate_series(1, 1000) n ORDER BY n")
    one = Invariant("one", sql.SQL("SELECT {} AS x").format(7))
    first, second = audit(connection, [many, one])
    assert (first.violations, first.rows) == (1000, [{"n": n} for n in range(1, 21)])
    assert second == Verdict("one", 1, [{"x": 7}])


def test_one_statement_tells_whether_all_hold(connection: Connection) -> None:
    """A single row of any of them is a violation, wherever it stands, of plain or composed queries."""
    assert all_hold(connection, ENGINE)
    assert all_hold(connection, [])
    plain = Invariant("plain", "SELECT n FROM generate_series(1, 2) n ORDER BY n")
    composed = Invariant("composed", sql.SQL("SELECT {} AS x").format(7))
    for broken_one in (plain, composed):
        assert not all_hold(connection, [broken_one, *ENGINE])
        assert not all_hold(connection, [*ENGINE, broken_one])


def test_all_invariants_read_one_snapshot_and_can_write_nothing(connection: Connection) -> None:
    """Afterwards the connection is as before, also after an error."""
    snapshot = Invariant("snapshot", "SELECT pg_current_snapshot()::text AS s")
    first, second = audit(connection, [snapshot, snapshot])
    assert first.rows == second.rows
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        audit(connection, [Invariant("writes", "SELECT nextval('public.procrastinate_jobs_id_seq')")])
    assert scalar(connection, "SHOW transaction_read_only") == "off"
    assert scalar(connection, "SHOW transaction_isolation") == "read committed"
