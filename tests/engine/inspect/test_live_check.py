"""Live check: before a deployment, waiting and dead events must be readable by the new code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import events
from app import database as doors
from app.context import Connection
from app.engine import domain
from app.engine.delivery.engine import Engine
from app.engine.domain import Wiring
from app.engine.inspect.live_check import Report, check
from app.engine.queue.publish import publish
from app.program import WIRING
from events import KINDS, Payload
from events.base import event_type, upcaster
from tests.conftest import Database
from tests.helpers import toy
from tests.helpers.sequences import StepFaults, deliver_all, paths, step


@event_type("test/box.packed")
class Packed(Payload):
    """The payload of the current program."""

    weight: str
    mood: str = "fine"


def pack(weight: str) -> events.Event[Packed]:
    """Return an event of the current program."""
    return events.new(Packed(weight=weight), now=toy.NOW, subject=None, tenant=None)


@contextmanager
def the_next_release() -> Iterator[type[Payload]]:
    """Use the code of the next release: version 2 of the type, without an upcaster."""
    today = KINDS.pop("test/box.packed")

    @event_type("test/box.packed", version=2)
    class Stricter(Payload):
        grams: int

    try:
        with domain.use(Wiring({**domain.wiring().handlers, Stricter: lambda _m, _e: ()}, WIRING.effects)):
            yield Stricter
    finally:
        KINDS["test/box.packed"] = today


@pytest.fixture
def boxes(step_faults: StepFaults) -> Iterator[None]:
    """A wiring with a handler of boxes."""
    with domain.use(Wiring({**step_faults.wiring().handlers, Packed: lambda _m, _e: ()}, WIRING.effects)):
        yield


def check_now(database: Database, **options: Any) -> Report:
    """Run the check as a command does."""
    with doors.connect(database.url) as connection:
        return check(connection, **options)


def test_an_incompatible_change_is_found_until_an_upcaster_is_added(
    database: Database, connection: Connection, boxes: None
) -> None:
    """In single rows, batches and dead letters: each finding has place and reason."""
    publish(connection, pack("1 kg"))
    publish(connection, *[pack(f"{n} kg") for n in range(600)], toy.say("fine"))
    connection.execute(
        "INSERT INTO engine.failed_jobs (job_type, event_data, error_message, retry_count) VALUES ('x', %s, 'no', 1)",
        [pack("2 kg").json_bytes().decode()],
    )
    assert check_now(database).invalid == 0
    with the_next_release() as stricter:
        report = check_now(database, examples=3)
        assert report.looked_at == {"waiting": 602, "held": 0, "dead": 1}
        assert report.invalid == 602
        (finding,) = report.findings
        assert (finding.type, finding.dataschema, finding.events) == ("test/box.packed", "test/box.packed/1", 602)
        assert "no upcaster from version 1 to 2" in finding.why
        assert len(finding.first) == 3
        assert {one.where for one in finding.first} == {"waiting"}
        assert all(one.event_id and one.place.isdigit() for one in finding.first)
        upcaster(stricter, since=1)(lambda data: {"grams": int(data["weight"].removesuffix(" kg")) * 1000})
        assert check_now(database).invalid == 0


def test_data_that_the_upcaster_cannot_convert_is_found(
    database: Database, connection: Connection, boxes: None
) -> None:
    """The check reads the data. Equal problems are one finding."""
    publish(connection, pack("1 kg"), pack("heavy"), pack("light"))
    with the_next_release() as stricter:
        upcaster(stricter, since=1)(lambda data: {"grams": data["weight"].removesuffix(" kg") + "000"})
        (finding,) = check_now(database).findings
        assert (finding.events, finding.why.partition(":")[0]) == (2, "data.grams")


def test_held_events_wait_too(
    database: Database, connection: Connection, step_faults: StepFaults, worker: Engine
) -> None:
    """They are checked where they are."""
    (path,) = paths(1)
    step_faults.broken = {0}
    publish(connection, step(path, 0), step(path, 1))
    deliver_all(worker, connection)
    connection.execute("UPDATE engine.sequence SET held = held || '{\"Surprise\": 1}' WHERE held IS NOT NULL")
    report = check_now(database)
    assert report.looked_at == {"waiting": 0, "held": 1, "dead": 1}
    assert [one.where for finding in report.findings for one in finding.first] == ["held"]


def test_arguments_that_are_no_event_are_found(database: Database, connection: Connection, boxes: None) -> None:
    """Unknown types, other content, and types that no domain serves. Rows of other tasks are left out."""
    rows: list[tuple[str, Any]] = [
        ("consume", {"type": "toy/unknown.said", "id": "00000000-0000-0000-0000-000000000001"}),
        ("consume", ["no", "object"]),
        ("consume_parcel", {"attempt": 0, "events": [1, json.loads(pack("1 kg").json_bytes())]}),
        ("perform", json.loads(toy.want("nobody").json_bytes())),
        ("prune", {"timestamp": 1}),
    ]
    for task, arguments in rows:
        connection.execute(
            "INSERT INTO public.procrastinate_jobs (queue_name, task_name, args) VALUES ('events', %s, %s::jsonb)",
            [task, json.dumps(arguments)],
        )
    report = check_now(database)
    assert report.looked_at["waiting"] == 5
    reasons = sorted(finding.why for finding in report.findings)
    assert len(reasons) == report.invalid == 4
    assert any("no domain serves toy/call.wanted" in why for why in reasons)


def test_a_check_takes_no_locks(database: Database, connection: Connection, boxes: None) -> None:
    """It reads one snapshot. Workers go on, and it can run again at once."""
    publish(connection, *[pack("1 kg") for _ in range(120)], batch_size=1)
    with doors.connect(database.url) as checking:
        assert check(checking).looked_at["waiting"] == 120
        connection.execute("DELETE FROM public.procrastinate_jobs")
        assert check(checking).looked_at["waiting"] == 0
