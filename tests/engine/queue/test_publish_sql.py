"""`engine.publish(jsonb)`: the rows of `publish()` from any driver. Errors name field and remedy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

import events
from app.context import Connection
from app.database import as_person, as_service
from app.engine import domain, event_types
from app.engine.domain import Wiring
from app.engine.queue.publish import publish
from events import SIZE_LIMIT, Event
from tests.helpers import sequences, toy
from tests.helpers.sequences import Step, step
from tests.helpers.support import drain, scalar, waiting
from tests.helpers.toy import Said, Wanted, say, want

Json = dict[str, Any]

_ROWS = """
SELECT queue_name, task_name, priority, args::text, attempts, lock, queueing_lock
  FROM public.procrastinate_jobs ORDER BY id
"""
_DELAYED = "SELECT queue_name, task_name, priority, args::text, key, most FROM engine.delayed ORDER BY id"
_LINES = "SELECT type, subject_id, event_id FROM engine.sequence ORDER BY position"
_EMPTY = "DELETE FROM public.procrastinate_jobs; DELETE FROM engine.delayed; DELETE FROM engine.sequence"


@pytest.fixture
def routes(connection: Connection, outside: toy.Outside) -> Iterator[Wiring]:
    """The event types of the toy domain, with sequenced steps and accounts."""
    own = outside.wiring(batch_size=3)
    effect = replace(own.effects[Wanted], account="limit")
    with domain.use(Wiring({**own.handlers, Step: sequences.StepFaults().walk}, {Wanted: effect})):
        with as_service(connection):
            event_types.register(connection)
        yield domain.wiring()


def wire(*said: Event[Any]) -> list[Json]:
    """Return events as JSON."""
    return [json.loads(event.json_bytes()) for event in said]


def sql_publish(connection: Connection, said: Any, **named: Any) -> int:
    """Publish as a producer without this package."""
    extra = "".join(f", {name} => %({name})s" for name in named)
    with as_service(connection):
        row = connection.execute(
            f"SELECT engine.publish(%(events)s{extra})", {"events": Jsonb(said), **named}
        ).fetchone()
    assert row is not None
    return int(row[0])


def written(connection: Connection) -> tuple[list[Any], ...]:
    """Return and delete all published rows."""
    found = tuple(connection.execute(query).fetchall() for query in (_ROWS, _DELAYED, _LINES))
    connection.execute(_EMPTY)
    return found


def mixture(seed: int) -> list[Event[Any]]:
    """Return mixed events of several types, tenants, accounts and subjects, with repeats."""
    random = Random(seed)
    tenants, subjects = [None, uuid4(), uuid4()], [uuid4(), uuid4()]
    made: list[Event[Any]] = [say(f'word {n} ñ"\\\u2028', echoes=n) for n in range(random.randrange(6))]
    made += [step(random.choice(subjects), n) for n in range(random.randrange(6))]
    made += [
        want(f"call {n}", limit=random.choice([None, "", "a", "b", "ñ" * 150]), tenant=random.choice(tenants))
        for n in range(random.randrange(40))
    ]
    made += [events.parse({**wire(event)[0], "partitionkey": "p", "sampled": True}) for event in made[:2]]
    random.shuffle(made)
    return made


@pytest.mark.parametrize("seed", range(25))
def test_it_writes_the_rows_that_publish_writes(connection: Connection, routes: Wiring, seed: int) -> None:
    """Queue, task, priority, arguments, order and positions are equal."""
    said = mixture(seed)
    publish(connection, *said)
    expected = written(connection)
    assert sql_publish(connection, wire(*said)) == len(said)
    assert written(connection) == expected


def test_rows_hold_as_many_events(connection: Connection, routes: Wiring) -> None:
    """Up to the batch size of the type. Delays work as with `publish()`."""
    said = [say(f"n{n:04}") for n in range(1001)]
    publish(connection, *said)
    expected = written(connection)
    assert [len(json.loads(args).get("events", [0])) for _, _, _, args, *_ in expected[0]] == [500, 500, 1]
    sql_publish(connection, wire(*said))
    assert written(connection) == expected
    publish(connection, *said[:3], delay=90.5)
    later = written(connection)
    sql_publish(connection, wire(*said[:3]), p_delay=90.5)
    assert written(connection) == later
    assert len(later[1]) == 1


def test_events_are_there_if_and_only_if_the_caller_commits(connection: Connection, routes: Wiring) -> None:
    """It is a statement of the caller's transaction."""
    with connection.transaction(force_rollback=True):
        sql_publish(connection, wire(say("lost")))
    with connection.transaction():
        sql_publish(connection, wire(say("kept")))
    drain()
    assert connection.execute("SELECT word FROM toy.heard").fetchall() == [("kept",)]


def test_an_empty_array_publishes_nothing(connection: Connection, routes: Wiring) -> None:
    """No row is inserted."""
    assert sql_publish(connection, []) == 0
    assert waiting(connection) == 0


def test_an_exact_repeat_is_published_and_applied_once(connection: Connection, routes: Wiring) -> None:
    """Time and cause may differ."""
    event = wire(say("once"))[0]
    assert sql_publish(connection, [event, {**event, "time": "2026-02-02T00:00:00Z"}]) == 2
    drain()
    assert scalar(connection, "SELECT count(*) FROM toy.heard") == 1


def test_bad_data_becomes_a_dead_letter(connection: Connection, routes: Wiring) -> None:
    """The consumer checks data, because it knows the schema. The other events are applied."""
    good, bad = wire(say("good"), say("bad"))
    sql_publish(connection, [good, {**bad, "data": {"word": 5}}])
    drain()
    assert connection.execute("SELECT word FROM toy.heard").fetchall() == [("good",)]
    dead = connection.execute("SELECT event_id, error_message FROM engine.failed_jobs").fetchall()
    assert [event_id for event_id, _ in dead] == [UUID(bad["id"])]
    assert "data.word" in dead[0][1]


def test_people_cannot_publish(connection: Connection, routes: Wiring) -> None:
    """Only service_role may."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege), as_person(connection, uuid4()):
        connection.execute("SELECT engine.publish('[]')")


WORD = {
    "specversion": "1.0",
    "id": "01890a5d-ac96-774b-bcce-b302099a8057",
    "source": "shop/checkout",
    "type": "toy/word.said",
    "dataschema": "toy/word.said/1",
    "time": "2026-01-31T12:00:00Z",
    "data": {"word": "hello"},
}
OTHER = "5f3c8f1e-7d0e-4a52-9d1e-2a4b6c8d0e1f"


def without(name: str) -> Json:
    """Return a valid event without an attribute."""
    return {key: value for key, value in WORD.items() if key != name}


REFUSED: dict[str, tuple[Any, str, str, str, str]] = {
    # what is wrong: events, SQLSTATE, attribute, message, remedy
    "one object": (WORD, "TY001", "events", "events: must be a JSON array", "Wrap a single event"),
    "null": (None, "TY001", "events", "events: missing, must be a JSON array", "Wrap"),
    "an entry that is no object": (
        [WORD, 5],
        "TY001",
        "event",
        r"events\[1\].event: must be a JSON object, not number",
        "",
    ),
    "no specversion": ([without("specversion")], "TY001", "specversion", r'missing, must be "1\.0"', 'string "1.0"'),
    "another specversion": ([{**WORD, "specversion": 1.0}], "TY001", "specversion", r'must be "1\.0", not 1\.0', ""),
    "no id": ([without("id")], "TY001", "id", "missing, must be a UUID in lower case", "gen_random_uuid"),
    "an id that is none": ([{**WORD, "id": "A-1"}], "TY001", "id", 'not "A-1"', "new UUID"),
    "an id in upper case": ([{**WORD, "id": OTHER.upper()}], "TY001", "id", "lower case", "lower case"),
    "no source": ([{**WORD, "source": ""}], "TY001", "source", "must be a string", "Name the producer"),
    "no type": ([without("type")], "TY001", "type", "missing, must be a string", "engine.event_types"),
    "an unknown type": ([{**WORD, "type": "toy/x"}], "TY002", "type", "unknown event type toy/x", "db migrate"),
    "no dataschema": ([without("dataschema")], "TY001", "dataschema", "missing", 'Set it to "toy/word.said/1"'),
    "another type's": (
        [{**WORD, "dataschema": "toy/x/1"}],
        "TY001",
        "dataschema",
        "must be toy/word.said/<version>",
        "",
    ),
    "version 0": ([{**WORD, "dataschema": "toy/word.said/0"}], "TY001", "dataschema", "<version>", "toy/word.said/1"),
    "a newer version": (
        [{**WORD, "dataschema": "toy/word.said/2"}],
        "TY002",
        "dataschema",
        "newest version is 1",
        "migrate",
    ),
    "no time": ([without("time")], "TY001", "time", "missing, must be a date and time", "RFC 3339"),
    "a time without offset": ([{**WORD, "time": "2026-01-31T12:00:00"}], "TY001", "time", "offset", "RFC 3339"),
    "the 30th of February": ([{**WORD, "time": "2026-02-30T12:00:00Z"}], "TY001", "time", "must be a date", ""),
    "a subject that is none": ([{**WORD, "subject": "order 5"}], "TY001", "subject", 'not "order 5"', "leave the attr"),
    "a step without subject": (
        [{**WORD, "type": "toy/step.taken", "dataschema": "toy/step.taken/1"}],
        "TY001",
        "subject",
        "missing",
        "sequenced",
    ),
    "a tenant that is none": ([{**WORD, "tenantid": "acme"}], "TY001", "tenantid", 'not "acme"', "UUID"),
    "a cause that is none": ([{**WORD, "causationid": 5}], "TY001", "causationid", "not 5", "UUID"),
    "a chain that is none": ([{**WORD, "correlationid": {}}], "TY001", "correlationid", "not {}", "UUID"),
    "another content type": (
        [{**WORD, "datacontenttype": "text/xml"}],
        "TY001",
        "datacontenttype",
        "must be application/json",
        "leave it out",
    ),
    "a trace that is no string": ([{**WORD, "traceparent": 1}], "TY001", "traceparent", "must be a string", "W3C"),
    "no data": ([without("data")], "TY001", "data", "missing, must be a JSON object", "events schema toy/word.said"),
    "data that is no object": ([{**WORD, "data": "hello"}], "TY001", "data", "must be a JSON object", "events schema"),
    "binary data": ([{**WORD, "data_base64": "aGk="}], "TY001", "data_base64", "binary data", "JSON object"),
    "an unknown attribute": ([{**WORD, "tenant_id": OTHER}], "TY001", "tenant_id", "unknown attribute", "a-z"),
    "an extension that is an object": ([{**WORD, "region": {}}], "TY001", "region", "not be an object", "boolean"),
    "an extension beyond 32 bits": ([{**WORD, "shard": 2**31}], "TY001", "shard", "this number", "32 bits"),
    "a fraction": ([{**WORD, "shard": 1.5}], "TY001", "shard", "this number", "32 bits"),
    "control characters": ([{**WORD, "region": "a\x07"}], "TY001", "region", "control characters", "without control"),
    "too large": ([{**WORD, "data": {"word": "x" * SIZE_LIMIT}}], "TY003", "data", "at most 262144", "Send ids"),
    "too many": ([WORD] * 10_001, "TY003", "events", "10001 in one call", "several times"),
    "one id, other data": ([WORD, {**WORD, "data": {"word": "bye"}}], "TY004", "id", "the same id", "id of its own"),
    "one id, another tenant": ([WORD, {**WORD, "tenantid": OTHER}], "TY004", "id", "says something else", ""),
    "one id, another type": (
        [WORD, {**WORD, "type": "toy/echo.heard", "dataschema": "toy/echo.heard/1"}],
        "TY004",
        "id",
        "says something else",
        "",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_event_is_refused(connection: Connection, routes: Wiring, case: str) -> None:
    """With a SQLSTATE of class TY, the attribute, the problem and the remedy. Nothing is published."""
    said, state, attribute, message, remedy = REFUSED[case]
    with pytest.raises(psycopg.DatabaseError, match=message) as caught:
        sql_publish(connection, said)
    assert (caught.value.sqlstate, caught.value.diag.column_name) == (state, attribute)
    assert attribute in (caught.value.diag.message_primary or "")
    assert remedy in (caught.value.diag.message_hint or "")
    assert caught.value.diag.message_hint
    assert waiting(connection) == 0


@pytest.mark.parametrize("delay", [-1, float("nan"), float("inf"), None])
def test_a_bad_delay_is_refused(connection: Connection, routes: Wiring, delay: Any) -> None:
    """The error names its bounds."""
    with pytest.raises(psycopg.DatabaseError, match="delay: must be 0 to 315360000 seconds"):
        sql_publish(connection, [WORD], p_delay=delay)


def test_a_retired_type_is_refused(connection: Connection, routes: Wiring) -> None:
    """No domain serves it."""
    connection.execute("UPDATE engine.event_types SET retired_at = now() WHERE type = 'toy/word.said'")
    with pytest.raises(psycopg.DatabaseError, match=r"type: toy/word\.said is not served any more"):
        sql_publish(connection, [WORD])


def test_a_nul_character_is_refused_by_the_server(connection: Connection, routes: Wiring) -> None:
    """PostgreSQL's jsonb cannot hold one."""
    with pytest.raises(psycopg.errors.UntranslatableCharacter), as_service(connection):
        connection.execute("SELECT engine.publish(%s::jsonb)", [json.dumps([{**WORD, "data": {"word": "\x00"}}])])


VALUES: dict[str, list[Any]] = {
    "id": [OTHER.upper(), OTHER.replace("-", ""), f"{{{OTHER}}}", f"urn:uuid:{OTHER}", OTHER + "\n", "0" * 36],
    "time": [
        "2026-01-31T12:00:00.123456789+05:30",
        "2026-01-31t12:00:00z",
        "2026-01-31 12:00:00-05:00",
        "2024-02-29T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:59",
        "2026-01-01T24:00:00Z",
        "2026-01-01T23:59:60Z",
        "2026-13-01T00:00:00Z",
        "2026-01-01T00:00:00+15:00",
        "2026-01-01T00:00Z",
        "2026-01-01",
        "now",
        0,
        1769860800,
        None,
        "",
        "2026-01-01T00:00:00Z\n",
    ],
    "dataschema": [
        "toy/word.said/01",
        "toy/word.said/1\n",
        "toy/word.said/",
        "toy/word.said/1000000000",
        "toy/word.said/\uff11",
    ],
    "datacontenttype": [
        "application/json; charset=utf-8",
        'Application/JSON;charset="UTF-8"',
        "application/json\n",
        None,
    ],
    "subject": [None, "", OTHER, OTHER.replace("-", "")],
    "tenantid": [None, "", OTHER],
    "traceparent": [None, "", "00-1-2-3", False],
    "region": [None, True, 0, -(2**31), 2**31 - 1, 2.0, 1e300, "", "é", "a\tb", "\x7f", "\x85", []],
    "source": ["x", 5, None],
    "r" * 20: ["x"],
    "r" * 21: ["x"],
    "Region": ["x"],
    "région": ["x"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in VALUES.items() for value in values])
def test_the_consumer_reads_whatever_is_accepted(connection: Connection, routes: Wiring, name: str, value: Any) -> None:
    """No accepted envelope is dead-lettered."""
    event = {**WORD, name: value}
    try:
        sql_publish(connection, [event])
    except psycopg.DatabaseError as error:
        assert error.sqlstate in {"TY001", "TY002"}, error  # noqa: PT017 - whether it is raised depends on the value
        return
    assert isinstance(events.parse(event), Event)
    drain()
    assert scalar(connection, "SELECT count(*) FROM toy.heard") == 1


def test_a_version_that_was_upcast_is_accepted(
    connection: Connection, routes: Wiring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every version up to the newest."""
    monkeypatch.setattr(Said, "version", 3)
    with as_service(connection):
        event_types.register(connection)
    for version in (1, 2, 3):
        assert sql_publish(connection, [{**WORD, "id": str(uuid4()), "dataschema": f"toy/word.said/{version}"}]) == 1
