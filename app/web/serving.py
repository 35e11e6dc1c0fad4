"""Serve the web application with uvicorn, with limits for slow, silent and vanished clients.

uvicorn alone waits for ever for the head of a request, for a client that does not take its answer, and at a stop for
open streams.
"""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from app.web import streams

STOP_S = 1
"""Seconds that open requests have at a stop."""
HEAD_S = 10.0
"""Seconds in which the head of a request must arrive. `app.web.limits` limits the time of its body."""
UNREAD_MS = 30_000
"""A client that takes nothing of what is sent to it for so long is disconnected: it has vanished, or does not read."""


class Server(uvicorn.Server):
    """uvicorn with the limits of this module. A stop ends streams first."""

    def __init__(self, app: FastAPI, *, head_s: float = HEAD_S, unread_ms: int = UNREAD_MS, **options: Any) -> None:
        """Take the application, and uvicorn's own options: for example `host`, `port` and `uds`."""
        super().__init__(
            uvicorn.Config(
                app,
                http=partial(_Protocol, head_s=head_s),  # type: ignore[arg-type]  # it is only called
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=STOP_S,
                **options,
            )
        )
        self._app = app
        self._unread_ms = unread_ms

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen."""
        await super().startup(sockets)
        for listener in (one for server in self.servers for one in server.sockets):
            # Accepted connections inherit it. A unix socket needs none: the kernel sees the other process end.
            if listener.family != socket.AF_UNIX and hasattr(socket, "TCP_USER_TIMEOUT"):
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self._unread_ms)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let streams end, then open requests."""
        streams.stop(self._app)
        await super().shutdown(sockets)


class _Protocol(H11Protocol):
    """uvicorn's connection, with a time limit from its first byte that is not answered to the end of the head.

    The bytes of a body that arrive after the answer count, too: they would keep the connection open.
    """

    def __init__(self, *arguments: Any, head_s: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_s = head_s
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._limit_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._limit_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_timer()

    def _limit_head(self) -> None:
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        if cycle is not None and not cycle.response_complete:
            self._stop_timer()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self._head_s, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
