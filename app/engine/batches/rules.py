"""Rules of jobs with items: status transitions, input checks, fingerprints, references. Pure: no database, no clock."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar
from uuid import UUID, uuid5

from pydantic_core import to_json

from app.errors import Conflict, InvalidInput
from events import Payload

JobStatus = Literal["pending", "processing", "completed", "failed"]
ItemWord = Literal["pending", "processing", "success", "error"]

TRANSITIONS: dict[str, frozenset[str]] = {
    "pending": frozenset({"processing", "failed"}),
    "processing": frozenset({"completed", "failed"}),
    "completed": frozenset({"processing"}),
    "failed": frozenset({"processing"}),
}
"""Allowed status transitions of a job. A retry of failed items sets a job that ended back to `processing`."""

NEVER_CALLED = "validation"
"""The error type of an item for which no outside call was made."""

ITEMS_A_REQUEST = 5_000
"""Most items in one submitted event, which keeps the event well under its size limit."""

_NAMED = 20
_LONGEST_PAGE = 1_000


def check_transition(before: str, after: str) -> None:
    """Raise `Conflict` if a job may not change from `before` to `after`, `InvalidInput` if `after` is not a status."""
    check_job_status(after)
    if after not in TRANSITIONS[before]:
        allowed = " or ".join(sorted(TRANSITIONS[before]))
        message = f"status: a job that is {before} cannot become {after}, only {allowed}"
        raise Conflict(message)


def check_job_status(status: str) -> None:
    """Raise `InvalidInput` if `status` is not a status of jobs."""
    check_word(status, TRANSITIONS)


def check_word(status: str, known: Iterable[str]) -> None:
    """Raise `InvalidInput` if `status` is not in `known`."""
    if status not in known:
        message = f"status: {status!r} is not a status; choose one of {', '.join(known)}"
        raise InvalidInput(message)


def check_page(limit: int) -> None:
    """Raise `InvalidInput` if `limit` is not 1 to 1000."""
    if not 1 <= limit <= _LONGEST_PAGE:
        message = f"limit: must be 1 to {_LONGEST_PAGE}, not {limit}"
        raise InvalidInput(message)


def check_key(key: str | None) -> None:
    """Raise `InvalidInput` if an idempotency key is not 1 to 200 printable characters. None is valid."""
    if key is not None and not (1 <= len(key) <= 200 and key.isprintable()):  # noqa: PLR2004 - given in the message
        message = "idempotency_key: must be 1 to 200 printable characters"
        raise InvalidInput(message)


def check_rows(what: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Raise `InvalidInput` if there are no rows, or a row does not have exactly `columns`. `what`: the field's name."""
    if not rows:
        message = f"{what}: must not be empty"
        raise InvalidInput(message)
    for n, row in enumerate(rows, 1):
        if row.keys() != set(columns):
            message = f"{what}: number {n} gives {', '.join(sorted(row)) or 'nothing'}, not {', '.join(columns)}"
            raise InvalidInput(message)


def fingerprint(request: Mapping[str, Any], items: Sequence[Mapping[str, Any]]) -> str:
    """Return the SHA-256 of a request's content as 64 hexadecimal digits. The order of the items does not matter."""
    digest = hashlib.sha256(to_json(dict(sorted(request.items()))))
    for item in sorted(to_json(dict(sorted(item.items()))) for item in items):
        digest.update(b"\n" + item)
    return digest.hexdigest()


def request_id(requested: type[Payload], item_id: UUID, attempt: int) -> UUID:
    """Return the id of the event that requests an attempt at an item. It is derived, so repeated requests share it."""
    return uuid5(item_id, f"{requested.type}/{attempt}")


def reference(item_id: UUID, attempt: int) -> str:
    """Return the reference of an attempt at an item, by which the other side can be asked about the call."""
    return f"{item_id}-{attempt}"


def references(item_id: UUID, attempt: int) -> list[str]:
    """Return the references of all attempts at an item up to `attempt`, in order."""
    return [reference(item_id, earlier) for earlier in range(attempt + 1)]


def cancelled_by(actor: str, reason: str) -> str:
    """Return the error message of an item whose job was cancelled before its call was made."""
    return f"cancelled by {actor}: {reason}"


def name_some(ids: Sequence[object]) -> str:
    """Return the first 20 ids as text, and the number of further ids."""
    named = ", ".join(str(one) for one in ids[:_NAMED])
    return named if len(ids) <= _NAMED else f"{named} and {len(ids) - _NAMED} more"


P = TypeVar("P", bound=Payload)


def payload(kind: type[P], values: Mapping[str, Any]) -> P:
    """Create a payload of type `kind` from `values`. Values that are not fields of it are ignored."""
    return kind(**{name: value for name, value in values.items() if name in kind.model_fields})
