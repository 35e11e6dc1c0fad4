"""Mutants of metrics: counts of deliveries, the gauges of the database, and who may read them."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_METRICS, _TEST_METRICS = "app/engine/metrics.py", "tests/engine/test_metrics.py"
_GAUGES, _TEST_GAUGES = "app/engine/inspect/gauges.py", "tests/engine/inspect/test_gauges.py"
_WEB, _TEST_WEB = "app/web/metrics.py", "tests/web/test_metrics.py"

MUTANTS = (
    Mutant(
        _METRICS,
        "        counted.append((add, amount))\n",
        "        add(amount)\n",
        _TEST_METRICS,
        "what is rolled back is not counted",
    ),
    Mutant(
        _METRICS,
        "return kind if kind in KINDS else _OTHER",
        "return kind",
        _TEST_METRICS,
        "names that producers choose are no labels",
    ),
    Mutant(
        _GAUGES,
        " if one.type in KINDS else _OTHER",
        "",
        _TEST_GAUGES,
        "unknown types are one gauge",
    ),
    Mutant(
        "app/engine/inspect/gauges.sql",
        "LEFT JOIN first f ON f.queue = q.name",
        "LEFT JOIN first f ON false",
        _TEST_GAUGES,
        "the oldest row of a queue that is not read as a whole is found",
    ),
    Mutant(
        _WEB,
        "if time.monotonic() - self._read_at > _FRESH_S:",
        "if True:",
        _TEST_WEB,
        "scrapes of one second share a reading",
    ),
    Mutant(
        _WEB,
        "    if token is None:\n",
        "    if token is None:\n        return\n    if token is None:\n",
        _TEST_WEB,
        "there is no page without a token",
    ),
)
