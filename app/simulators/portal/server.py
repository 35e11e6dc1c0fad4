"""Serve the portal on the loopback interface: in a thread for tests, in the foreground for the program."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import uvicorn
from fastapi import FastAPI

from app.simulators.portal.application import Desk, create_portal
from app.simulators.portal.behaviour import Behaviour
from app.simulators.portal.record import Record

_START_LIMIT_S = 10
_STOP_LIMIT_S = 5


class _Server(uvicorn.Server):
    """A server that calls `when_ready` once it listens, and releases held calls before it shuts down."""

    loop: asyncio.AbstractEventLoop

    def __init__(self, portal: FastAPI, when_ready: Callable[[], object]) -> None:
        super().__init__(
            uvicorn.Config(
                portal,
                http="h11",
                loop="asyncio",
                lifespan="off",
                access_log=False,
                log_config=None,
                log_level="warning",
                timeout_graceful_shutdown=1,
            )
        )
        self.portal = portal
        self._when_ready = when_ready

    @property
    def desk(self) -> Desk:
        return cast("Desk", self.portal.state.desk)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.loop = asyncio.get_running_loop()
        self._when_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.desk.closing.set()
        await super().shutdown(sockets)


class Portal:
    """A running portal in the same process."""

    def __init__(self, url: str, server: _Server) -> None:
        self.url = url
        self._server = server

    @property
    def record(self) -> Record:
        """Return the portal's record."""
        return self._server.desk.record

    @property
    def behaviour(self) -> Behaviour:
        """The settings. A new value applies from the next call on."""
        return self._server.desk.behaviour

    @behaviour.setter
    def behaviour(self, behaviour: Behaviour) -> None:
        self._server.desk.behaviour = behaviour

    def change(self, **changes: Any) -> None:
        """Change some settings. Raises pydantic's `ValidationError` for an invalid setting."""
        self.behaviour = self.behaviour.changed(**changes)

    def start_over(self, behaviour: Behaviour | None = None) -> None:
        """Clear the record and all sessions, for tests that share a portal."""
        former = self._server.desk
        self._server.portal.state.desk = Desk(behaviour or Behaviour(), former.clock)
        self._server.loop.call_soon_threadsafe(former.closing.set)


@contextmanager
def serve(behaviour: Behaviour | None = None, *, clock: Callable[[], float] = time.time) -> Iterator[Portal]:
    """Run a portal in a separate thread during the block.

    `clock` returns the portal's time in seconds since 1970. Raises `RuntimeError` if the portal does not start.
    """
    listener = _listen(port=0)
    ready = threading.Event()
    server = _Server(create_portal(behaviour or Behaviour(), clock=clock), ready.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="portal", daemon=True)
    thread.start()
    if not ready.wait(_START_LIMIT_S):
        raise RuntimeError("the simulated portal did not start")
    try:
        yield Portal(_url(listener), server)
    finally:
        server.should_exit = True
        thread.join(_STOP_LIMIT_S)


def run(behaviour: Behaviour, port: int, when_ready: Callable[[str], object]) -> None:
    """Serve until SIGTERM or SIGINT. Calls `when_ready` with the URL. Raises `OSError` if the port is in use."""
    listener = _listen(port)
    url = _url(listener)
    _Server(create_portal(behaviour), lambda: when_ready(url)).run(sockets=[listener])


def _listen(port: int) -> socket.socket:
    # asyncio disables Nagle's algorithm only for sockets with an explicit protocol. Nagle costs 40 ms an answer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(512)
    except OSError:
        listener.close()
        raise
    return listener


def _url(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"
