"""Problem documents: each error has its status, its type and its fields, and none has the text of a bug."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from app.errors import (
    Busy,
    Conflict,
    DuplicateRequest,
    InvalidFile,
    InvalidInput,
    KeyReused,
    NotFound,
    Permanent,
    SetupError,
    Transient,
)
from app.web import problems
from app.web.problems import ProblemError
from tests.helpers import web

JOB = UUID(int=7)
ERRORS: dict[str, tuple[Exception, int, dict[str, Any]]] = {
    "input": (
        InvalidInput("order_ids: must not be empty"),
        422,
        {"errors": [{"field": "order_ids", "message": "must not be empty"}]},
    ),
    "file": (
        InvalidFile("2 bad rows", ["line 2: city: is missing"]),
        422,
        {"type": "urn:problem:tallyman:invalid-file", "detail": "2 bad rows"},
    ),
    "unknown": (NotFound("job: there is none"), 404, {"title": "Not Found"}),
    "conflict": (Conflict("carrier: is disabled"), 409, {"detail": "carrier: is disabled"}),
    "duplicate": (
        DuplicateRequest("k", JOB),
        409,
        {"type": "urn:problem:tallyman:duplicate-request", "job_id": str(JOB)},
    ),
    "reused": (KeyReused("k", JOB), 409, {"type": "urn:problem:tallyman:key-reused", "job_id": str(JOB)}),
    "busy": (Busy("wait"), 503, {"detail": "wait"}),
    "later": (Transient("wait", retry_after=7.2), 503, {}),
    "setup": (SetupError("secret words"), 503, {}),
    "permanent": (Permanent("secret words"), 500, {}),
    "database": (psycopg.OperationalError("secret words"), 503, {}),
    "privilege": (psycopg.errors.InsufficientPrivilege("secret words"), 403, {}),
    "http": (HTTPException(418, "a pot", headers={"X-Pot": "1"}), 418, {"detail": "a pot"}),
    "edge": (ProblemError(401, "no token", headers={"WWW-Authenticate": "Bearer"}), 401, {"detail": "no token"}),
    "bug": (ZeroDivisionError("secret words"), 500, {"title": "Internal Server Error"}),
}


class _Body(BaseModel):
    city: str
    count: int


@pytest.fixture(scope="module")
def client() -> Any:
    """An application that raises what its path names."""
    app = FastAPI()
    problems.install(app)
    app.add_middleware(problems.Unexpected)

    @app.get("/{name}")
    def _raise(name: str) -> None:
        raise ERRORS[name][0]

    @app.put("/body")
    @app.post("/body")
    def _body(body: _Body) -> _Body:
        return body

    with web.client(app) as opened:
        yield opened


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_becomes_a_document(client: web.TestClient, name: str) -> None:
    """Its status, its members and its media type; never the text of an exception that may hold data."""
    answer = client.get(f"/{name}")
    _, status, members = ERRORS[name]
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == status
    assert {key: document[key] for key in members} == members
    assert "secret words" not in answer.text
    assert ("retry-after" in answer.headers) == (status == 503)


def test_headers_of_an_error_are_sent(client: web.TestClient) -> None:
    """For example the challenge of a 401; seconds to wait are rounded up."""
    assert client.get("/edge").headers["www-authenticate"] == "Bearer"
    assert client.get("/http").headers["x-pot"] == "1"
    assert client.get("/later").headers["retry-after"] == "8"


@pytest.mark.parametrize(
    ("content", "status", "fields"),
    [
        (b'{"count": "x"}', 422, ["body.city", "body.count"]),
        (b"{", 400, ["body.1"]),
        (b'{"city": "\xff"}', 400, []),
    ],
)
def test_a_body_that_is_not_valid(client: web.TestClient, content: bytes, status: int, fields: list[str]) -> None:
    """Wrong fields: 422 with all their names. A body that is no JSON, or no UTF-8: 400."""
    answer = client.post("/body", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert [one["field"] for one in answer.json().get("errors", [])] == fields


def test_the_wrong_path_and_method(client: web.TestClient) -> None:
    """The router's own errors are documents, too."""
    assert client.get("/a/b").json()["status"] == 404
    answer = client.delete("/body")
    assert (answer.status_code, answer.json()["title"]) == (405, "Method Not Allowed")
    assert answer.headers["allow"] == "GET, POST, PUT"  # of all routes with this path
