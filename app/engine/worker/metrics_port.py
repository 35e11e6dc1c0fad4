"""Serve the metrics of a worker's process over HTTP, on a port of its own.

The port has no access control, so it listens on the loopback interface unless TALLYMAN_METRICS_HOST says otherwise.
"""

from __future__ import annotations

import socket
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from urllib.parse import urlsplit

import structlog
from prometheus_client import MetricsHandler, disable_created_metrics

from app.engine.metrics import REGISTRY
from app.errors import SetupError
from app.settings import settings

log = structlog.get_logger(__name__)

_PATH = "/metrics"


class _Handler(MetricsHandler):
    registry = REGISTRY
    timeout = 5  # seconds for which a connection may be silent
    server_version = "tallyman"
    sys_version = ""

    def do_GET(self) -> None:  # noqa: N802 - the name that http.server calls
        if urlsplit(self.path).path == _PATH:
            super().do_GET()
        else:
            self.send_error(404, explain=f"the metrics are at {_PATH}")


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True  # a restarted worker gets its port again at once
    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)


@contextmanager
def serving() -> Iterator[int | None]:
    """Serve the metrics during the block, if TALLYMAN_METRICS_PORT is set. Yields the port; None without one.

    Port 0 stands for a free port, which is logged. Raises `SetupError` if the port is taken.
    """
    host, port = settings().metrics_host, settings().metrics_port
    if port is None:
        yield None
        return
    try:
        server = _Server(host, port)
    except OSError as error:
        raise SetupError(
            f"metrics port: cannot listen on {host}:{port}: {error.strerror}."
            " Give each worker of a host another TALLYMAN_METRICS_PORT (or --metrics-port)"
        ) from error
    # A second series for each counter would have its time of creation.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    with server:
        Thread(target=server.serve_forever, name="metrics", daemon=True).start()
        bound = int(server.server_address[1])
        log.info("serving metrics", url=f"http://{host}:{bound}{_PATH}")
        try:
            yield bound
        finally:
            server.shutdown()
