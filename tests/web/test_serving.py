"""The application behind a real uvicorn."""

from __future__ import annotations

import httpx


def test_uvicorn_serves_the_application(served: httpx.Client) -> None:
    """Two requests on one connection. The server does not name itself."""
    for _ in range(2):
        answer = served.get("/healthz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert "server" not in answer.headers
