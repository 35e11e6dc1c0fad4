"""Mutants of metrics and traces: what is counted, who may read it, and which trace an event belongs to."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_METRICS, _TEST_METRICS = "app/engine/metrics.py", "tests/engine/test_metrics.py"
_GAUGES, _TEST_GAUGES = "app/engine/inspect/gauges.py", "tests/engine/inspect/test_gauges.py"
_WEB, _TEST_WEB = "app/web/metrics.py", "tests/web/test_metrics.py"
_TRACING, _TEST_TRACING = "app/tracing.py", "tests/test_tracing.py"

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
    Mutant(
        _TRACING,
        "not in {None, _trace_of(here)}",
        "not in {None}",
        _TEST_TRACING,
        "an event that is published in its own trace has the publishing span as its parent",
    ),
    Mutant(
        _TRACING,
        '& _SAMPLED:02x}"\n\n\ndef current',
        '| _SAMPLED:02x}"\n\n\ndef current',
        _TEST_TRACING,
        "the sampled flag is kept",
    ),
    Mutant(
        _TRACING,
        "common if causes else _inherited.get()",
        "common",
        _TEST_TRACING,
        "an outgoing request has the trace of the event in progress",
    ),
    Mutant(
        _TRACING,
        "fail(started, type(error).__name__)",
        "fail(started, str(error))",
        _TEST_TRACING,
        "spans have no text of exceptions",
    ),
)
