"""The simulated receiver of webhooks, over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import pytest
from standardwebhooks import Webhook

from app.simulators.receiver import Reaction, Receiver

SECRET = "whsec_" + "A" * 43 + "="
BODY = '{"type":"a.b","data":{}}'


def post(receiver: Receiver, path: str = "/hooks", *, secret: str = SECRET, **changed: str) -> httpx.Response:
    """Send a signed request. `changed`: headers, without `webhook-`."""
    now = datetime.now(UTC)
    headers = {
        "webhook-id": "m1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign("m1", now, BODY),
        **{f"webhook-{name}": value for name, value in changed.items()},
    }
    return httpx.post(f"{receiver.url}{path}", content=BODY, headers=headers)


@pytest.mark.parametrize("changed", [{}, {"timestamp": "1"}, {"signature": "v1"}, {"signature": "v1,=="}, {"id": "m2"}])
def test_a_request_is_verified(receiver: Receiver, changed: dict[str, str]) -> None:
    """By the library. A malformed header is refused like a wrong signature."""
    receiver.change(secrets=[SECRET])
    assert post(receiver, **changed).status_code == (401 if changed else 204)
    assert [one.is_verified for one in receiver.received] == [not changed]


def test_a_reaction_applies_to_its_path_some_times(receiver: Receiver) -> None:
    """Then requests are accepted. Every request is in the record, which others can read."""
    reaction = Reaction(then="answer", status=503, retry_after_s=7, times=1)
    receiver.change(secrets=[SECRET], paths={"/a": reaction.model_dump()})
    first = post(receiver, "/a")
    assert (first.status_code, first.headers["retry-after"]) == (503, "7")
    assert [post(receiver, path).status_code for path in ("/a", "/b")] == [204, 204]
    assert [one["path"] for one in httpx.get(f"{receiver.url}/record").json()] == ["/a", "/a", "/b"]
    httpx.post(f"{receiver.url}/behaviour", json={"paths": {"/b": {"then": "redirect"}}})
    assert post(receiver, "/b").status_code == 307
