"""`/metrics`: the gauges of the database for Prometheus, in its text format, for holders of the metrics token.

Without TALLYMAN_METRICS_TOKEN the path answers 404: behind a reverse proxy on the same host, the address of a client
does not tell the operator from the public. Workers serve their own counters and histograms (`app.engine.metrics`).
"""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from psycopg_pool import ConnectionPool

from app.context import Connection
from app.engine.inspect.gauges import Gauge, Name, gauges
from app.settings import settings
from app.web.access import Pool
from app.web.openapi import problems_of
from app.web.problems import ProblemError

router = APIRouter(tags=["metrics"])

_FRESH_S = 1.0
_WAIT_S = 2.0
"""Longest wait for a connection."""

FAMILIES: Mapping[Name, tuple[str, str, Mapping[str, str]]] = {
    "waiting": (
        "tallyman_waiting_events",
        "Events that wait; lower bounds if tallyman_waiting_events_capped is 1.",
        {"queue": "queue", "type": "type", "state": "state"},
    ),
    "capped": (
        "tallyman_waiting_events_capped",
        "Whether more rows wait than are read, so that the counts are lower bounds.",
        {"place": "state"},
    ),
    "rows": (
        "tallyman_waiting_rows_estimate",
        "Rows by PostgreSQL's statistics. A row has one event or a batch of up to 500.",
        {"place": "state"},
    ),
    "oldest": (
        "tallyman_oldest_waiting_seconds",
        "Time since the oldest due row of the queue became due; 0 if none is due.",
        {"queue": "queue"},
    ),
    "in_hand": ("tallyman_deliveries", "Queue rows in delivery.", {"queue": "queue"}),
    "paused": ("tallyman_queue_paused", "Whether the queue is paused.", {"queue": "queue"}),
    "serving": ("tallyman_queue_workers", "Live workers that serve the queue.", {"queue": "queue"}),
    "workers": ("tallyman_workers", "Registered workers: live or stalled.", {"state": "state"}),
    "dead": ("tallyman_dead_letters", "Open dead letters.", {"type": "type"}),
}
"""The metric's name, its help, and the field of the gauge that each label has, by the gauge's name."""

_BEARER = HTTPBearer(auto_error=False, scheme_name="MetricsToken", description="TALLYMAN_METRICS_TOKEN.")


class _Families(Collector):
    def __init__(self, read: Iterable[Gauge]) -> None:
        self._read = list(read)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        for name, (metric, about, labels) in FAMILIES.items():
            family = GaugeMetricFamily(metric, about, labels=list(labels))
            for one in self._read:
                if one.name == name:
                    family.add_metric([getattr(one, field) or "" for field in labels.values()], one.value)
            yield family


def exposition(read: Iterable[Gauge]) -> bytes:
    """Return gauges in Prometheus's text format."""
    registry = CollectorRegistry()
    registry.register(_Families(read))
    return generate_latest(registry)


class Snapshot:
    """The exposition of the last second. Scrapes that arrive together share one statement."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._text = b""
        self._read_at = -_FRESH_S

    def text(self, pool: ConnectionPool[Connection]) -> bytes:
        """Return the text, read from the database if the last one is older than a second."""
        with self._lock:
            if time.monotonic() - self._read_at > _FRESH_S:
                with pool.connection(timeout=_WAIT_S) as connection:
                    self._text = exposition(gauges(connection))
                self._read_at = time.monotonic()
            return self._text


def _operator(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]) -> None:
    """Raise `ProblemError`: 404 if no token is set, 401 if the request has another one."""
    token = settings().metrics_token
    if token is None:
        raise ProblemError(404, "set TALLYMAN_METRICS_TOKEN to serve metrics here")
    given = credentials.credentials if credentials else ""
    if not hmac.compare_digest(given.encode(), token.get_secret_value().encode()):
        raise ProblemError(
            401, "Authorization: send the metrics token", headers={"WWW-Authenticate": 'Bearer realm="metrics"'}
        )


@router.get(
    "/metrics",
    dependencies=[Depends(_operator)],
    response_class=PlainTextResponse,
    responses=problems_of(401, 404, 503),
)
def metrics(request: Request, pool: Pool) -> Response:
    """Return the gauges of the queue, at most a second old. For Prometheus, with the metrics token."""
    snapshot = cast("Snapshot", request.app.state.metrics)
    return Response(snapshot.text(pool), media_type=CONTENT_TYPE_PLAIN_0_0_4)
