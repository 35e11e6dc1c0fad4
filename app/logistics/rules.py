"""Decisions of the robot jobs: no database, no clock, no network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Literal, cast, get_args
from uuid import UUID, uuid5

from app.errors import Conflict, InvalidInput
from events.robot import ErrorType

JobStatus = Literal["pending", "processing", "completed", "failed"]
ItemStatus = Literal["pending", "processing", "success", "error"]

TRANSITIONS: dict[str, frozenset[str]] = {
    "pending": frozenset({"processing", "failed"}),
    "processing": frozenset({"completed", "failed"}),
    "completed": frozenset({"processing"}),
    "failed": frozenset({"processing"}),
}
"""Which status may follow which. A job that ended goes back to processing when failed items are asked for again."""

ITEMS_A_REQUEST = 5_000
"""Items that one `robot/job.submitted` names at most, so that the event stays well under its size limit."""

_NAMED = 20


def check_transition(before: str, after: str) -> None:
    """Raise `Conflict` unless a job may go from `before` to `after`."""
    if after not in TRANSITIONS:
        message = f"status: {after!r} is none; choose one of {', '.join(TRANSITIONS)}"
        raise InvalidInput(message)
    if after not in TRANSITIONS[before]:
        allowed = " or ".join(sorted(TRANSITIONS[before]))
        message = f"status: a job that is {before} cannot become {after}, only {allowed}"
        raise Conflict(message)


def ended(succeeded: int) -> JobStatus:
    """How a job ended of whose items so many succeeded: not one makes it failed."""
    return "completed" if succeeded else "failed"


def check_order_list(order_ids: Sequence[UUID]) -> None:
    """Raise `InvalidInput` for an empty list or one that names an order twice."""
    if not order_ids:
        message = "order_ids: must name at least one order"
        raise InvalidInput(message)
    seen: set[UUID] = set()
    twice = sorted({order_id for order_id in order_ids if order_id in seen or seen.add(order_id)})  # type: ignore[func-returns-value]
    if twice:
        message = f"order_ids: {len(twice)} named more than once: {name_some(twice)}"
        raise InvalidInput(message)


def check_key(key: str | None) -> None:
    """Raise `InvalidInput` for an idempotency key that cannot be one."""
    if key is not None and not (1 <= len(key) <= 200 and key.isprintable()):  # noqa: PLR2004 - said in the message
        message = "idempotency_key: must be 1 to 200 printable characters"
        raise InvalidInput(message)


def fingerprint(carrier: str, order_ids: Iterable[UUID]) -> str:
    """What a request asked for, as 64 hexadecimal digits; the order of the list makes no difference."""
    digest = hashlib.sha256(carrier.encode())
    for order_id in sorted(order_id.bytes for order_id in order_ids):
        digest.update(order_id)
    return digest.hexdigest()


def request_id(item_id: UUID, attempt: int) -> UUID:
    """The id of the event that asks for an attempt at an item: the same for all who ask, so it is asked for once."""
    return uuid5(item_id, f"robot/item.requested/{attempt}")


def reference(item_id: UUID, attempt: int) -> str:
    """What one attempt at an item is called at the portal."""
    return f"{item_id}-{attempt}"


def references(item_id: UUID, attempt: int) -> list[str]:
    """Every reference under which the item may have been entered so far, this attempt's last."""
    return [reference(item_id, earlier) for earlier in range(attempt + 1)]


def error_type(word: str) -> ErrorType:
    """A type of error by its name. Raises `InvalidInput`."""
    for known in get_args(ErrorType):
        if word == known:
            return cast("ErrorType", known)
    raise InvalidInput(f"type: {word!r} is none; choose one of {', '.join(get_args(ErrorType))}")


def cancelled_by(actor: str, reason: str) -> str:
    """What an item says whose job was cancelled before its order was entered."""
    return f"cancelled by {actor}: {reason}"


def name_some(ids: Sequence[UUID]) -> str:
    """The first of many ids, and how many more there are."""
    named = ", ".join(str(one) for one in ids[:_NAMED])
    return named if len(ids) <= _NAMED else f"{named} and {len(ids) - _NAMED} more"
