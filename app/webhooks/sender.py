"""Send a signed request to an endpoint, and read the beginning of its answer.

    EndpointError        has `status` and `answer`, if the endpoint answered
    ├── EndpointFailed   Transient: no answer, or one that is no success
    ├── EndpointBusy     Transient: 429 or 503 with Retry-After, which holds for the whole endpoint; no attempt is spent
    ├── EndpointGone     Permanent: 410
    └── EndpointUnusable NotCalled: the endpoint is disabled, or its secret cannot be decrypted

Messages contain no URL and no part of an answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import assert_never
from uuid import UUID
from weakref import WeakKeyDictionary

from app.addresses import Reach
from app.errors import NotCalled, Permanent, TallymanError, Transient
from app.outgoing import HttpClient, OutgoingError
from app.settings import settings
from app.webhooks import rules, signing

_LARGEST_ANSWER = 4 * 1024
"""Most bytes that are read of an answer. The rest is dropped: its content is for the operator's eyes only."""


class EndpointError(TallymanError):
    """A request to an endpoint failed. `status`, `answer`: of its answer; None and empty without one.

    An answer is an outcome: only a request without one is in doubt. `was_tried`: the failure is the endpoint's.
    """

    was_tried = True

    def __init__(self, message: str, *, status: int | None = None, answer: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.answer = answer
        if status is not None:
            self.maybe_called = False


class EndpointFailed(EndpointError, Transient):
    """No answer, or one that is no success."""


class EndpointBusy(EndpointError, Transient):
    """The endpoint asks to wait for `retry_after` seconds. It has not taken the request."""

    def __init__(self, message: str, *, status: int, answer: str, retry_after: float) -> None:
        super().__init__(message, status=status, answer=answer)
        self.retry_after = retry_after


class EndpointGone(EndpointError, Permanent):
    """The endpoint wants no more requests."""


class EndpointUnusable(EndpointError, NotCalled):
    """The endpoint is disabled, or cannot be used for a reason that the message gives. Nothing was sent."""

    was_tried = False


@dataclass(frozen=True, slots=True)
class Message:
    """A request's content. `id`: equal for every attempt, so that the receiver can recognise a repeated one."""

    id: UUID
    body: str


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint's URL and its signing keys, the current one first."""

    url: str
    keys: Sequence[bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The endpoint's answer to a request that it accepted."""

    status: int
    answer: str


_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, HttpClient] = WeakKeyDictionary()


async def send(target: Target, message: Message) -> Accepted:
    """Send a signed request and return the answer. Raises an `EndpointError`, and `SetupError` for a wrong setting."""
    headers = signing.headers(message.id, datetime.now(UTC), message.body, target.keys)
    body, timeout = message.body.encode(), settings().webhook_timeout
    try:
        found = await _client().request("POST", target.url, timeout=timeout, headers=headers, body=body)
    except OutgoingError as error:
        failed = EndpointFailed(str(error))
        failed.maybe_called = error.maybe_sent
        raise failed from error
    answer, seconds = rules.printable(found.body), found.retry_after
    what = f"the endpoint answered {found.status}"
    match rules.verdict(found.status, seconds):
        case "delivered":
            return Accepted(found.status, answer)
        case "gone":
            raise EndpointGone(f"{what}: it wants no more requests", status=found.status, answer=answer)
        case "put_off":
            wait = rules.pause(seconds or 0.0)
            raise EndpointBusy(f"{what}, Retry-After", status=found.status, answer=answer, retry_after=wait)
        case "failed":
            raise EndpointFailed(what, status=found.status, answer=answer)
        case other:
            assert_never(other)


def reach() -> Reach:
    """Return the addresses that endpoints may have. Raises `SetupError` for a wrong setting."""
    return Reach.parse(settings().webhook_networks, source="TALLYMAN_WEBHOOK_NETWORKS")


async def close() -> None:
    """Close the connections of the running event loop."""
    if (client := _clients.pop(asyncio.get_running_loop(), None)) is not None:
        await client.aclose()


def _client() -> HttpClient:
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        _clients[loop] = HttpClient(largest_answer=_LARGEST_ANSWER, cuts=True, reach=reach())
    return _clients[loop]
