"""The processes of the demo: a simulated portal, a simulated marketplace and workers. All end with their context."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

import httpx

from app import children
from app.errors import TallymanError

_LOOK_S = 0.05


class PortalProcess:
    """A simulated portal in a separate process."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.Client(base_url=url, trust_env=False, timeout=10)

    def record(self) -> dict[str, Any]:
        """Return the portal's record of accepted orders."""
        found: dict[str, Any] = self._client.get("/record").raise_for_status().json()
        return found

    def change(self, **behaviour: Any) -> None:
        """Change the portal's behaviour."""
        self._client.put("/behaviour", json=behaviour).raise_for_status()

    def close(self) -> None:
        """Close the client. The portal keeps running."""
        self._client.close()


class MarketplaceProcess:
    """A simulated marketplace in a separate process."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.Client(base_url=url, trust_env=False, timeout=10)

    def ledger(self) -> dict[str, int]:
        """Return the charged cents by reference."""
        found: dict[str, int] = self._client.get("/ledger/references").raise_for_status().json()
        return found

    def change(self, **behaviour: Any) -> None:
        """Change the marketplace's behaviour."""
        self._client.put("/behaviour", json=behaviour).raise_for_status()

    def close(self) -> None:
        """Close the client. The marketplace keeps running."""
        self._client.close()


@contextmanager
def portal(behaviour: Mapping[str, Any]) -> Iterator[PortalProcess]:
    """Run a portal with this behaviour on a free loopback port. Raises `TallymanError` if it does not start."""
    with _simulator("portal", behaviour) as url, closing(PortalProcess(url)) as door:
        yield door


@contextmanager
def marketplace(behaviour: Mapping[str, Any]) -> Iterator[MarketplaceProcess]:
    """Run a marketplace with this behaviour on a free loopback port. Raises `TallymanError` if it does not start."""
    with _simulator("marketplace", behaviour) as url, closing(MarketplaceProcess(url)) as door:
        yield door


@contextmanager
def _simulator(name: str, behaviour: Mapping[str, Any]) -> Iterator[str]:
    command = [sys.executable, "-m", f"app.simulators.{name}", "--behaviour", json.dumps(behaviour)]
    process = children.start(command, stdout=subprocess.PIPE)
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            raise TallymanError(f"the simulated {name} did not start: exit code {process.wait(children.STOP_LIMIT_S)}")
        yield json.loads(line)["url"]
    finally:
        children.stop(process)


@contextmanager
def web(environment: Mapping[str, str]) -> Iterator[str]:
    """Run the web application on a free loopback port. Yields its URL. Raises `TallymanError` if it does not start."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "cli.py", "serve", "--port", str(port)]
    process = children.start(command, environment={**os.environ, **environment}, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        _await_answer(process, f"{url}/healthz")
        yield url
    finally:
        children.stop(process)


def _await_answer(process: subprocess.Popen[str], url: str) -> None:
    end = time.monotonic() + children.STOP_LIMIT_S
    while True:
        try:
            httpx.get(url, trust_env=False).raise_for_status()
        except httpx.TransportError:
            if process.poll() is not None or time.monotonic() > end:
                raise TallymanError("the web application did not start; `serve` shows why") from None
            time.sleep(_LOOK_S)
        else:
            return


class Workers:
    """Supervised workers (`cli.py work`), each a process."""

    def __init__(self, log: IO[bytes], environment: Mapping[str, str]) -> None:
        self._log = log
        self._environment = {**os.environ, **environment}
        self._running: list[subprocess.Popen[str]] = []

    def start(self) -> int:
        """Start another worker. Returns its pid."""
        command = [sys.executable, "cli.py", "work"]
        process = children.start(command, environment=self._environment, stdout=self._log, stderr=self._log)
        self._running.append(process)
        return process.pid

    def kill_one(self) -> int:
        """Send SIGKILL to the oldest worker. Returns its pid."""
        process = self._running.pop(0)
        children.kill(process)
        return process.pid

    def stop(self) -> None:
        """Send SIGTERM to all workers and wait until they have ended."""
        for process in self._running:
            process.terminate()
        for process in self._running:
            children.stop(process)
        self._running.clear()


@contextmanager
def workers(log: Path, environment: Mapping[str, str]) -> Iterator[Workers]:
    """Yield workers that write their log to `log`. Stops them at the end."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        worker_pool = Workers(file, environment)
        try:
            yield worker_pool
        finally:
            worker_pool.stop()
