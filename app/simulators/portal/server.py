"""The portal on a port of the loopback interface: in a thread for tests, in the foreground for the program."""

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
    """Tells when it is listening, and lets go of held callers before it waits for them."""

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
    """A running portal, seen from the same process."""

    def __init__(self, url: str, server: _Server) -> None:
        self.url = url
        self._server = server

    @property
    def record(self) -> Record:
        """What it accepted, read directly."""
        return self._server.desk.record

    @property
    def behaviour(self) -> Behaviour:
        """Its settings; a new value counts from the next call on."""
        return self._server.desk.behaviour

    @behaviour.setter
    def behaviour(self, behaviour: Behaviour) -> None:
        self._server.desk.behaviour = behaviour

    def change(self, **changes: Any) -> None:
        """Change some settings; raises pydantic's ValidationError for what is no setting."""
        self.behaviour = self.behaviour.changed(**changes)

    def start_over(self, behaviour: Behaviour | None = None) -> None:
        """Empty the books and log everybody out, for a test that shares a portal with others."""
        former = self._server.desk
        self._server.portal.state.desk = Desk(behaviour or Behaviour(), former.clock)
        self._server.loop.call_soon_threadsafe(former.closing.set)


@contextmanager
def serve(behaviour: Behaviour | None = None, *, clock: Callable[[], float] = time.time) -> Iterator[Portal]:
    """A portal in a thread of its own, listening when the block begins and gone when it ends.

    `clock` gives the portal's time in seconds since 1970. Raises RuntimeError when it doesn't start.
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
    """Serve until a signal says stop; `when_ready` is told the URL. Raises OSError when the port is taken."""
    listener = _listen(port)
    url = _url(listener)
    _Server(create_portal(behaviour), lambda: when_ready(url)).run(sockets=[listener])


def _listen(port: int) -> socket.socket:
    # The protocol is named because asyncio turns Nagle's algorithm off only where it is: 40 ms an answer otherwise.
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
