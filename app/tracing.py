"""Traces: carry the W3C trace context (`traceparent`) through the program, and make spans for OpenTelemetry.

Without OpenTelemetry's API package, or while no tracer provider is set, no span is made, and the `traceparent` of a
request or event is passed on as it came. The program configures no SDK and no exporter: its operator does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Literal, Protocol
from uuid import UUID

from events import Event

try:
    from opentelemetry import trace as _trace
except ImportError:  # the extra `tracing` is not installed
    trace: Any = None
else:
    trace = _trace

Kind = Literal["server", "consumer", "internal", "client"]
Attributes = Mapping[str, str | int]

_TRACEPARENT = re.compile(
    r"(?P<version>(?!ff)[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<span>(?!0{16})[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})"
    r"(?P<more>-.*)?"
)
"""W3C Trace Context, level 1. Later versions may append fields."""
_SAMPLED = 1
_MOST_LINKS = 32

_inherited: ContextVar[str | None] = ContextVar("traceparent", default=None)


class Span(Protocol):
    """The part of an OpenTelemetry span that this program uses."""

    def set_attribute(self, key: str, value: str | int) -> None:
        """Set an attribute."""

    def set_status(self, status: Any) -> None:
        """Set the status."""

    def update_name(self, name: str) -> None:
        """Rename the span."""


def valid(text: str | None) -> str | None:
    """Return a traceparent as version 00 with the sampled flag; None if it is missing or malformed."""
    found = _TRACEPARENT.fullmatch(text) if text else None
    if found is None or (found["version"] == "00" and found["more"]):
        return None
    return f"00-{found['trace']}-{found['span']}-{int(found['flags'], 16) & _SAMPLED:02x}"


def current() -> str | None:
    """Return the traceparent of the active span, else of the request or event in progress, else None."""
    if trace is not None:
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & _SAMPLED:02x}"
    return _inherited.get()


def traced(event: Event[Any], here: str) -> Event[Any]:
    """Return an event that is published within the span `here`: in its trace, unless the event has another one."""
    if event.traceparent == here or _trace_of(valid(event.traceparent)) not in {None, _trace_of(here)}:
        return event
    return event.model_copy(update={"traceparent": here})


@contextmanager
def span(
    name: str, kind: Kind, *, parents: Iterable[str | None] = (), attributes: Attributes | None = None
) -> Iterator[Span | None]:
    """Run the block in a span. Yields it; None while no tracer provider is set.

    `parents`: the traceparents that caused it; malformed ones are ignored. If all have one trace, the span continues
    that trace, under the active span if it has the same trace. Otherwise it begins a trace with links to them. An
    exception marks the span as failed by its class: messages may hold data.
    """
    causes, common = _causes(parents)
    token = _inherited.set(common if causes else _inherited.get())
    try:
        if (tracer := _tracer()) is None:
            yield None
            return
        with _started(tracer, name, kind, causes, common) as started:
            started.set_attributes(attributes or {})
            try:
                yield started
            except BaseException as error:
                fail(started, type(error).__name__)
                raise
    finally:
        _inherited.reset(token)


def identify(span: Span | None, event_id: UUID) -> None:
    """Note the id of a span's event. None: tracing is off."""
    if span is not None:
        span.set_attribute("messaging.message.id", str(event_id))


def fail(span: Span, error_type: str) -> None:
    """Mark a span as failed."""
    span.set_attribute("error.type", error_type)
    span.set_status(trace.StatusCode.ERROR)


def delivery(what: str, queue: str, events: Sequence[Event[Any]]) -> AbstractContextManager[Span | None]:
    """Return the span of a delivery of events, at least one. `what`: their type, or the queue if they have several."""
    described: dict[str, str | int] = {
        "messaging.system": "tallyman",
        "messaging.operation.type": "process",
        "messaging.destination.name": queue,
        "messaging.batch.message_count": len(events),
    }
    if len(events) == 1:
        described["messaging.message.id"] = str(events[0].id)
    return span(f"process {what}", "consumer", parents=[event.traceparent for event in events], attributes=described)


def is_on() -> bool:
    """Whether spans are made: the API package is installed and a tracer provider is set."""
    return trace is not None and not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _tracer() -> Any:
    return _tracer_of(trace.get_tracer_provider()) if is_on() else None


@lru_cache(maxsize=4)
def _tracer_of(provider: Any) -> Any:
    return provider.get_tracer("tallyman")


def _causes(parents: Iterable[str | None]) -> tuple[list[str], str | None]:
    """Return the distinct valid ones, at most `_MOST_LINKS`, and one of them if all parents have one trace."""
    given = list(dict.fromkeys(filter(None, parents)))
    causes = [cause for cause in map(valid, given[:_MOST_LINKS]) if cause]
    is_one = len({_trace_of(cause) for cause in causes}) == 1
    if is_one and len(given) > _MOST_LINKS:  # compared by their prefixes, because there may be hundreds
        is_one = len({parent[: len("00-") + 32] for parent in given}) == 1
    return causes, causes[0] if is_one else None


def _started(tracer: Any, name: str, kind: Kind, causes: list[str], common: str | None) -> Any:
    parent = _context_of(common) if common else trace.INVALID_SPAN_CONTEXT
    here = trace.get_current_span().get_span_context()
    is_within = not causes or (here.is_valid and here.trace_id == parent.trace_id)
    links = [trace.Link(_context_of(cause)) for cause in causes] if len(causes) > 1 else []
    return tracer.start_as_current_span(
        name,
        context=None if is_within else trace.set_span_in_context(trace.NonRecordingSpan(parent)),
        kind=trace.SpanKind[kind.upper()],
        links=links,
        record_exception=False,
        set_status_on_exception=False,
    )


def _context_of(traceparent: str) -> Any:
    _, trace_id, span_id, flags = traceparent.split("-")
    return trace.SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=trace.TraceFlags(int(flags, 16))
    )


def _trace_of(traceparent: str | None) -> str | None:
    return traceparent.split("-")[1] if traceparent else None
