"""Serve a simulator on the loopback interface: in a thread for tests, in the foreground for its program."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar, cast

import typer
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from uvicorn.protocols.http.h11_impl import H11Protocol

from app.simulators.settings import Settings

SettingsT = TypeVar("SettingsT", bound=Settings)

_START_LIMIT_S = 10
_STOP_LIMIT_S = 5
_DROP_S = 0.05
_WAVE = b" " * 65_536


class Desk(Generic[SettingsT]):
    """State of a simulator. `clock` returns seconds since 1970. `closing`, once set, releases every held call."""

    def __init__(self, behaviour: SettingsT, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.closing = asyncio.Event()
        self._behaviour = behaviour

    @property
    def behaviour(self) -> SettingsT:
        """The settings. A new value applies from the next call on."""
        return self._behaviour

    @behaviour.setter
    def behaviour(self, behaviour: SettingsT) -> None:
        self._behaviour = behaviour
        self.adapt()

    def adapt(self) -> None:
        """Adapt the state to new settings. By default there is nothing to adapt."""

    async def work(self, seconds: float) -> None:
        """Wait for the latency of a call. Raises 503 if the simulator closes meanwhile."""
        if seconds:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.closing.wait()
                raise HTTPException(503, "the simulator is closing")

    async def hold(self, request: Request) -> None:
        """Hold a call until the caller disconnects or the simulator closes."""
        waits = {asyncio.ensure_future(_departure(request)), asyncio.ensure_future(self.closing.wait())}
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def drops(self) -> AsyncIterator[str]:
        """Return an endless slow body."""
        while not self.closing.is_set():
            yield " "
            with suppress(TimeoutError):
                async with asyncio.timeout(_DROP_S):
                    await self.closing.wait()

    async def flood(self, sent: Callable[[int], None]) -> AsyncIterator[bytes]:
        """Return an endless body, as fast as the caller reads. Calls `sent` with the bytes of each part."""
        while not self.closing.is_set():
            yield _WAVE
            sent(len(_WAVE))
            await asyncio.sleep(0)  # sending to a disconnected caller never waits: let the loop process the disconnect


async def _departure(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def cut(request: Request) -> None:
    """Cut the connection of a call. Nothing that the call returns is sent."""
    request.state.transport().abort()
    await asyncio.sleep(0)  # the loop tells uvicorn, which then drops the answer


class _Connection(H11Protocol):
    """A connection that a request can cut: its transport is in the request's state."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.app_state = {"transport": lambda: self.transport}


class Server(uvicorn.Server):
    """A server that calls `when_ready` once it listens, and releases held calls before it shuts down."""

    loop: asyncio.AbstractEventLoop

    def __init__(self, app: FastAPI, when_ready: Callable[[], object]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=_Connection,
                loop="asyncio",
                lifespan="off",
                access_log=False,
                log_config=None,
                log_level="warning",
                timeout_graceful_shutdown=1,
            )
        )
        self.app = app
        self._when_ready = when_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        self.loop = asyncio.get_running_loop()
        self._when_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Release held calls and stop."""
        cast("Desk[Any]", self.app.state.desk).closing.set()
        await super().shutdown(sockets)

    def replace(self, desk: Desk[Any]) -> None:
        """Go on with another state. Calls held by the former one are released."""
        former = cast("Desk[Any]", self.app.state.desk)
        self.app.state.desk = desk
        self.loop.call_soon_threadsafe(former.closing.set)


@contextmanager
def in_thread(app: FastAPI, name: str) -> Iterator[tuple[str, Server]]:
    """Serve in a separate thread during the block. Yields the URL and the server.

    Raises `RuntimeError` if the simulator does not start.
    """
    listener = _listen(port=0)
    ready = threading.Event()
    server = Server(app, ready.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name=name, daemon=True)
    thread.start()
    if not ready.wait(_START_LIMIT_S):
        raise RuntimeError(f"the simulated {name} did not start")
    try:
        yield _url(listener), server
    finally:
        server.should_exit = True
        thread.join(_STOP_LIMIT_S)


def as_program(app: FastAPI, port: int) -> None:
    """Print `{"url": "http://127.0.0.1:PORT"}`, and serve until SIGTERM or SIGINT.

    Raises `typer.BadParameter` if the port is in use.
    """
    # uvicorn shuts down, then raises the signal again, which ends the process with exit code 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        listener = _listen(port)
    except OSError as error:
        raise typer.BadParameter(f"cannot listen on port {port}: {error.strerror}") from None
    url = json.dumps({"url": _url(listener)})
    Server(app, lambda: print(url, flush=True)).run(sockets=[listener])  # noqa: T201 - what the program prints


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
