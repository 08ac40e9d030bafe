"""Logs as JSON, traces by OpenTelemetry, and the identifiers that tie what one reconcile says together."""

import contextlib
import contextvars
import logging
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TextIO

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource as TraceResource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Link, Span, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from pythonjsonlogger.json import JsonFormatter

_CONTEXT_KEYS = ("controller", "namespace", "name", "release", "stage", "traceID", "reconcileID")
_ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_LIBRARY_LOGGERS = ("kopf", "kubernetes", "aiohttp", "urllib3", "asyncio")

_NOTHING: Mapping[str, str] = MappingProxyType({})
_current: contextvars.ContextVar[Mapping[str, str]] = contextvars.ContextVar("reconcile")
_propagator = TraceContextTextMapPropagator()


class _ContextFilter(logging.Filter):
    """Puts the identifiers of the running reconcile on each record."""

    def filter(self, record: logging.LogRecord) -> bool:
        for key, value in _current.get(_NOTHING).items():
            # `name` is the logger's on a LogRecord; the formatter renames ours back.
            setattr(record, "object_name" if key == "name" else key, value)
        return True


def setup_logging(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Log JSON lines to `stream` (standard error by default), library loggers only from WARNING on.

    Raises:
        ValueError: `level` is not a level of the logging module.
    """
    formatter = JsonFormatter(
        "%(asctime)s %(levelname)s %(name)s %(message)s",
        rename_fields={"asctime": "time", "levelname": "level", "name": "logger", "object_name": "name"},
        rename_fields_keep_missing=False,
        datefmt="%Y-%m-%dT%H:%M:%S%z",
    )
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(formatter)
    handler.addFilter(_ContextFilter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _LIBRARY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Tracing:
    """The tracer of this process, and how to flush it at the end."""

    tracer: Tracer
    exporting: bool
    shutdown: Callable[[], None]


def setup_tracing(
    service: str,
    version: str,
    *,
    instance: str = "",
    environ: Mapping[str, str] | None = None,
    exporter: SpanExporter | None = None,
) -> Tracing:
    """A tracer that exports by OTLP/HTTP when the environment names an endpoint; without one, ids still exist.

    Args:
        service: `service.name`.
        version: `service.version`.
        instance: `service.instance.id`, the pod's name say.
        environ: the environment (the process's by default).
        exporter: used instead of OTLP.
    """
    environ = os.environ if environ is None else environ
    attributes = {"service.name": service, "service.version": version}
    if instance:
        attributes["service.instance.id"] = instance
    provider = TracerProvider(resource=TraceResource.create(attributes), shutdown_on_exit=False)
    if exporter is None and any(environ.get(name) for name in _ENDPOINT_VARIABLES):
        # Imported late: it pulls in protobuf, which a process without an endpoint need not carry.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter()
    if exporter is not None:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    return Tracing(provider.get_tracer(service, version), exporter is not None, provider.shutdown)


@dataclass(slots=True)
class ReconcileScope:
    """The running reconcile, for what it wants to say about itself."""

    span: Span
    reconcile_id: str
    trace_id: str

    @property
    def traceparent(self) -> str:
        """The W3C trace context of this reconcile, for Events, status and records."""
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, trace.set_span_in_context(self.span))
        return carrier["traceparent"]

    def annotate(self, **values: str) -> None:
        """Name `release` and `stage` (or more) once they are known: on the span and on every later log line."""
        for key, value in values.items():
            self.span.set_attribute(f"weir.{key}", value)
        _current.set({**_current.get(_NOTHING), **values})


@contextlib.contextmanager
def reconcile_span(
    tracer: Tracer, controller: str, namespace: str, name: str, *, link: str | None = None
) -> Iterator[ReconcileScope]:
    """A span around one reconcile, and its identifiers on every log line within.

    Args:
        tracer: where the span is recorded.
        controller: which controller reconciles.
        namespace: of the object, empty for cluster-scoped kinds.
        name: of the object.
        link: traceparent of the release's own trace, to which this span is linked.
    """
    links = [Link(context)] if link and (context := _span_context(link)) else []
    attributes = {"weir.controller": controller, "k8s.namespace.name": namespace, "weir.name": name}
    with tracer.start_as_current_span(f"reconcile {controller}", links=links, attributes=attributes) as span:
        trace_id = trace.format_trace_id(span.get_span_context().trace_id)
        reconcile_id = str(uuid.uuid4())
        span.set_attribute("weir.reconcile_id", reconcile_id)
        values = (controller, namespace, name, None, None, trace_id, reconcile_id)
        known = {key: value for key, value in zip(_CONTEXT_KEYS, values, strict=True) if value is not None}
        token = _current.set(known)
        try:
            yield ReconcileScope(span, reconcile_id, trace_id)
        finally:
            _current.reset(token)


def _span_context(traceparent: str) -> trace.SpanContext | None:
    context: Any = _propagator.extract({"traceparent": traceparent})
    found = trace.get_current_span(context).get_span_context()
    return found if found.is_valid else None
