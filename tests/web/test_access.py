"""Access: which requests have a person, and as whom their transactions run."""

from __future__ import annotations

import base64
import socket
from contextlib import ExitStack, closing
from uuid import uuid4

import psycopg
import pytest
from fastapi import FastAPI

from app import database as doors
from app.context import Connection
from app.settings import settings
from app.web.access import AsPerson, CurrentPerson
from app.web.app import create
from tests.conftest import Database
from tests.helpers.factories import make_member, make_workspace
from tests.helpers.web import TestClient, bearer, serving


@pytest.fixture
def application(application: FastAPI) -> FastAPI:
    """The application with routes that report the caller."""

    @application.get("/me")
    def _me(person: CurrentPerson) -> str:
        return str(person.user_id)

    @application.get("/workspaces")
    def _workspaces(connection: AsPerson) -> list[str]:
        found = connection.execute("SELECT current_user::text, auth.uid()::text, id::text FROM tenancy.workspaces")
        return [word for row in found for word in row]

    @application.post("/fail")
    def _fail(connection: AsPerson) -> None:
        with doors.on_behalf(connection):
            connection.execute("INSERT INTO tenancy.orgs (name) VALUES ('half done')")
        raise ZeroDivisionError

    return application


@pytest.mark.parametrize(
    ("header", "error"),
    [(None, None), ("Basic YTpi", None), ("Bearer", None), ("Bearer x.y.z", "invalid_token"), ("Bearer ", None)],
)
def test_a_request_without_an_accepted_token_is_challenged(
    client: TestClient, header: str | None, error: str | None
) -> None:
    """401 with `WWW-Authenticate`, which names an error only for a token that was sent (RFC 6750)."""
    answer = client.get("/me", headers={"Authorization": header} if header else {})
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith('Bearer realm="tallyman"')
    assert (f'error="{error}"' in challenge) if error else ("error=" not in challenge)


def test_a_request_with_two_tokens_is_refused(client: TestClient) -> None:
    """A proxy may have checked one, and the program would use the other."""
    headers = [("Authorization", bearer(uuid4())["Authorization"]) for _ in range(2)]
    assert client.get("/me", headers=headers).status_code == 401


def test_an_issuer_that_does_not_answer_stops_only_requests_with_its_tokens(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens wait for its keys in threads of their own: other requests that need a thread are served."""
    head = base64.urlsafe_b64encode(b'{"alg":"RS256","kid":"k"}').decode().rstrip("=")
    request = f"GET /v1/jobs/{uuid4()} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {head}.e30.\r\n\r\n".encode()
    with ExitStack() as stack:
        issuer = stack.enter_context(closing(socket.create_server(("127.0.0.1", 0), backlog=100)))
        monkeypatch.setenv("TALLYMAN_TOKEN_JWKS_URL", f"http://127.0.0.1:{issuer.getsockname()[1]}/keys")
        settings.cache_clear()
        served = stack.enter_context(serving(create()))
        for _ in range(60):
            waits = socket.create_connection((served.base_url.host, served.base_url.port))
            stack.enter_context(closing(waits)).sendall(request)
        with closing(issuer.accept()[0]):  # the first one asks for the keys, and the others wait for it
            assert served.get("/healthz").status_code == 200
            assert served.get("/readyz").status_code == 503
        issuer.close()


def test_a_transaction_runs_as_the_person(client: TestClient, connection: Connection) -> None:
    """Under the role `authenticated`, so that row-level security hides other tenants."""
    own, _ = make_workspace(connection), make_workspace(connection)
    user_id = make_member(connection, own)
    assert client.get("/me", headers=bearer(user_id)).json() == str(user_id)
    assert client.get("/workspaces", headers=bearer(user_id)).json() == ["authenticated", str(user_id), str(own.id)]
    assert client.get("/workspaces", headers=bearer(uuid4())).json() == []


def test_an_error_rolls_the_transaction_back(client: TestClient, connection: Connection) -> None:
    """Nothing of it is committed."""
    assert client.post("/fail", headers=bearer(uuid4())).status_code == 500
    assert connection.execute("SELECT count(*) FROM tenancy.orgs").fetchone() == (0,)


def test_a_block_on_behalf_of_a_person_ends_with_the_persons_role(connection: Connection) -> None:
    """Also after an error in the block, which is rolled back alone."""
    role = "SELECT current_user::text"
    with doors.as_person(connection, uuid4()):
        with doors.on_behalf(connection):
            assert connection.execute(role).fetchone() == ("service_role",)
        assert connection.execute(role).fetchone() == ("authenticated",)
        with pytest.raises(psycopg.errors.DivisionByZero), doors.on_behalf(connection):
            connection.execute("SELECT 1 / 0")
        assert connection.execute(role).fetchone() == ("authenticated",)
    assert connection.execute(role).fetchone() == ("service_role",)
