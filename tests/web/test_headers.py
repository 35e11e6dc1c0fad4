"""Headers of every answer, and the line that is logged for each request."""

from __future__ import annotations

import pytest
import structlog
from fastapi import FastAPI, Response
from structlog.testing import capture_logs

from app.web.headers import SECURITY
from tests.helpers.web import TestClient


@pytest.fixture
def application(application: FastAPI) -> FastAPI:
    """The application with a secret in a path, a bug, and a route that has its own headers."""

    @application.get("/secret/{token}")
    def _secret(token: str) -> str:
        return str(structlog.contextvars.get_contextvars()["request_id"])

    @application.get("/bug")
    def _bug() -> None:
        raise ZeroDivisionError

    @application.get("/own")
    def _own(response: Response) -> None:
        response.headers["Cache-Control"] = "max-age=60"

    return application


@pytest.mark.parametrize("path", ["/healthz", "/bug", "/unknown"])
def test_every_answer_has_the_security_headers(client: TestClient, path: str) -> None:
    """Also errors. A route may set its own value."""
    headers = client.get(path).headers
    assert {name: headers[name] for name in SECURITY} == SECURITY
    assert client.get("/own").headers["cache-control"] == "max-age=60"


@pytest.mark.parametrize(("given", "kept"), [("abc-1.2_3", True), ("a b", False), ("x" * 65, False), ("", False)])
def test_a_request_has_an_id(client: TestClient, given: str, *, kept: bool) -> None:
    """The one of the proxy, if it is a plain word. The answer and the log have it."""
    answer = client.get("/secret/1", headers={"X-Request-ID": given})
    assert answer.headers["x-request-id"] == answer.json()
    assert (answer.json() == given) is kept


def test_a_request_is_logged_without_its_path(client: TestClient) -> None:
    """The path of the route, not what was called: it may hold a secret."""
    with capture_logs() as lines:
        client.get("/secret/hunter2")
        client.get("/hunter2")
        client.get("/bug")
    found = [(one["route"], one["status"]) for one in lines if one["event"] == "request"]
    assert found == [("/secret/{token}", 200), (None, 404), ("/bug", 500)]
    assert "hunter2" not in str(lines)
    assert [one["route"] for one in lines if one["event"] == "unexpected"] == ["/bug"]
