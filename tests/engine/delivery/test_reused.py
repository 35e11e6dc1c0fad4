"""Reused ids: an event with the id of an open dead letter and with other data neither resolves nor changes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from app import database as doors
from app.context import Connection
from app.engine import domain
from app.engine.dead_letters import letters, manage, replay
from app.engine.dead_letters import plan as plans
from app.engine.dead_letters.letters import Filters
from app.engine.dead_letters.replay import Pace
from app.engine.delivery import bury, ledger, reused
from app.engine.delivery.consume import consume
from app.engine.domain import Policy
from app.engine.inspect.explain import explain_event
from app.engine.inspect.invariants import ENGINE, audit
from app.engine.queue import ordering
from app.engine.queue.envelope import QueuedEvent
from app.engine.queue.lease import Delivery
from app.engine.queue.publish import publish, put_back
from app.errors import Conflict, Permanent
from app.testing import wires, worker
from app.testing.faults import Watch
from app.testing.worker import Process
from events import KINDS, Event, Payload, Unreadable
from events.base import upcaster
from tests.conftest import Database
from tests.helpers import sequences
from tests.helpers.dead_letters import healed
from tests.helpers.queued import queued
from tests.helpers.sequences import StepFaults, step, taken
from tests.helpers.support import deliver, scalar, working
from tests.helpers.toy import Outside, Said, Wanted, say, want

_DEAD = """
SELECT event_data->'data'->>'word', error_class, event_id = (event_data->>'id')::uuid FROM engine.failed_jobs
 WHERE resolved_at IS NULL ORDER BY 1
"""
_ATTEND = "SELECT 1"


@pytest.fixture(autouse=True)
def sound(connection: Connection, outside: Outside) -> Iterator[None]:
    """At the end of every test the invariants hold."""
    yield
    assert [verdict for verdict in audit(connection, (*ENGINE, *ordering.INVARIANTS)) if not verdict.holds] == []


def other(event: Event[Any], payload: Payload) -> Event[Any]:
    """An event with the same id and other data."""
    return event.model_copy(update={"data": payload})


def raw(event: Event[Any]) -> dict[str, Any]:
    """An event as it is published."""
    found: dict[str, Any] = event.model_dump(mode="json", exclude_none=True)
    return found


def dead(connection: Connection) -> list[tuple[str, str, bool]]:
    """The open dead letters: word, class of error, and whether the letter has its event's id."""
    return connection.execute(_DEAD).fetchall()


def heard(connection: Connection) -> list[str]:
    """Every word that was heard."""
    return [word for (word,) in connection.execute("SELECT word FROM toy.heard ORDER BY word")]


def buried(connection: Connection, event: Event[Any]) -> UUID:
    """Publish an event that cannot be applied; the id of its dead letter."""
    publish(connection, event)
    deliver(connection)
    found: UUID = scalar(connection, "SELECT id FROM engine.failed_jobs WHERE event_id = %s", event.id)
    return found


def replayed(database: Database, connection: Connection, letter: UUID) -> int:
    """Replay one letter to its end; how many were applied."""
    plan = plans.make(connection, Filters(ids=[letter]), actor="ana")
    with healed(), working(database.url):
        done = replay.run(connection, plan, Pace(), actor="ana", reason="mended", show=lambda _: None)
    return done.outcomes["applied"]


def test_an_event_with_the_id_of_a_dead_letter_and_other_data_is_not_applied(
    database: Database, connection: Connection
) -> None:
    """It is a letter of its own that names the id and the key; the first letter keeps its data and can be replayed."""
    first = say("first", "bad")
    letter = buried(connection, first)
    before = letters.find(connection, letter)
    for _ in range(2):
        publish(connection, other(first, Said(word="second")), say("beside"))
        deliver(connection)
    assert heard(connection) == ["beside", "beside"]
    assert dead(connection) == [("first", "Permanent", True), ("second", "ReusedId", False)]
    assert letters.find(connection, letter) == before
    message = scalar(connection, "SELECT error_message FROM engine.failed_jobs WHERE error_class = 'ReusedId'")
    assert f"{first.id}: another event with this id, and with other data, is a dead letter" in message
    assert "key" in message
    assert [reason.kind for reason in explain_event(connection, first.id)] == ["dead", "dead"]
    assert replayed(database, connection, letter) == 1
    assert heard(connection) == ["beside", "beside", "first"]
    assert dead(connection) == [("second", "ReusedId", False)]


def test_the_second_event_is_edited_not_replayed(database: Database, connection: Connection) -> None:
    """A plan says so; edited, it is applied under an id of its own, and the first letter stays open."""
    first = say("first", "bad")
    buried(connection, first)
    publish(connection, other(first, Said(word="second")))
    deliver(connection)
    second = scalar(connection, "SELECT id FROM engine.failed_jobs WHERE error_class = 'ReusedId'")
    plan = plans.make(connection, Filters(), actor="ana")
    classes = {one.letter_id: one.class_ for one in plans.letters(connection, plan.id)}
    assert (classes.pop(second), list(classes.values())) == ("invalid", ["valid"])
    assert replayed(database, connection, second) == 0
    manage.edit(connection, second, {"word": "second"}, reason=None, actor="ana")
    deliver(connection)
    assert heard(connection) == ["second"]
    assert dead(connection) == [("first", "Permanent", True)]


def test_a_second_event_that_would_die_does_not_change_the_first_letter(connection: Connection) -> None:
    """Both are dead, each with its own data."""
    first = say("first", "bad")
    letter = buried(connection, first)
    publish(connection, other(first, Said(word="second", mood="bug")))
    deliver(connection)
    assert dead(connection) == [("first", "Permanent", True), ("second", "ReusedId", False)]
    assert letters.find(connection, letter).history == []


def test_of_a_batch_of_500_only_the_event_with_the_id_of_a_letter_is_dead(connection: Connection) -> None:
    """The other 499 are applied in the same delivery."""
    first = say("first", "bad")
    buried(connection, first)
    words = [say(f"word {n:03}") for n in range(499)]
    publish(connection, *words[:250], other(first, Said(word="second")), *words[250:])
    assert deliver(connection) == 1
    assert heard(connection) == [event.data.word for event in words]
    assert dead(connection) == [("first", "Permanent", True), ("second", "ReusedId", False)]


def test_a_copy_of_the_dead_event_behind_another_event_with_its_id_is_applied(connection: Connection) -> None:
    """In one delivery, in either order: each is compared with the letter, not with its neighbour."""
    for words in (["second", "first"], ["first", "second"]):
        first = say("first", "bad")
        buried(connection, first)
        said = {"first": first, "second": other(first, Said(word="second"))}
        with healed():
            for word in words:
                put_back(connection, [(said[word], raw(said[word]))], delay=0, attempt=0)
            deliver(connection)
        assert heard(connection) == ["first"]
        assert dead(connection) == [("second", "ReusedId", False)]
        connection.execute("DELETE FROM toy.heard")
        connection.execute("DELETE FROM engine.failed_jobs")


def test_another_version_of_the_dead_event_resolves_its_letter(connection: Connection) -> None:
    """The data as JSON differ and the event does not: both are read as the current version."""
    event, kind = say("old"), KINDS["toy/word.said"]
    older = {**raw(event), "data": {"text": "old"}}
    bury.bury(connection, [(QueuedEvent(0, 0, older, Unreadable(older, "no")), Permanent("no"))])
    Said.version = 2
    upcaster(Said, since=1)(lambda data: {"word": data["text"]})
    try:
        current = {**raw(event), "dataschema": "toy/word.said/2"}
        for one in (other(event, Said(word="other")), event):
            put_back(connection, [(one, {**current, "data": one.data.model_dump(mode="json")})], delay=0, attempt=0)
        deliver(connection)
    finally:
        Said.version = 1
        kind.upcasters.clear()
    assert heard(connection) == ["old"]
    assert dead(connection) == [("other", "ReusedId", False)]


def test_an_effect_with_the_id_of_a_dead_letter_and_other_data_is_not_called(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """Alone and in a batch with others; the first letter can be replayed, and the second edited."""
    first = want("first", "bad")
    letter = buried(connection, first)
    second = other(first, Wanted(word="second"))
    publish(connection, second)
    deliver(connection)
    publish(connection, want("third"), second, want("fourth"))
    deliver(connection)
    assert sorted(word for word, _ in outside.calls) == ["first", "fourth", "third"]
    assert dead(connection) == [("first", "Permanent", True), ("second", "ReusedId", False)]
    apart = scalar(connection, "SELECT id FROM engine.failed_jobs WHERE error_class = 'ReusedId'")
    manage.edit(connection, apart, {"word": "second"}, reason=None, actor="ana")
    deliver(connection)
    assert dead(connection) == [("first", "Permanent", True)]
    manage.edit(connection, letter, {"word": "first"}, reason=None, actor="ana")
    deliver(connection)
    assert sorted(word for word, _ in outside.calls) == ["first", "first", "fourth", "second", "third"]
    assert dead(connection) == []


def test_the_call_of_a_dead_letter_stays_in_doubt_beside_another_event_with_its_id(
    connection: Connection, outside: Outside
) -> None:
    """Neither the delivery of the second event nor an edit of its letter takes the mark of the first one's call."""
    first = want("first", "bad")
    letter = buried(connection, first)
    connection.execute("DELETE FROM engine.calls")
    connection.execute("INSERT INTO engine.calls (event_id, row_id, attempts) VALUES (%s, 0, 0)", [first.id])
    publish(connection, other(first, Wanted(word="second")))
    deliver(connection)
    apart = scalar(connection, "SELECT id FROM engine.failed_jobs WHERE error_class = 'ReusedId'")
    manage.edit(connection, apart, {"word": "second"}, reason=None, actor="ana")
    with pytest.raises(Conflict, match="resolved already"):
        manage.resolve(connection, [apart], note="again", actor="ana")
    deliver(connection)
    manage.edit(connection, letter, {"word": "first"}, reason=None, actor="ana")
    deliver(connection)
    assert [(word, call.in_doubt) for word, call in outside.calls] == [
        ("first", False),
        ("second", False),
        ("first", True),
    ]


def test_the_result_of_an_event_whose_id_was_taken_during_its_call_is_not_lost(
    database: Database, connection: Connection, outside: Outside
) -> None:
    """It is a letter of its own, and its call stays in doubt: the edited copy asks the other side."""
    first, pen = want("first"), outside.call

    async def call(prepared: Any, call: Any) -> Payload:
        made = await pen(prepared, call)
        with doors.connect(database.url, autocommit=True) as elsewhere:
            if prepared.event.id == first.id:
                letter = QueuedEvent(0, 0, raw(other(first, Wanted(word="other"))), other(first, Wanted(word="other")))
                bury.bury(elsewhere, [(letter, Permanent("no"))])
        return made

    outside.call = call  # type: ignore[method-assign]
    with domain.use(outside.wiring()):
        publish(connection, first)
        deliver(connection)
        assert dead(connection) == [("first", "ReusedId", False), ("other", "Permanent", True)]
        assert heard(connection) == []
        apart = scalar(connection, "SELECT id FROM engine.failed_jobs WHERE error_class = 'ReusedId'")
        manage.edit(connection, apart, {"word": "first"}, reason=None, actor="ana")
        deliver(connection)
    assert heard(connection) == ["first: asked"]
    assert dead(connection) == [("other", "Permanent", True)]


def test_events_of_a_batch_whose_worker_crashed_are_told_apart(connection: Connection) -> None:
    """The batch is unpacked, with two events of one id and the copy of a third one's letter."""
    first = say("first", "bad")
    buried(connection, first)
    twice = say("a")
    some = [twice, other(twice, Said(word="b")), other(first, Said(word="second")), say("c")]
    put_back(connection, [(event, raw(event)) for event in some], delay=0, attempt=0, batch_size=4)
    worker_id = worker.register(connection)
    assert worker.fetch(connection, worker_id) is not None
    worker.rescue_from(worker_id, connection)
    deliver(connection)
    assert heard(connection) == ["a", "c"]
    assert dead(connection) == [("b", "ReusedId", False), ("first", "Permanent", True), ("second", "ReusedId", False)]


def test_two_events_with_one_id_that_are_buried_together_are_two_letters(connection: Connection) -> None:
    """Neither the letter of the first nor that of an earlier call is overwritten, whether or not they can be read."""
    first = say("first")
    second, third = other(first, Said(word="second")), {**raw(first), "data": {"word": "third", "wrong": 1}}
    for some in ([first, second], [first, second]):
        given = [(QueuedEvent(0, 0, raw(event), event), Permanent("no")) for event in some]
        bury.bury(connection, [*given, (QueuedEvent(0, 0, third, Unreadable(third, "no")), Permanent("no"))])
    assert dead(connection) == [
        ("first", "Permanent", True),
        ("second", "Permanent", False),
        ("third", "Permanent", False),
    ]


def test_a_letter_whose_id_another_event_takes_at_the_same_moment_gets_an_id_of_its_own(
    database: Database, connection: Connection
) -> None:
    """Two transactions that do not see each other bury one and apply the other; the next sweep tells them apart."""
    first = say("first")
    second = other(first, Said(word="second"))
    copy = say("copy")
    with doors.connect(database.url) as one, doors.connect(database.url) as two:
        ledger.enter(one, [QueuedEvent(0, 0, raw(event), event) for event in (second, copy)])
        bury.bury(two, [(QueuedEvent(0, 0, raw(event), event), Permanent("no")) for event in (first, copy)])
        two.commit()
        one.commit()
    plan = plans.make(connection, Filters(), actor="ana")
    found = {one.event_id: one.class_ for one in plans.letters(connection, plan.id)}
    assert found == {first.id: "invalid", copy.id: "already_applied"}
    bury.resolve_applied(connection)
    assert dead(connection) == [("first", "ReusedId", False)]
    history = scalar(connection, "SELECT history FROM engine.failed_jobs WHERE resolved_at IS NULL")
    assert [death["error_message"] for death in history] == ["no"]


def test_a_sequenced_event_with_the_id_of_a_dead_letter_leaves_the_letter_its_position(
    database: Database, connection: Connection
) -> None:
    """The events behind the dead one still wait for it."""
    (path,) = sequences.paths(1)
    faults = StepFaults(broken={0})
    first = step(path, 0)
    with domain.use(faults.wiring()):
        publish(connection, first, step(path, 1))
        deliver(connection)
        publish(connection, other(first, sequences.Step(n=7)))
        deliver(connection)
        assert (taken(connection, path), sequences.held(connection)) == ([], 1)
        faults.broken.clear()
        sequences.replay(connection, first.id)
        deliver(connection)
    assert taken(connection, path) == [0, 1]
    assert scalar(connection, "SELECT count(*) FROM engine.failed_jobs WHERE resolved_at IS NULL") == 1


def test_of_two_sequenced_events_with_one_id_that_are_held_none_is_lost(
    database: Database, connection: Connection
) -> None:
    """In one delivery and in two: the first is held, the other is a dead letter."""
    (path,) = sequences.paths(1)
    faults = StepFaults(broken={0})
    first, held = step(path, 0), step(path, 1)
    with domain.use(faults.wiring()):
        publish(connection, first)
        deliver(connection)
        for n in (1, 7, 1, 8):
            event = other(held, sequences.Step(n=n))
            put_back(connection, [(event, raw(event))], delay=0, attempt=0)
        deliver(connection)
        nines = [other(held, sequences.Step(n=n)) for n in (9, 1)]
        put_back(connection, [(event, raw(event)) for event in nines], delay=0, attempt=0, batch_size=2)
        deliver(connection)
        faults.broken.clear()
        sequences.replay(connection, first.id)
        deliver(connection)
    assert taken(connection, path) == [0, 1]
    letters_of = "SELECT array_agg(event_data->'data'->>'n' ORDER BY event_data->'data'->>'n') FROM engine.failed_jobs"
    assert scalar(connection, letters_of + " WHERE resolved_at IS NULL") == ["7", "8", "9"]


def statements(database: Database, connection: Connection, *events: Event[Any]) -> list[str]:
    """The statements of one delivery of these events."""
    watch = Watch()
    publish(connection, *events)
    fetched = worker.fetch(connection, worker.register(connection))
    assert fetched is not None
    with healed(), wires.pool(watch, database.url, _ATTEND) as pool:
        process = Process(pool, Policy())
        delivery = Delivery(fetched.row_id, fetched.attempts, fetched.worker_id)
        assert consume(process.engine, delivery, siblings=False) <= len(events)
        process.close()
    return [point.text for point in watch.points]


def test_letters_cost_an_ordinary_delivery_no_statement(database: Database, connection: Connection) -> None:
    """Neither does a delivery that resolves letters; only an event with the id of another one costs some."""
    first, second = say("first", "bad"), say("second", "bad")
    buried(connection, first)
    buried(connection, second)
    plain = statements(database, connection, say("a"), say("b"))
    assert statements(database, connection, say("c"), first) == plain
    assert len(plain) < len(statements(database, connection, say("c"), other(second, Said(word="x")))) <= len(plain) + 5


def test_reuses_are_found_with_the_place_of_the_other_event(connection: Connection) -> None:
    """In the ledger, among the dead letters, or earlier in the list. Copies, and new ids, are no reuses."""
    applied, lost, new = say("applied"), say("dead"), say("new")
    ledger.enter(connection, [queued(applied)])
    bury.bury(connection, [(queued(lost), Permanent("no"))])
    repeated = [queued(other(event, Said(word="other"))) for event in (applied, lost, new)]
    given = [queued(applied), queued(lost), queued(new), *repeated]
    places = [(repeated[0], "applied"), (repeated[1], "dead"), (repeated[2], "beside")]
    found = reused.find(connection, given, fresh=[given[2].event])  # type: ignore[list-item]
    assert [(reuse.queued, reuse.place) for reuse in found] == places
    found, copies = reused.compare(connection, given)
    assert [(reuse.queued, reuse.place) for reuse in found] == places
    assert copies == {applied.id, lost.id}
    assert str(found[1].error).startswith(f"toy/word.said {lost.id}: another event with this id")
    assert f"`dead show {lost.id}`" in str(found[1].error)
