"""Limits: the size and time of a body, and the requests of a client."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI, Request

from app.web.access import CurrentPerson
from app.web.app import create
from app.web.limits import BodyLimits, Rate
from app.web.problems import ProblemError
from tests.helpers import web
from tests.helpers.waits import LIMIT_S

MOST, MOST_UPLOAD = 1000, 5000


@pytest.fixture
def application(database: Any, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    """The application with low limits, and routes that read a body."""
    from app.settings import settings  # noqa: PLC0415 - read anew below

    given = {
        "TOKEN_SECRET": web.SECRET,
        "WEB_BODY_BYTES": str(MOST),
        "WEB_UPLOAD_BYTES": str(MOST_UPLOAD),
        "WEB_BODY_TIMEOUT": "0.2",
        "API_REQUESTS_A_MINUTE": "3",
        "API_REFUSALS_A_MINUTE": "2",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"TALLYMAN_{name}", value)
    settings.cache_clear()
    app = create()

    @app.post("/raw")
    @app.post("/v1/some/import")
    async def _raw(request: Request) -> int:
        return len(await request.body())

    @app.post("/json")
    def _json(body: list[int]) -> int:
        return len(body)

    @app.get("/me")
    def _me(person: CurrentPerson) -> str:
        return str(person.user_id)

    return app


def _chunks(size: int) -> Iterator[bytes]:
    for _ in range(size // 100):
        yield b"x" * 100


@pytest.mark.parametrize("path", ["/raw", "/v1/some/import"])
def test_a_body_that_is_too_large_is_refused(served: httpx.Client, path: str) -> None:
    """By its declared size, or when more arrives than allowed. Uploads have their own limit."""
    most = MOST_UPLOAD if path.endswith("import") else MOST
    for make in (lambda size: b"x" * size, _chunks):
        assert served.post(path, content=make(most)).json() == most
        answer = served.post(path, content=make(most + 100))
        assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
        assert f"larger than {most} bytes" in answer.json()["detail"]
    json = served.post("/json", content=_chunks(MOST + 100), headers={"content-type": "application/json"})
    assert json.status_code == 413


def test_a_body_that_does_not_arrive_is_given_up(served: httpx.Client) -> None:
    """408, on a connection that sends the head of a request and a part of its body."""
    url = served.base_url
    with socket.create_connection((url.host, url.port), LIMIT_S) as slow:
        slow.sendall(b"POST /raw HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
        assert slow.recv(100).startswith(b"HTTP/1.1 408 ")


def test_a_person_has_a_number_of_requests_a_minute(client: web.TestClient) -> None:
    """429 with the seconds to wait. Other people are not concerned."""
    first, second = web.bearer(uuid4()), web.bearer(uuid4())
    codes = [client.get("/me", headers=first).status_code for _ in range(4)]
    assert codes == [200, 200, 200, 429]
    answer = client.get("/me", headers=first)
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert client.get("/me", headers=second).status_code == 200


def test_an_address_has_a_number_of_refusals_a_minute(client: web.TestClient) -> None:
    """Accepted tokens from there are still accepted."""
    codes = [client.get("/me").status_code for _ in range(3)]
    assert codes == [401, 401, 429]
    assert client.get("/me", headers=web.bearer(uuid4())).status_code == 200


def test_a_refused_request_does_not_count() -> None:
    """So a client that keeps trying is served again after a minute."""
    rate = Rate(1)
    rate.take("a")
    for _ in range(3):
        with pytest.raises(ProblemError) as refused:
            rate.take("a")
        assert (refused.value.status, refused.value.headers["Retry-After"]) == (429, "60")
    rate.take("b")


def test_only_paths_of_uploads_may_be_larger() -> None:
    """They begin with `/v1/` and end with `/import`: others may be read before their sender is known."""
    limits = BodyLimits(1, 2, 3.0)
    assert [limits.bytes_of(path) for path in ("/v1/orders/import", "/import/x", "/v1/jobs", "/hooks/import")] == [
        2,
        1,
        1,
        1,
    ]
