"""Traces of requests, for a collector of OpenTelemetry. No other module imports its packages, and
this one only where `tracing.endpoint` is set.

A request has a span, each image that is made for it one more, and each stage of that another. On
them are names of ours, codes and times, and nothing of who asks or what for: of what a caller sends
`traceparent` alone is read.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.configuration import TracingSlice

if TYPE_CHECKING:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

_TRACEPARENT = "traceparent"
_EXPORT_S = 3.0
"""After so long spans are given up, at the end as well: a server goes without its collector."""

_MAX_WAITING = 4096  # spans; further ones are given up
_PAUSE_MS = 1000.0

_OUR_FAULT = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""Codes by which a request counts as failed, as OpenTelemetry has it for servers."""


class TracingUnusable(ValueError):
    """Traces are asked for and can't be had; says why."""


@dataclass(frozen=True, slots=True)
class Span:
    """One that has begun; a request's, or one below it."""

    _tracer: trace.Tracer
    _span: trace.Span

    @property
    def trace_id(self) -> str:
        return f"{self._span.get_span_context().trace_id:032x}"

    @property
    def is_sampled(self) -> bool:
        """Whether it will be found at the collector."""
        return self._span.get_span_context().trace_flags.sampled

    def begin(self, name: str, started_ns: int | None = None) -> Span:
        """One below this one, which must be ended."""
        from opentelemetry.trace import set_span_in_context

        above = set_span_in_context(self._span)
        return Span(self._tracer, self._tracer.start_span(name, above, start_time=started_ns))

    def record(self, stages_s: Mapping[str, float]) -> None:
        """Spans below this one of what followed each other, and has just ended."""
        if not self.is_sampled:
            return
        ended_ns = time.time_ns()
        for name, seconds in reversed(list(stages_s.items())):
            started_ns = ended_ns - round(seconds * 1e9)
            self.begin(name, started_ns).end(ended_ns)
            ended_ns = started_ns

    def end(self, ended_ns: int | None = None) -> None:
        self._span.end(ended_ns)

    def finish(self, code: str, source: str) -> None:
        """Ends a request's."""
        from opentelemetry.trace import StatusCode

        self._span.set_attribute("rpc.response.status_code", code)
        self._span.set_attribute("etalage.source", source)
        if code in _OUR_FAULT:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


_provider: TracerProvider | None = None
_current: ContextVar[Span | None] = ContextVar("span", default=None)


def configure(settings: TracingSlice) -> None:
    """Trace requests from now on, where an endpoint is set. Raises TracingUnusable."""
    global _provider
    if not settings.endpoint:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    except ImportError as error:
        raise TracingUnusable("tracing.endpoint needs the extra `otel`") from error
    url = f"{settings.endpoint.rstrip('/')}/v1/traces"
    # Not the global provider: libraries that trace by themselves would fill it with their own.
    _provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(settings.ratio)),
        resource=Resource.create({"service.name": "etalage"}),
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(url, timeout=_EXPORT_S)
    # All that waits goes in one message: at the end there is one to wait for, not four.
    _provider.add_span_processor(
        BatchSpanProcessor(exporter, _MAX_WAITING, _PAUSE_MS, _MAX_WAITING)
    )


def close() -> None:
    """Send what is left, for a few seconds at most."""
    global _provider
    if _provider is not None:
        _provider.shutdown()
        _provider = None


def begin(method: str, metadata: Iterable[tuple[str, str | bytes]]) -> Span | None:
    """The span of a request, in the caller's trace where there is one, for this task and those that
    it starts. It must be finished. None where nothing is traced."""
    if _provider is None:
        return None
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    told = [str(value) for key, value in metadata if key == _TRACEPARENT]
    above = TraceContextTextMapPropagator().extract({_TRACEPARENT: told})
    tracer = _provider.get_tracer("etalage")
    span = tracer.start_span(
        method,
        above,
        SpanKind.SERVER,
        {"rpc.system.name": "grpc", "rpc.method": method},
    )
    begun = Span(tracer, span)
    _current.set(begun)
    return begun


def current() -> Span | None:
    """What a stage belongs to; None where nothing is traced."""
    return _current.get()


@contextmanager
def inside(name: str) -> Iterator[None]:
    """A span around what is done meanwhile."""
    if (above := _current.get()) is None:
        yield
        return
    span = above.begin(name)
    token = _current.set(span)
    try:
        yield
    finally:
        _current.reset(token)
        span.end()
