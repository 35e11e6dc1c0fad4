"""One request to an endpoint: the answer, or the error that tells what happened."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from app import standard_webhooks
from app.settings import settings, using
from app.simulators.receiver import Reaction, Receiver
from app.webhooks import sender, signing
from app.webhooks.sender import Accepted, EndpointBusy, EndpointError, EndpointFailed, EndpointGone, Message, Target
from events import new_id


@pytest.fixture
async def target(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Target]:
    """An endpoint of the receiver."""
    monkeypatch.setenv("TALLYMAN_WEBHOOK_NETWORKS", "127.0.0.0/8")
    settings.cache_clear()
    secret = signing.new_secret()
    receiver.change(secrets=[secret.get_secret_value()])
    yield Target(f"{receiver.url}/hooks", [standard_webhooks.key(secret)])
    await sender.close()
    settings.cache_clear()


async def test_an_accepted_request(target: Target, receiver: Receiver) -> None:
    """Returns the status. The key is in no text."""
    assert await sender.send(target, Message(new_id(), "{}")) == Accepted(204, "")
    assert receiver.received[0].is_verified
    assert repr(target) == f"Target(url='{target.url}')"


@pytest.mark.parametrize(
    ("reaction", "kind", "status", "in_doubt"),
    [
        ({"then": "answer", "status": 500}, EndpointFailed, 500, False),
        ({"then": "redirect"}, EndpointFailed, 307, False),
        ({"then": "answer", "status": 410}, EndpointGone, 410, False),
        ({"then": "answer", "status": 503, "retry_after_s": 0}, EndpointBusy, 503, False),
        ({"then": "cut"}, EndpointFailed, None, True),
        ({"then": "hang"}, EndpointFailed, None, True),
    ],
)
async def test_a_failed_request(
    target: Target,
    receiver: Receiver,
    reaction: dict[str, Any],
    kind: type[EndpointError],
    status: int | None,
    *,
    in_doubt: bool,
) -> None:
    """Only a request without an answer is in doubt. The message has no part of the answer."""
    receiver.change(paths={"/hooks": Reaction(**reaction).model_dump()})
    with using(webhook_timeout=0.3), pytest.raises(kind) as caught:
        await sender.send(target, Message(new_id(), "{}"))
    error = caught.value
    assert (error.status, error.maybe_called) == (status, in_doubt)
    assert "it broke" not in str(error)
    assert getattr(error, "retry_after", None) == (5.0 if kind is EndpointBusy else None)


async def test_a_request_that_was_not_sent_is_in_no_doubt(target: Target) -> None:
    """The address is not allowed, or nobody listens."""
    with pytest.raises(EndpointFailed) as caught:
        await sender.send(Target("http://127.0.0.1:9/", target.keys), Message(new_id(), "{}"))
    assert not caught.value.maybe_called
    await sender.close()
    with using(webhook_networks=""), pytest.raises(EndpointFailed, match="private, local or reserved") as caught:
        await sender.send(target, Message(new_id(), "{}"))
    assert not caught.value.maybe_called
