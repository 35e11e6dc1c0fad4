"""Contracts: the published documents are valid and equal what the program reads.

The AsyncAPI document was checked with AsyncAPI's JSON Schema and parser, which exist for Node only. These tests check
the rules that can break.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.program import WIRING
from events import KINDS, InvalidEvent, Payload
from events.attributes import EXTENSION
from events.base import event_type, upcaster
from events.contracts import CONTENT_TYPE, DIALECT, Served, asyncapi, gaps, json_schema
from tests.helpers.golden import GOLDEN, OWN

KEY = re.compile(r"[A-Za-z0-9_-]+")
ONLY_2020 = {
    "prefixItems",
    "unevaluatedProperties",
    "unevaluatedItems",
    "dependentRequired",
    "dependentSchemas",
    "$dynamicRef",
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The document of this program's wiring."""
    return asyncapi(WIRING.served(), version="1.2.3")


def walk(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every value in a document with its path."""
    yield path, value
    if isinstance(value, dict):
        for name, one in value.items():
            yield from walk(one, (*path, name))
    elif isinstance(value, list):
        for position, one in enumerate(value):
            yield from walk(one, (*path, str(position)))


def resolve(document: Any, reference: str) -> Any:
    """Return the target of a reference within the document."""
    assert reference.startswith("#/")
    found = document
    for part in reference[2:].split("/"):
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found


def references(document: Any) -> list[str]:
    """Yield every reference in a document."""
    return [value for path, value in walk(document) if path and path[-1] == "$ref"]


def test_every_reference_has_a_target(document: dict[str, Any]) -> None:
    """In the AsyncAPI document and in every JSON Schema."""
    assert len(references(document)) > len(OWN)
    for one in (document, json_schema(), *(json_schema(name) for name in OWN)):
        for reference in references(one):
            assert isinstance(resolve(one, reference), dict)


def test_the_asyncapi_document_has_the_required_fields(document: dict[str, Any]) -> None:
    """Version, info, channels with addresses and messages, operations with an action; only known fields."""
    assert document["asyncapi"] == "3.0.0"
    assert set(document) == {"asyncapi", "info", "defaultContentType", "channels", "operations", "components"}
    assert document["info"]["title"]
    assert document["info"]["version"] == "1.2.3"
    for channel in document["channels"].values():
        assert set(channel) == {"address", "description", "messages"}
    for operation in document["operations"].values():
        assert set(operation) == {"action", "summary", "channel", "messages"}
        assert operation["action"] in {"send", "receive"}
    for message in document["components"]["messages"].values():
        assert set(message) == {"name", "title", "summary", "contentType", "correlationId", "payload"}
        assert message["contentType"] == CONTENT_TYPE
        assert message["summary"].endswith(".")


def test_names_are_identifiers_and_unique(document: dict[str, Any]) -> None:
    """Addresses differ, and no two types share a message or a schema."""
    parts = document["components"]
    for part in (document["channels"], document["operations"], parts["messages"], parts["schemas"]):
        assert all(KEY.fullmatch(key) for key in part)
    addresses = [channel["address"] for channel in document["channels"].values()]
    assert sorted(addresses) == sorted(set(addresses)) == WIRING.queues()
    names = [message["name"] for message in parts["messages"].values()]
    assert sorted(names) == sorted(set(names)) == sorted(WIRING.served())
    assert len({json.dumps(message["payload"]) for message in parts["messages"].values()}) == len(names)


def test_operations_name_messages_of_their_own_channel(document: dict[str, Any]) -> None:
    """AsyncAPI 3 requires a reference into the channel. Each type has a sender, except copies, and a receiver."""
    ends: dict[str, list[str]] = {}
    for operation in document["operations"].values():
        channel = operation["channel"]["$ref"]
        for message in operation["messages"]:
            assert message["$ref"].startswith(f"{channel}/messages/")
            found = resolve(document, resolve(document, message["$ref"])["$ref"])
            ends.setdefault(found["name"], []).append(operation["action"])
    both = ["send", "receive"]
    assert ends == {name: both[1:] if KINDS[name].subscriber else both for name in WIRING.served()}


def test_the_correlation_location_exists(document: dict[str, Any]) -> None:
    """Every payload has the attribute."""
    location = document["components"]["correlationIds"]["chain"]["location"]
    prefix, _, name = location.partition("#/")
    assert prefix == "$message.payload"
    for message in document["components"]["messages"].values():
        assert name in resolve(document, message["payload"]["$ref"])["properties"]


def test_schemas_use_draft_7_keywords_only(document: dict[str, Any]) -> None:
    """AsyncAPI's schema objects are a superset of draft 7."""
    assert not [path for path, _ in walk(document["components"]["schemas"]) if path and path[-1] in ONLY_2020]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_schema_describes_the_golden_events(path: Path) -> None:
    """It has all their fields, and they have all required ones."""
    event = json.loads(path.read_text())
    schema = json_schema(event["type"])
    assert schema["$schema"] == DIALECT
    assert schema["properties"]["type"] == {"const": event["type"]}
    assert schema["properties"]["dataschema"] == {"const": event["dataschema"]}
    data = resolve(schema, schema["properties"]["data"]["$ref"])
    for described, said in ((schema, event), (data, event["data"])):
        assert described["additionalProperties"] == (EXTENSION if described is schema else False)
        assert set(described["required"]) <= set(said) <= set(described["properties"])


def test_one_schema_is_for_all_types() -> None:
    """It accepts exactly one type. Definitions with equal names are kept apart."""
    schema = json_schema()
    assert len(schema["oneOf"]) == len(KINDS)
    titles = [resolve(schema, one["$ref"])["title"] for one in schema["oneOf"]]
    assert sorted(titles) == sorted(f"{name}/{kind.payload.version}" for name, kind in KINDS.items())


def test_an_unknown_type_is_refused() -> None:
    """The error names the known ones."""
    with pytest.raises(InvalidEvent, match=r"robot/job\.submitted"):
        json_schema("robot/job.exploded")


def test_versions_and_sequence_are_part_of_the_contract() -> None:
    """The readable versions, whether order is kept, and whether a subject is needed."""

    @event_type("test/door.opened", version=2, sequenced=True)
    class Opened(Payload):
        """A door was opened."""

        width: int

    try:
        schema = json_schema("test/door.opened")
        assert "versions 1 to 1 are still read" in schema["description"]
        assert "in the order of their publication" in schema["description"]
        assert schema["properties"]["subject"] == {"type": "string", "format": "uuid"}
        assert {"specversion", "subject"} <= set(schema["required"])
        operations = asyncapi({"test/door.opened": Served("events", "handler")}, version="1")["operations"]
        assert "order of their publication" in operations["handle_test_door_opened"]["summary"]
        assert [(gap.type, gap.version) for gap in gaps()] == [("test/door.opened", 1)]
        upcaster(Opened, since=1)(lambda data: data)
        assert gaps() == []
        upcaster(Opened, since=2)(lambda data: data)
        assert [(gap.type, gap.version) for gap in gaps()] == [("test/door.opened", 2)]
    finally:
        del KINDS["test/door.opened"]
