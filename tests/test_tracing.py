"""Traces: the context of a request or event is passed on, and spans are made only if OpenTelemetry is set up."""

from __future__ import annotations

import sys
from contextlib import suppress

import pytest
from opentelemetry import trace

from app import tracing
from app.errors import Permanent
from tests.helpers.children import finished
from tests.helpers.toy import say
from tests.helpers.traces import GIVEN, OTHER, SPAN, TRACE, exported, ids, linked


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GIVEN, GIVEN),
        (f"00-{TRACE}-{SPAN}-00", f"00-{TRACE}-{SPAN}-00"),
        (f"00-{TRACE}-{SPAN}-03", GIVEN),
        (f"01-{TRACE}-{SPAN}-01-what-comes-later", GIVEN),
        (f"cc-{TRACE}-{SPAN}-01", GIVEN),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE}-{SPAN}", None),
        (f"00-{TRACE[:-1]}-{SPAN}-01", None),
        (f" {GIVEN}", None),
        (f"{GIVEN}\n", None),
        ("", None),
        (None, None),
    ],
)
def test_a_malformed_traceparent_is_none(text: str | None, expected: str | None) -> None:
    """By W3C Trace Context: also ids of zeros, and version ff. A later version is read as far as it is known."""
    assert tracing.valid(text) == expected


def test_without_spans_the_context_is_passed_on() -> None:
    """As it came. Causes of several traces have no common one. A block without causes keeps that of the outer block."""
    assert tracing.current() is None
    with tracing.span("outer", "server", parents=["malformed", GIVEN, None]) as made:
        assert made is None
        assert tracing.current() == GIVEN
        with tracing.span("call", "client"):
            assert tracing.current() == GIVEN
        with tracing.span("another", "consumer", parents=[GIVEN, OTHER]):
            assert tracing.current() is None
    assert tracing.current() is None


def test_a_span_continues_the_trace_of_its_cause() -> None:
    """And what runs in it continues the span. The sampled flag is kept; an exception is named by its class only."""
    with exported() as spans:
        with tracing.span("outer", "server", parents=[GIVEN]), tracing.span("inner", "client", attributes={"n": 1}):
            inner_context = tracing.current()
        with suppress(Permanent), tracing.span("failed", "internal", parents=[GIVEN]):
            raise Permanent("a secret")
        with tracing.span("unsampled", "server", parents=[f"00-{TRACE}-{SPAN}-00"]):
            passed_on = tracing.current()
    inner, outer, failed = spans.get_finished_spans()
    assert ids(outer) == (TRACE, outer_id := ids(outer)[1], SPAN)
    assert ids(inner) == (TRACE, inner_id := ids(inner)[1], outer_id)
    assert inner_context == f"00-{TRACE}-{inner_id}-01"
    assert (inner.kind, dict(inner.attributes or {})) == (trace.SpanKind.CLIENT, {"n": 1})
    assert (failed.status.status_code, dict(failed.attributes or {})) == (
        trace.StatusCode.ERROR,
        {"error.type": "Permanent"},
    )
    assert not failed.events
    assert passed_on is not None
    assert passed_on.startswith(f"00-{TRACE}-")
    assert passed_on.endswith("-00")


def test_a_span_of_several_causes_has_links() -> None:
    """If they have one trace, it continues that trace. Otherwise it begins one, also inside another span."""
    sibling = f"00-{TRACE}-00f067aa0ba90200-01"
    many = [f"00-{n:032x}-{n:016x}-01" for n in range(1, 200)]
    same = [f"00-{TRACE}-{n:016x}-01" for n in range(1, 200)]
    with exported() as spans, tracing.span("around", "server", parents=[OTHER]):
        for causes in ([GIVEN, sibling, GIVEN], [GIVEN, OTHER], many, same, [*same, OTHER], [None, "malformed"]):
            with tracing.span("batch", "consumer", parents=causes):
                pass
    one, two, some, alike, mixed, none, around = spans.get_finished_spans()
    assert (ids(one)[0], ids(one)[2], linked(one)) == (TRACE, SPAN, {SPAN, "00f067aa0ba90200"})
    for began in (two, some, mixed):
        assert ids(began)[2] is None
        assert ids(began)[0] not in {TRACE, ids(around)[0]}
    assert linked(two) == {SPAN, "00f067aa0ba902b7"}
    assert len(some.links) == len(alike.links) == 32
    assert ids(alike)[0] == TRACE
    assert (ids(none)[0], ids(none)[2]) == (ids(around)[0], ids(around)[1])


def test_an_event_is_published_in_the_trace_of_its_publisher() -> None:
    """Unless it has another trace. In the same trace the span that publishes it becomes its parent."""
    here = f"00-{TRACE}-00f067aa0ba90200-01"
    for given, expected in ((None, here), ("malformed", here), (GIVEN, here), (OTHER, OTHER)):
        event = say("x").model_copy(update={"traceparent": given})
        assert tracing.traced(event, here).traceparent == expected


_WITHOUT = """
import sys
sys.modules["opentelemetry"] = None
from app import tracing
assert not tracing.is_on()
with tracing.span("request", "server", parents=["{given}"]) as span:
    assert span is None
    assert tracing.current() == "{given}"
import app.engine.worker.app, app.outgoing, app.program
assert not [name for name in sys.modules if name.startswith("opentelemetry.")]
"""


def test_opentelemetry_is_optional() -> None:
    """Workers and producers import none of its packages if they are missing, and pass the context on."""
    code = _WITHOUT.format(given=GIVEN)
    done = finished(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
