"""The metrics port: each worker serves its own metrics, if it is told where."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.context import Connection
from app.engine import metrics
from app.engine.worker import metrics_port
from app.errors import SetupError
from app.settings import using
from tests.conftest import Database
from tests.helpers.metrics import lint, parsed
from tests.helpers.waits import LIMIT_S, until
from tests.helpers.workers import WorkerPool, worker_pool


@pytest.fixture
def workers(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WorkerPool]:
    """Worker processes that log where they serve metrics."""
    monkeypatch.setenv("TALLYMAN_LOG_LEVEL", "INFO")
    with worker_pool(tmp_path) as started:
        yield started


def test_the_metrics_of_the_process_are_served() -> None:
    """On `/metrics` only, in the text format, which promtool accepts."""
    metrics.expect(["toy/word.said"], ["toy/call.wanted"])
    with using(metrics_port=0), metrics_port.serving() as port:
        answer = httpx.get(f"http://127.0.0.1:{port}/metrics")
        assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 404
    assert answer.headers["content-type"].startswith("text/plain")
    found = parsed(answer.text)
    assert ("tallyman_events_applied_total", ("toy/word.said",)) in found
    assert found["process_resident_memory_bytes", ()] > 0
    assert not [name for name, _ in found if name.endswith("_created")]
    assert lint(answer.text) == ""


def test_no_port_is_opened_unless_it_is_set() -> None:
    """The default."""
    with metrics_port.serving() as port:
        assert port is None


def test_a_port_that_is_taken_is_an_error() -> None:
    """It names the port and the setting, for the second worker of a host that was given the same one."""
    with using(metrics_port=0), metrics_port.serving() as port:
        taken = rf"cannot listen on 127\.0\.0\.1:{port}: .* another TALLYMAN_METRICS_PORT"
        with using(metrics_port=port), pytest.raises(SetupError, match=taken), metrics_port.serving():
            pass
    with using(metrics_port=port), metrics_port.serving() as again:
        assert again == port, "a port is free again when its worker has stopped"


def test_a_worker_process_serves_its_metrics(workers: WorkerPool, connection: Connection) -> None:
    """On a port of its own. A worker with a port that is taken exits with status 1 and says why."""
    with using(metrics_port=0), metrics_port.serving() as port:
        first, second = workers.work("--metrics-port", "0"), workers.work("--metrics-port", str(port))
        assert second.process.wait(LIMIT_S) == 1
    assert "another TALLYMAN_METRICS_PORT" in second.log.read_text()
    until(connection, lambda: "tallyman_events_applied_total{" in _scraped(first.log.read_text()))
    assert first.stop() == 0


def _scraped(log: str) -> str:
    _, found, rest = log.partition("http://127.0.0.1:")
    return httpx.get(f"http://127.0.0.1:{rest.partition('/')[0]}/metrics").text if found else ""
