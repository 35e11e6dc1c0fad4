"""Traces in tests: spans of the OpenTelemetry SDK, kept in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GIVEN = f"00-{TRACE}-{SPAN}-01"
OTHER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@contextmanager
def exported() -> Iterator[InMemorySpanExporter]:
    """Make spans during the block. Yields the finished ones."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    before = trace._TRACER_PROVIDER  # noqa: SLF001 - a process can set a provider once only
    trace._TRACER_PROVIDER = provider  # noqa: SLF001 - the same
    try:
        yield exporter
    finally:
        trace._TRACER_PROVIDER = before  # noqa: SLF001 - the same
        provider.shutdown()


def ids(span: ReadableSpan) -> tuple[str, str, str | None]:
    """Return the ids of a span: its trace, itself, and its parent."""
    context = span.get_span_context()
    assert context is not None
    parent = f"{span.parent.span_id:016x}" if span.parent else None
    return f"{context.trace_id:032x}", f"{context.span_id:016x}", parent


def linked(span: ReadableSpan) -> set[str]:
    """Return the ids of the spans that a span is linked to."""
    return {f"{link.context.span_id:016x}" for link in span.links}
