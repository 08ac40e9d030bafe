import io
import json
import logging
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from weir.runtime.telemetry import Tracing, reconcile_span, setup_logging, setup_tracing


@pytest.fixture
def log_lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    setup_logging("info", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in ("kopf", "kubernetes", "aiohttp", "urllib3", "asyncio"):
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(spans: InMemorySpanExporter) -> Iterator[Tracing]:
    tracing = setup_tracing("weir", "1", instance="pod-1", environ={}, exporter=spans)
    yield tracing
    tracing.shutdown()


def lines(stream: io.StringIO) -> list[dict[str, str]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_given_a_reconcile_when_something_is_logged_then_the_line_carries_its_identifiers(
    log_lines: io.StringIO, tracing: Tracing
) -> None:
    log = logging.getLogger("weir.some.module")
    with reconcile_span(tracing.tracer, "rollout", "ml", "digits") as scope:
        log.info("before")
        scope.annotate(release="3", stage="shift-1")
        log.info("after %d", 1)
    log.info("outside")
    before, after, outside = lines(log_lines)
    expected = {
        "controller": "rollout",
        "namespace": "ml",
        "name": "digits",
        "traceID": scope.trace_id,
        "reconcileID": scope.reconcile_id,
        "logger": "weir.some.module",
        "level": "INFO",
        "message": "before",
    }
    assert before.items() >= expected.items()
    assert "stage" not in before
    assert (after["release"], after["stage"], after["message"]) == ("3", "shift-1", "after 1")
    assert "traceID" not in outside
    assert "name" not in outside


def test_given_an_error_when_logged_then_it_is_one_json_line_with_the_trace_back(log_lines: io.StringIO) -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("weir").exception("failed")
    [line] = lines(log_lines)
    assert "ValueError: broken" in line["exc_info"]


def test_given_library_loggers_when_they_chat_then_only_warnings_pass(log_lines: io.StringIO) -> None:
    logging.getLogger("kopf.objects").info("chat")
    logging.getLogger("kopf.objects").warning("trouble")
    assert [line["message"] for line in lines(log_lines)] == ["trouble"]


def test_given_no_endpoint_when_traced_then_nothing_is_exported_but_ids_exist() -> None:
    tracing = setup_tracing("weir", "1", environ={})
    assert not tracing.exporting
    with reconcile_span(tracing.tracer, "rollout", "ml", "digits") as scope:
        version, trace_id, span_id, _flags = scope.traceparent.split("-")
    assert (version, trace_id) == ("00", scope.trace_id)
    assert int(trace_id, 16) != 0
    assert len(span_id) == 16


def test_given_an_endpoint_when_traced_then_spans_are_exported() -> None:
    tracing = setup_tracing("weir", "1", environ={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"})
    assert tracing.exporting
    tracing.shutdown()


def test_given_a_release_trace_when_reconciling_then_the_span_is_linked_to_it(
    tracing: Tracing, spans: InMemorySpanExporter
) -> None:
    release = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    with reconcile_span(tracing.tracer, "rollout", "ml", "digits", link=release) as scope:
        scope.annotate(release="3")
    with reconcile_span(tracing.tracer, "rollout", "ml", "digits", link="garbage"):
        pass
    tracing.shutdown()
    linked, plain = spans.get_finished_spans()
    assert f"{linked.links[0].context.trace_id:x}" == "a" * 32
    assert (linked.attributes or {})["weir.release"] == "3"
    assert (linked.attributes or {})["k8s.namespace.name"] == "ml"
    assert linked.resource.attributes["service.instance.id"] == "pod-1"
    assert len(plain.links) == 0
