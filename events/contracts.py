"""Generate JSON Schema and AsyncAPI documents from the classes that validate events.

An event is one JSON object (CloudEvents, structured mode). Its attributes and its `data` are described together as the
payload of a message. There are no message headers.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from events.attributes import EXTENSION, PROPERTY_NAMES
from events.base import KINDS, InvalidEvent, Kind

DIALECT = "https://json-schema.org/draft/2020-12/schema"
CONTENT_TYPE = "application/cloudevents+json"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Served:
    """The queue of an event type, and whether a handler or an effect serves it."""

    queue: str
    by: Literal["handler", "effect"]


@dataclass(frozen=True, slots=True)
class Gap:
    """A version of an event type that cannot be read, and the reason."""

    type: str
    version: int
    why: str


def gaps() -> list[Gap]:
    """Return missing upcasters, and upcasters for versions that do not exist."""
    missing = [
        Gap(name, version, f"no upcaster from version {version} to {version + 1}")
        for name, kind in sorted(KINDS.items())
        for version in range(1, kind.payload.version)
        if version not in kind.upcasters
    ]
    stray = [
        Gap(name, version, f"an upcaster from version {version}, but the type is at version {kind.payload.version}")
        for name, kind in sorted(KINDS.items())
        for version in sorted(kind.upcasters)
        if not 1 <= version < kind.payload.version
    ]
    return missing + stray


def json_schema(name: str | None = None) -> Json:
    """Return the JSON Schema (draft 2020-12) of one event type, or of all types. Raises `InvalidEvent`."""
    if name is not None:
        definitions = _schemas(name, _kind(name), "#/$defs/")
        event = definitions.pop(_key(name))
        return {"$schema": DIALECT, "$id": f"urn:tallyman:{name}/{_kind(name).payload.version}", **event} | (
            {"$defs": definitions} if definitions else {}
        )
    return {
        "$schema": DIALECT,
        "$id": "urn:tallyman:events",
        "title": "An event",
        "oneOf": [{"$ref": f"#/$defs/{_key(one)}"} for one in sorted(KINDS)],
        "$defs": _all_schemas(sorted(KINDS), "#/$defs/"),
    }


def asyncapi(served: Mapping[str, Served], *, version: str) -> Json:
    """Return an AsyncAPI 3.0.0 document: a channel for each queue, and operations to send and receive each type.

    `served`: the queue and server of each type. `version`: the program's. Raises `InvalidEvent` for an unknown type.
    """
    names = sorted(served)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tallyman",
            "version": version,
            "description": "Events in PostgreSQL queues, each a CloudEvents 1.0 object in structured mode. A producer"
            " publishes in its own transaction; every event is applied once.",
        },
        "defaultContentType": CONTENT_TYPE,
        "channels": {queue: _channel(queue, served) for queue in sorted({one.queue for one in served.values()})},
        "operations": {key: operation for name in names for key, operation in _operations(name, served[name])},
        "components": {
            "messages": {_key(name): _message(name) for name in names},
            "schemas": _all_schemas(names, "#/components/schemas/"),
            "correlationIds": {
                "chain": {
                    "description": "The first event of the chain; absent on that event itself.",
                    "location": "$message.payload#/correlationid",
                }
            },
        },
    }


def _channel(queue: str, served: Mapping[str, Served]) -> Json:
    keys = [_key(name) for name in sorted(served) if served[name].queue == queue]
    return {
        "address": queue,
        "description": f"The queue `{queue}`: rows of procrastinate_jobs, each an event or a batch of events.",
        "messages": {key: {"$ref": f"#/components/messages/{key}"} for key in keys},
    }


def _operations(name: str, served: Served) -> Iterable[tuple[str, Json]]:
    key, kind = _key(name), _kind(name)
    about = {
        "channel": {"$ref": f"#/channels/{served.queue}"},
        "messages": [{"$ref": f"#/channels/{served.queue}/messages/{key}"}],
    }
    verb, heard = (
        ("handle", "applied once, in order of arrival") if served.by == "handler" else ("perform", "carried out once")
    )
    if kind.payload.sequenced:
        heard = "applied once, a subject's in the order of their publication"
    if kind.subscriber:
        said = f"{kind.source} is given to the subscriber {kind.subscriber}, and {heard}."
        yield f"{verb}_{key}", {"action": "receive", "summary": said, **about}
        return
    yield (
        f"publish_{key}",
        {"action": "send", "summary": f"Publish {name} in the transaction that makes it true.", **about},
    )
    yield f"{verb}_{key}", {"action": "receive", "summary": f"{name} is {heard}.", **about}


def _message(name: str) -> Json:
    return {
        "name": name,
        "title": name,
        "summary": _summary(_kind(name)),
        "contentType": CONTENT_TYPE,
        "correlationId": {"$ref": "#/components/correlationIds/chain"},
        "payload": {"$ref": f"#/components/schemas/{_key(name)}"},
    }


def _all_schemas(names: Iterable[str], root: str) -> Json:
    return {key: schema for name in names for key, schema in _schemas(name, _kind(name), root).items()}


def _schemas(name: str, kind: Kind, root: str) -> Json:
    """Return the schemas of a type's events and of each model in it, by unique names."""
    key, version = _key(name), kind.payload.version
    event = kind.event.model_json_schema(ref_template=f"{root}{key}_{{model}}")
    parts = {f"{key}_{model}": part for model, part in event.pop("$defs", {}).items()}
    event["title"], event["description"] = f"{name}/{version}", _description(kind)
    event["propertyNames"], event["additionalProperties"] = PROPERTY_NAMES, EXTENSION
    event["properties"]["type"] = {"const": name}
    event["properties"]["dataschema"] = {"const": f"{name}/{version}"}
    # Optional for the program, but required by CloudEvents.
    event["required"] = ["specversion", *event["required"]]
    if kind.payload.sequenced:
        event["properties"]["subject"] = {"type": "string", "format": "uuid"}
        event["required"].append("subject")
    return {key: event, **parts}


def _description(kind: Kind) -> str:
    said = [_summary(kind)]
    if kind.payload.version > 1:
        said.append(f"Events of versions 1 to {kind.payload.version - 1} are still read.")
    if kind.payload.sequenced:
        said.append("A subject's events are applied in the order of their publication.")
    return " ".join(said)


def _summary(kind: Kind) -> str:
    return (inspect.getdoc(kind.payload) or kind.payload.type).partition("\n\n")[0].replace("\n", " ")


def _kind(name: str) -> Kind:
    if (kind := KINDS.get(name)) is None:
        raise InvalidEvent(f"type: unknown event type {name!r}; known are {', '.join(sorted(KINDS))}")
    return kind


def _key(name: str) -> str:
    # AsyncAPI requires letters, digits, hyphens and underscores; code generators use keys as identifiers.
    return re.sub(r"[/.:]", "_", name)
