"""Events: the contract with producers of every version."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

import events
from events import SIZE_LIMIT, Event, InvalidEvent, Payload, Unreadable, robot
from events.base import KINDS, event_type, upcaster
from tests.helpers.golden import GOLDEN, OWN

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def submitted(**changes: Any) -> dict[str, Any]:
    """Return a valid event as decoded JSON, with changes."""
    job_id = uuid4()
    event = events.new(
        robot.JobSubmitted(job_id=job_id, carrier="coordinadora", item_count=1), now=NOW, subject=job_id, tenant=uuid4()
    )
    found: dict[str, Any] = json.loads(event.json_bytes())
    return {**found, **changes}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_every_published_version_can_be_read(path: Path) -> None:
    """The golden file of each version parses, and is equal when it is written again."""
    text = path.read_text()
    event = events.parse(text)
    if event.version == KINDS[event.type].payload.version:
        assert json.loads(event.json_bytes()) == json.loads(text)


def test_every_version_has_a_golden_file() -> None:
    """Also the current one."""
    wanted = {f"{name.replace('/', '.')}.v{v}" for name in OWN for v in range(1, KINDS[name].payload.version + 1)}
    assert {path.stem for path in GOLDEN} == wanted


def test_every_older_version_has_an_upcaster() -> None:
    """To the next version."""
    for name in OWN:
        assert set(KINDS[name].upcasters) == set(range(1, KINDS[name].payload.version)), name


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"type": "robot/job.exploded"}, "type"),
        ({"type": None}, "type"),
        ({"dataschema": "robot/job.submitted/2"}, "dataschema"),
        ({"dataschema": "robot/job.submitted"}, "dataschema"),
        ({"dataschema": "robot/job.submitted/zero"}, "dataschema"),
        ({"dataschema": "robot/job.submitted/0"}, "dataschema"),
        ({"id": "17"}, "id"),
        ({"time": "2026-01-01T00:00:00"}, "time"),
        ({"specversion": "0.3"}, "specversion"),
        ({"Surprise": 1}, "Surprise"),
        ({"surprise_me": 1}, "surprise_me"),
        ({"a" * 21: 1}, "a" * 21),
        ({"surprise": {"deep": 1}}, "surprise"),
        ({"surprise": [1]}, "surprise"),
        ({"surprise": 1.5}, "surprise"),
        ({"surprise": 2**31}, "surprise"),
        ({"surprise": "two\nlines"}, "surprise"),
        ({"data_base64": "e30="}, "data_base64"),
        ({"datacontenttype": "text/xml"}, "datacontenttype"),
        ({"datacontenttype": 3}, "datacontenttype"),
        (
            {"data": {"job_id": "00000000-0000-0000-0000-000000000001", "carrier": "x", "item_count": -1}},
            "data.item_count",
        ),
        (
            {"data": {"job_id": "00000000-0000-0000-0000-000000000001", "carrier": "x", "item_count": 1, "more": 1}},
            "data.more",
        ),
        ({"data": None}, "data"),
    ],
)
def test_bad_input_is_named_by_its_field(change: dict[str, Any], named: str) -> None:
    """The error names it."""
    with pytest.raises(InvalidEvent, match=f"(^|; ){named}:"):
        events.parse(submitted(**change))


@pytest.mark.parametrize("raw", ["", "{", "[]", "3", "null", '"text"'])
def test_only_a_json_object_is_an_event(raw: str) -> None:
    """Other JSON, and text that is no JSON, raise the same error."""
    with pytest.raises(InvalidEvent):
        events.parse(raw)


def test_an_event_has_a_size_limit() -> None:
    """256 KiB."""
    text = json.dumps(submitted(source="x" * SIZE_LIMIT))
    with pytest.raises(InvalidEvent, match="at most 262144 bytes"):
        events.parse(text)


def test_a_bad_event_in_a_list_leaves_the_others() -> None:
    """It becomes `Unreadable` at its position."""
    read = events.parse_all([submitted(), {"type": "nonsense"}, submitted(Extra=1), submitted()])
    assert [type(one) is Unreadable for one in read] == [False, True, True, False]


def test_a_result_is_a_success_or_an_error() -> None:
    """A success has a tracking number and no error, an error the reverse."""
    about: dict[str, Any] = {"job_id": uuid4(), "item_id": uuid4(), "attempt": 0}
    with pytest.raises(ValueError, match="a success has a tracking_number"):
        robot.ItemCompleted(**about, status="success")
    with pytest.raises(ValueError, match="an error has an error_type"):
        robot.ItemCompleted(**about, status="error", tracking_number="1", error_type="portal")


def test_a_following_event_has_its_cause() -> None:
    """It inherits tenant, subject, correlation and trace."""
    first = events.parse(submitted(traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
    item = robot.ItemRequested(job_id=uuid4(), item_id=uuid4(), order_id=uuid4(), carrier="c", attempt=0)
    second = first.follow(item, NOW, key="a")
    third = second.follow(item, NOW)
    assert (second.tenantid, second.subject, second.traceparent) == (first.tenantid, first.subject, first.traceparent)
    assert (second.causationid, second.correlationid) == (first.id, first.id)
    assert (third.causationid, third.correlationid) == (second.id, first.id)
    assert second.follow(item, NOW).id == third.id
    assert first.follow(item, NOW, key="b").id != second.id


def test_new_events_have_time_ordered_ids() -> None:
    """UUIDv7."""
    ids = [events.new_id() for _ in range(1000)]
    assert ids == sorted(ids)
    assert {one.version for one in ids} == {7}
    assert all(type(one) is UUID for one in ids)


def test_an_older_version_is_read_as_the_current_one() -> None:
    """Upcasters run one version at a time. The event keeps its published version."""

    @event_type("test/parcel.weighed", version=3)
    class Weighed(Payload):
        grams: int
        scale: str

    try:
        upcaster(Weighed, since=1)(lambda data: {"grams": data["kilograms"] * 1000})
        upcaster(Weighed, since=2)(lambda data: {**data, "scale": "unknown"})
        old = {**submitted(), "type": "test/parcel.weighed", "dataschema": "test/parcel.weighed/1"}
        event: Event[Any] = events.parse({**old, "data": {"kilograms": 2}})
        assert event.data == Weighed(grams=2000, scale="unknown")
        assert event.version == 1
        with pytest.raises(InvalidEvent, match="cannot be upcast"):
            events.parse({**old, "data": {"pounds": 2}})
    finally:
        del KINDS["test/parcel.weighed"]


def test_a_type_has_one_payload() -> None:
    """A second class for a type is an error."""
    with pytest.raises(TypeError, match="two payloads"):
        event_type("robot/job.submitted")(robot.JobSubmitted)


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
def test_the_content_type_of_json_is_accepted(kind: str) -> None:
    """CloudEvents' `datacontenttype` is kept."""
    event = events.parse(submitted(datacontenttype=kind))
    assert json.loads(event.json_bytes())["datacontenttype"] == kind


def test_extension_attributes_are_kept() -> None:
    """Strings, integers and booleans under lower-case names. Null counts as absent."""
    extensions = {"partitionkey": "p-1", "sequence": 7, "sampled": False, "x" * 20: "long"}
    event = events.parse(submitted(**extensions, nothing=None))
    written = json.loads(event.json_bytes())
    assert {name: written[name] for name in extensions} == extensions
    assert "nothing" not in written
    assert json.loads(events.parse(written).json_bytes()) == written


def test_a_following_event_has_no_extensions_of_its_cause() -> None:
    """They belong to one event."""
    first = events.parse(submitted(partitionkey="p-1"))
    item = robot.ItemRequested(job_id=uuid4(), item_id=uuid4(), order_id=uuid4(), carrier="c", attempt=0)
    assert "partitionkey" not in json.loads(first.follow(item, NOW).json_bytes())
