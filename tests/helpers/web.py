"""The web application under test: in process, and behind a real uvicorn on the loopback interface."""

from __future__ import annotations

import socket
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import httpx
from fastapi import FastAPI
from starlette.exceptions import StarletteDeprecationWarning

from app.settings import settings
from app.web import tokens
from app.web.serving import Server
from tests.helpers.waits import LIMIT_S

with warnings.catch_warnings():
    warnings.simplefilter("ignore", StarletteDeprecationWarning)  # it would prefer httpx2
    from starlette.testclient import TestClient

__all__ = ["TestClient", "bearer", "client", "serving"]

_LOOK_S = 0.01

SECRET = "a secret for the tokens of the tests, which opens nothing"


@contextmanager
def client(app: FastAPI) -> Iterator[TestClient]:
    """Yield an in-process client, with the application's lifespan. An unexpected exception is answered with 500."""
    with TestClient(app, raise_server_exceptions=False) as opened:
        yield opened


@contextmanager
def serving(app: FastAPI, **options: Any) -> Iterator[httpx.Client]:
    """Serve the application with uvicorn in a thread. Yields a client of it. `options`: of `Server`."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(app, **options)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="web", daemon=True)
    thread.start()
    try:
        end = time.monotonic() + LIMIT_S
        while not server.started:
            assert thread.is_alive(), "the server does not start"
            assert time.monotonic() < end, "the server does not start"
            thread.join(_LOOK_S)
        port = listener.getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=LIMIT_S) as opened:
            yield opened
    finally:
        server.should_exit = True
        thread.join(LIMIT_S)
        assert not thread.is_alive(), "the server does not stop"


def bearer(user_id: UUID) -> dict[str, str]:
    """Return the header of a request of a person."""
    return {"Authorization": f"Bearer {tokens.issue(settings(), user_id)}"}
