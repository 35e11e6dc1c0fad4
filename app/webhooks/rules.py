"""Rules of webhooks: the published event types, the body of a request, and the meaning of an answer. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Literal
from uuid import UUID, uuid5

from app.errors import InvalidInput
from events import Payload, collection, order, robot

Owner = Literal["workspace", "org"]
"""The kind of an endpoint's tenant."""
Verdict = Literal["delivered", "gone", "put_off", "failed"]

PUBLISHED: Mapping[Owner, Sequence[type[Payload]]] = {
    "workspace": (robot.JobCompleted, order.OrderUpdated),
    "org": (collection.JobCompleted, collection.RunPaused, collection.BudgetWarned),
}
"""The event types that endpoints can be registered for, by the kind of their tenant."""

LONGEST_PAUSE_S = 86_400.0
SHORTEST_PAUSE_S = 5.0
"""Limits of Retry-After, in seconds: an endpoint can neither stop its queue for weeks nor be asked in a loop."""
ANSWER_CHARS = 500
"""Characters of an answer's body that are stored."""
MOST_ENDPOINTS = 20
"""Most endpoints of a tenant: each event is sent to all that match."""
MOST_CALLS = 20
DESCRIPTION_CHARS = 200


def public_name(payload: type[Payload]) -> str:
    """Return an event type as receivers see it: `robot.job.completed`. Standard Webhooks separates names by dots."""
    return payload.type.replace("/", ".")


def check_event_types(owner: Owner, names: Iterable[str]) -> list[str]:
    """Return public names, sorted and each once. Raises `InvalidInput`, which lists the types of such a tenant."""
    wanted, known = sorted(set(names)), [public_name(one) for one in PUBLISHED[owner]]
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        what = f"{unknown[0]!r} is not published" if unknown else "name at least one"
        raise InvalidInput(f"event: {what}; an endpoint of a{_KINDS[owner]} can get {', '.join(known)}")
    return wanted


def check_max_calls(max_calls: int) -> None:
    """Raise `InvalidInput` for a number of concurrent requests that is out of range."""
    if not 1 <= max_calls <= MOST_CALLS:
        raise InvalidInput(f"max_calls: must be 1 to {MOST_CALLS}, not {max_calls}")


def delivery_id(endpoint_id: UUID, event_id: UUID) -> UUID:
    """Return the id of the delivery of an event to an endpoint: one for each pair, however often it is made."""
    return uuid5(endpoint_id, f"delivery:{event_id}")


def limit_key(endpoint_id: UUID) -> str:
    """Return the key of an endpoint's concurrency limit, which is also that of its pauses."""
    return f"webhook/{endpoint_id}"


def body(name: str, at: datetime, data: Mapping[str, Any]) -> str:
    """Return the JSON text of a request, by Standard Webhooks: type, timestamp and data of the event."""
    timestamp = at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return json.dumps({"type": name, "timestamp": timestamp, "data": data}, ensure_ascii=False, separators=(",", ":"))


def verdict(status: int, retry_after: float | None) -> Verdict:
    """Return the meaning of an answer. `retry_after`: seconds of its Retry-After header; None without one.

    Only 2xx is success: redirects are not followed. 410 ends the endpoint. 429 and 503 with Retry-After put all
    deliveries of the endpoint off.
    """
    if status // 100 == HTTPStatus.OK // 100:
        return "delivered"
    if status == HTTPStatus.GONE:
        return "gone"
    may_put_off = status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
    return "put_off" if may_put_off and retry_after is not None else "failed"


def pause(retry_after: float) -> float:
    """Return the seconds for which an endpoint rests that answered with this Retry-After."""
    return min(max(retry_after, SHORTEST_PAUSE_S), LONGEST_PAUSE_S)


def printable(answer: bytes) -> str:
    """Return the beginning of an answer's body as text that can be stored and printed."""
    text = answer.decode("utf-8", errors="replace")
    return "".join(one if one.isprintable() else " " for one in text[:ANSWER_CHARS]).strip()


_KINDS: Mapping[Owner, str] = {"workspace": " workspace", "org": "n organisation"}
