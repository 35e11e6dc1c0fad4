"""Event types of Tallyman, and parsing and validation of events.

`parse()` and `parse_all()` read events of all published versions; older versions are upcast. `base.new()` and
`Event.follow()` create events. This package imports nothing from `app`, so producers and consumers in other programs
can vendor it unchanged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from events import collection, messaging, order, robot, webhook
from events.base import KINDS, SIZE_LIMIT, Event, InvalidEvent, Kind, Payload, new, new_id

__all__ = [
    "KINDS",
    "SIZE_LIMIT",
    "Event",
    "InvalidEvent",
    "Payload",
    "Unreadable",
    "collection",
    "messaging",
    "new",
    "new_id",
    "order",
    "parse",
    "parse_all",
    "robot",
    "webhook",
]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A value that is not a valid event. `reason`: why it cannot be parsed.

    `is_unknown`: its type or version is unknown, and another version of the program may know it.
    """

    raw: Any
    reason: str
    is_unknown: bool = False


def parse(raw: str | bytes | Mapping[str, Any]) -> Event[Any]:
    """Parse one event from JSON, or from decoded JSON.

    Raises `InvalidEvent` for invalid JSON, for JSON larger than `SIZE_LIMIT` bytes, for an unknown type or version, and
    for missing, wrong or unknown fields.
    """
    if isinstance(raw, str | bytes):
        size = len(raw.encode() if isinstance(raw, str) else raw)
        if size > SIZE_LIMIT:
            message = f"an event takes at most {SIZE_LIMIT} bytes, this one {size}: send ids, not documents"
            raise InvalidEvent(message)
        try:
            raw = from_json(raw)
        except ValueError as error:
            message = f"not JSON: {error}"
            raise InvalidEvent(message) from error
    found = parse_all([raw])[0]
    if isinstance(found, Unreadable):
        raise InvalidEvent(found.reason)
    return found


def parse_all(values: Sequence[Any]) -> list[Event[Any] | Unreadable]:
    """Parse many events from decoded JSON. Returns them in the same order; invalid values become `Unreadable`.

    All events of a type are validated as one list, which is several times faster than one by one.
    """
    results: list[Event[Any] | Unreadable | None] = [None] * len(values)
    groups: dict[str, list[int]] = defaultdict(list)
    current: list[Any] = list(values)
    for position, value in enumerate(values):
        try:
            kind, version = _kind(value)
            if version != kind.payload.version:
                current[position] = {**value, "data": kind.upcast(version, value.get("data") or {})}
            groups[value["type"]].append(position)
        except _Unknown as error:
            results[position] = Unreadable(value, str(error), is_unknown=True)
        except InvalidEvent as error:
            results[position] = Unreadable(value, str(error))
        except Exception as error:  # noqa: BLE001 - an upcaster got data that its version never allowed
            results[position] = Unreadable(value, f"cannot be upcast: {error!r}")
    for name, positions in groups.items():
        _validate(KINDS[name], positions, current, values, results)
    return results  # type: ignore[return-value]


class _Unknown(InvalidEvent):
    """The type or the version is unknown to this program."""


def _kind(value: Any) -> tuple[Kind, int]:
    if not isinstance(value, Mapping):
        message = f"an event is a JSON object, this is {type(value).__name__}"
        raise InvalidEvent(message)
    name, schema = value.get("type"), value.get("dataschema")
    if not isinstance(name, str) or (kind := KINDS.get(name)) is None:
        message = f"type: unknown event type {name!r}; known are {', '.join(sorted(KINDS))}"
        raise (_Unknown if isinstance(name, str) else InvalidEvent)(message)
    prefix, _, version = str(schema).rpartition("/")
    if prefix != name or not version.isascii() or not version.isdigit():
        message = f"dataschema: must be {name}/<version>, not {schema!r}"
        raise InvalidEvent(message)
    if not int(version):
        message = f"dataschema: versions of {name} begin with 1"
        raise InvalidEvent(message)
    if int(version) > kind.payload.version:
        message = (
            f"dataschema: version {version} of {name} is unknown to this program, which knows 1 to"
            f" {kind.payload.version}; deploy the version of the program that published it"
        )
        raise _Unknown(message)
    return kind, int(version)


def _validate(
    kind: Kind,
    positions: list[int],
    current: list[Any],
    values: Sequence[Any],
    results: list[Event[Any] | Unreadable | None],
) -> None:
    try:
        found: list[Event[Any] | Unreadable] = list(
            kind.events.validate_python([current[position] for position in positions])
        )
    except ValidationError:
        found = [_one(kind, current[position], values[position]) for position in positions]
    for position, event in zip(positions, found, strict=True):
        results[position] = event


def _one(kind: Kind, value: Any, raw: Any) -> Event[Any] | Unreadable:
    model = kind.extended if value.keys() - kind.event.model_fields.keys() else kind.event
    try:
        return model.model_validate(value)
    except ValidationError as error:
        return Unreadable(raw, explain(error))


def explain(error: ValidationError) -> str:
    """Return a validation error on one line: each field with its problem, without values."""
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc']) or 'event'}: {problem['msg'].removeprefix('Value error, ')}"
        for problem in error.errors(include_url=False, include_input=False, include_context=False)
    )
