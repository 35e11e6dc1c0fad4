"""Rules of robot jobs: input checks, fingerprints, request ids. Pure: no database, no clock, no network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import cast, get_args
from uuid import UUID

from app.engine.batches import rules as batches
from app.engine.batches.rules import cancelled_by, name_some, reference, references
from app.errors import InvalidInput
from events.robot import ErrorType, ItemRequested

__all__ = [
    "cancelled_by",
    "check_order_list",
    "error_type",
    "fingerprint",
    "name_some",
    "reference",
    "references",
    "request_id",
]


def check_order_list(order_ids: Sequence[UUID]) -> None:
    """Raise `InvalidInput` for an empty list or a list with a duplicate order."""
    if not order_ids:
        message = "order_ids: must name at least one order"
        raise InvalidInput(message)
    seen: set[UUID] = set()
    twice = sorted({order_id for order_id in order_ids if order_id in seen or seen.add(order_id)})  # type: ignore[func-returns-value]
    if twice:
        message = f"order_ids: {len(twice)} named more than once: {name_some(twice)}"
        raise InvalidInput(message)


def fingerprint(carrier: str, order_ids: Iterable[UUID]) -> str:
    """Return the SHA-256 of a request's content as 64 hexadecimal digits. The order of the list does not matter."""
    digest = hashlib.sha256(carrier.encode())
    for order_id in sorted(order_id.bytes for order_id in order_ids):
        digest.update(order_id)
    return digest.hexdigest()


def request_id(item_id: UUID, attempt: int) -> UUID:
    """Return the id of the event that requests an attempt at an item. It is derived, so repeated requests share it."""
    return batches.request_id(ItemRequested, item_id, attempt)


def error_type(word: str) -> ErrorType:
    """Return the error type with this name. Raises `InvalidInput` for an unknown name."""
    for known in get_args(ErrorType):
        if word == known:
            return cast("ErrorType", known)
    raise InvalidInput(f"type: {word!r} is not an error type; choose one of {', '.join(get_args(ErrorType))}")
