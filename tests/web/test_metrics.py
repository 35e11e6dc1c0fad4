"""`/metrics`: the gauges in Prometheus's text format, for holders of the token."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from fastapi import FastAPI

from app.context import Connection
from app.engine.domain import wiring
from app.engine.inspect import gauges
from app.engine.metrics import REGISTRY
from app.settings import settings
from app.web import metrics
from tests.helpers.metrics import lint, parsed
from tests.helpers.web import TestClient

TOKEN = "a token of sixteen or more"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(autouse=True)
def _token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLYMAN_METRICS_TOKEN", TOKEN)
    settings.cache_clear()


def test_the_gauges_are_served(client: TestClient, connection: Connection) -> None:
    """In the text format, which promtool accepts. Every queue has its series."""
    answer = client.get("/metrics", headers=HEADERS)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = parsed(answer.text)
    for queue in wiring().queues():
        assert found["tallyman_queue_paused", (queue,)] == 0
    assert found["tallyman_workers", ("live",)] == 0
    assert lint(answer.text) == ""


def test_only_the_token_opens_it(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a token in the settings there is no such page, also for loopback clients."""
    for headers in ({}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": f"Basic {TOKEN}"}):
        answer = client.get("/metrics", headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer realm="metrics"')
    monkeypatch.delenv("TALLYMAN_METRICS_TOKEN")
    settings.cache_clear()
    assert client.get("/metrics", headers=HEADERS).status_code == 404


def test_scrapes_within_a_second_share_one_reading(
    client: TestClient, application: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any number of scrapers cost one statement a second. A failed reading is not kept."""
    read: list[int] = []
    fails = [True]

    def reading(connection: Connection) -> list[gauges.Gauge]:
        read.append(1)
        if fails:
            fails.pop()
            raise TimeoutError
        return gauges.gauges(connection)

    monkeypatch.setattr(metrics, "gauges", reading)
    assert client.get("/metrics", headers=HEADERS).status_code == 500
    first = client.get("/metrics", headers=HEADERS)
    assert client.get("/metrics", headers=HEADERS).text == first.text
    assert len(read) == 2
    application.state.metrics = metrics.Snapshot()
    client.get("/metrics", headers=HEADERS)
    assert len(read) == 3


def test_a_database_that_does_not_answer(client: TestClient, application: FastAPI) -> None:
    """503: for Prometheus the target is down."""
    application.state.pool.close()
    assert client.get("/metrics", headers=HEADERS).status_code == 503


def test_each_gauge_has_a_family() -> None:
    """With a name by Prometheus's rules, a help and labels."""
    assert set(metrics.FAMILIES) == set(get_args(gauges.Name))


def test_every_metric_is_documented() -> None:
    """docs/observability.md has each name of the web application and of workers, and no other."""
    page = (Path(__file__).parent.parent.parent / "docs" / "observability.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(tallyman_\w+)`", page, re.MULTILINE))
    own = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in REGISTRY.collect()
        if family.name.startswith("tallyman_")
    }
    assert named == own | {metric for metric, _, _ in metrics.FAMILIES.values()}
