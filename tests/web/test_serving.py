"""The application behind a real uvicorn."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import httpx
import pytest
from fastapi import FastAPI

from tests.helpers import web
from tests.helpers.waits import LIMIT_S

GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"


@pytest.fixture
def quick(application: FastAPI) -> Iterator[httpx.Client]:
    """A client of a server that waits for a fifth of a second for a head."""
    with web.serving(application, head_s=0.2) as opened:
        yield opened


def connect(client: httpx.Client) -> socket.socket:
    """Open a connection to the server."""
    return socket.create_connection((client.base_url.host, client.base_url.port), LIMIT_S)


def test_uvicorn_serves_the_application(served: httpx.Client) -> None:
    """Two requests on one connection. The server does not name itself."""
    for _ in range(2):
        answer = served.get("/healthz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert "server" not in answer.headers


def drip(connection: socket.socket, byte: bytes) -> None:
    """Send a byte from time to time until the server closes the connection."""
    connection.settimeout(0.01)
    end = time.monotonic() + LIMIT_S
    with suppress(ConnectionResetError, BrokenPipeError):
        while time.monotonic() < end:
            connection.sendall(byte)
            with suppress(TimeoutError):
                if not connection.recv(65536):
                    return
        pytest.fail("the connection is still open")


@pytest.mark.parametrize(
    ("begin", "byte"), [(b"", b""), (b"GET", b"x"), (GET + b"\r\n" + GET, b"x"), (POST + b"\r\n", b"x")]
)
def test_a_client_that_sends_no_complete_head_is_disconnected(quick: httpx.Client, begin: bytes, byte: bytes) -> None:
    """A silent one, and one that sends its first or second head or an unwanted body byte by byte."""
    with closing(connect(quick)) as connection:
        connection.sendall(begin)
        drip(connection, byte)
    with closing(connect(quick)) as connection:
        connection.sendall(GET + b"\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_head_that_proxies_may_read_in_another_way_is_refused(served: httpx.Client) -> None:
    """And the connection is closed: what follows is not read as a request."""
    for fields in (
        b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"Content-Length: +1\r\n\r\nx",
        b"Content-Length: 1, 2\r\n\r\nx",
        b"Transfer-Encoding: x, chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"Host: y\r\n\r\n",
        b"X: a\rb\r\n\r\n",
        b"X" * 70_000,
    ):
        with closing(connect(served)) as connection:
            connection.sendall(GET + fields + GET + b"\r\n")
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 501")), fields
        assert answer.count(b"HTTP/1.1") == 1


def test_no_answer_depends_on_the_host_that_the_client_names(served: httpx.Client) -> None:
    """A path with one slash too many is unknown: a redirect would lead to the named host."""
    answer = served.get("/healthz/", headers={"Host": "evil.example"})
    assert (answer.status_code, "location" in answer.headers) == (404, False)


def test_other_origins_are_not_allowed(served: httpx.Client) -> None:
    """No browser lets a foreign page read an answer, or send a request that it must ask for first."""
    origin = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for answer in (served.get("/healthz", headers=origin), served.options("/v1/jobs", headers=origin)):
        assert not [name for name in answer.headers if name.startswith("access-control-")]
