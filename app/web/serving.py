"""Serve the web application with uvicorn."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn
from fastapi import FastAPI

from app.web import streams

STOP_S = 1
"""Seconds that open requests have at a stop. Without a limit, uvicorn waits for open streams for ever."""
UNREAD_MS = 30_000
"""A client that takes nothing of what is sent to it for so long is disconnected: it has vanished, or does not read."""


class Server(uvicorn.Server):
    """uvicorn, with an end for streams: a stop ends them first, and a connection whose client is gone is closed."""

    def __init__(self, app: FastAPI, *, unread_ms: int = UNREAD_MS, **options: Any) -> None:
        """Take the application, and uvicorn's own options: for example `host`, `port` and `uds`."""
        super().__init__(
            uvicorn.Config(
                app,
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
