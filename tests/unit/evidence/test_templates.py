"""What gates read: counters from samples, queries, single values."""

from __future__ import annotations

from math import inf, nan

import pytest

from weir.api.gate import RequestMetrics
from weir.evidence import templates
from weir.evidence.errors import DataError
from weir.evidence.samples import Sample

NAMES = RequestMetrics()


def test_given_requests_when_read_then_each_series_keeps_its_own_counter_and_the_code_leads() -> None:
    samples = [Sample({"code": "200", "path": "/a"}, 5.0), Sample({"code": "503", "path": "/a"}, 1.0)]
    reading = templates.requests_reading(samples, NAMES)
    assert reading.values == {("200", "path=/a"): (5.0,), ("503", "path=/a"): (1.0,)}
    assert (reading.found, reading.flaw) == (True, None)
    assert not templates.requests_reading([], NAMES).found


@pytest.mark.parametrize("value", [nan, inf, -inf, -1.0])
def test_given_a_value_that_no_counter_has_when_read_then_it_is_an_error(value: float) -> None:
    with pytest.raises(DataError, match=r'http_requests_total\{code="200"\} is .*: a counter is a number from 0 up'):
        templates.requests_reading([Sample({"code": "200"}, value)], NAMES)


def test_given_the_same_series_twice_when_read_then_it_is_an_error() -> None:
    twice = [Sample({"code": "200"}, 1.0), Sample({"code": "200"}, 2.0)]
    with pytest.raises(DataError, match="several series with the same labels"):
        templates.requests_reading(twice, NAMES)


def test_given_requests_without_a_code_when_read_then_the_flaw_names_the_labels_there_are() -> None:
    reading = templates.requests_reading([Sample({"status": "200", "path": "/"}, 1.0)], NAMES)
    assert reading.flaw is not None
    assert "has no label 'code' (spec.metrics.names.codeLabel); its labels are path, status" in reading.flaw


def buckets(**edges: float) -> list[Sample]:
    return [Sample({"le": le.lstrip("_").replace("p", "."), "path": "/"}, n) for le, n in edges.items()]


def test_given_a_histogram_when_read_then_the_first_edge_from_the_bound_up_counts() -> None:
    samples = [*buckets(_0p1=1, _0p25=6, _0p5=8), Sample({"le": "+Inf", "path": "/"}, 9)]
    for over, within in ((0.25, 6), (0.2, 6), (0.3, 8), (0.05, 1)):
        reading = templates.latency_reading(samples, NAMES, over)
        assert reading.values == {("path=/",): (9, within)}
    assert reading.edges == {(0.1,)}


def test_given_a_bound_beyond_all_edges_when_read_then_the_error_names_the_edges() -> None:
    samples = [*buckets(_0p1=1, _0p5=8), Sample({"le": "+Inf", "path": "/"}, 9)]
    with pytest.raises(DataError, match=r"no bucket edge at or above 2 s but \+Inf; its edges are: 0.1, 0.5"):
        templates.latency_reading(samples, NAMES, 2.0)
    with pytest.raises(DataError, match="no bucket le="):
        templates.latency_reading(buckets(_0p1=1), NAMES, 0.1)
    with pytest.raises(DataError, match="holds more than all requests"):
        templates.latency_reading([*buckets(_0p1=10), Sample({"le": "+Inf", "path": "/"}, 9)], NAMES, 0.1)


def test_given_pods_when_a_query_is_built_then_it_is_one_for_all() -> None:
    pods = templates.pod_patterns("m-a", ["m-a-x1", "m-a-x2", "odd.name"])
    query = templates.requests_query(NAMES, ["ns1", "ns2"], pods)
    assert query == (
        "sum by (namespace, pod, job, instance, code) "
        '(http_requests_total{namespace=~"ns1|ns2",pod=~"m-a-.+|odd[.]name"})'
    )
    many = templates.requests_query(NAMES, ["ns"], {f"pool-number-{i}-.+" for i in range(1000)})
    assert many.endswith('{namespace=~"ns"})')


def test_given_placeholders_when_filled_then_unknown_ones_are_an_error() -> None:
    assert (
        templates.fill("x{ns='{{namespace}}'}[{{ window }}]", {"namespace": "n", "window": "10s"}) == "x{ns='n'}[10s]"
    )
    with pytest.raises(DataError, match=r"unknown placeholder \{\{ns\}\}; known are \{\{namespace\}\}"):
        templates.fill("x{{ns}}", {"namespace": "n"})


def test_given_a_custom_query_that_takes_the_increase_when_checked_then_the_error_says_why() -> None:
    templates.check_raw_counter("bad", 'sum(rated_total{job="increase"})')
    with pytest.raises(DataError, match=r"`bad` must be a raw counter.*leave out increase\(\)"):
        templates.check_raw_counter("bad", "sum(increase (x[1m]))")


def test_given_query_answers_when_one_number_is_needed_then_anything_else_is_named() -> None:
    assert templates.single([], "`query`") is None
    assert templates.single([Sample({}, 2.5)], "`query`") == 2.5
    with pytest.raises(DataError, match=r'`query` yields 2 series where one is needed: \{pod="a"\}, \{pod="b"\}'):
        templates.single([Sample({"pod": "a"}, 1.0), Sample({"pod": "b"}, 1.0)], "`query`")
    for value in (nan, inf):
        with pytest.raises(DataError, match="no finite number"):
            templates.single([Sample({}, value)], "`query`")


def test_given_numbers_when_written_as_decimals_then_they_have_no_exponent() -> None:
    written = [format(templates.decimal(v), "f") for v in (0.1, 1e-7, 1e-20, 300.0, -2.5, 0.0)]
    assert written == ["0.1", "0.0000001", "0.000000000001", "300", "-2.5", "0"]
    with pytest.raises(DataError, match="too large"):
        templates.decimal(1e18)


@pytest.mark.parametrize(
    ("labels", "gateway", "backends", "code"),
    [
        (
            {"service": "httproute-prod-web-gw-0-svc-prod-m-a1-0@kubernetesgateway", "code": "502"},
            "traefik",
            ("prod-m-a1",),
            "502",
        ),
        (
            {"service": "r-svc-prod-my-svc-b-1@kubernetesgateway", "code": "200"},
            "traefik",
            ("prod-my-svc-b", "b"),
            "200",
        ),
        (
            {"envoy_cluster_name": "service/prod/m-a1/8080/http", "envoy_response_code_class": "5"},
            "envoy",
            ("prod/m-a1",),
            "5",
        ),
        (
            {"destination_workload": "m-a1", "destination_workload_namespace": "prod", "response_code": "0"},
            "istio",
            ("prod/m-a1",),
            "5xx",
        ),
    ],
)
def test_given_a_gateways_counter_when_read_then_backend_and_code_are_known(
    labels: dict[str, str], gateway: str, backends: tuple[str, ...], code: str
) -> None:
    row = templates.gateway_series(Sample({"job": "gw", "instance": "i", **labels}, 4.0))
    assert row is not None
    assert (row.gateway, row.unit, row.backends, row.code) == (gateway, f"{gateway} gw i", backends, code)
    assert any(name == templates.backend_keys("prod", "m-a1")[gateway] for name in backends) or "my-svc" in backends[0]
    assert templates.gateway_series(Sample({"service": "dashboard@internal"}, 1.0)) is None


def test_given_no_bound_when_read_then_all_edges_count_and_too_many_are_thinned_out_evenly() -> None:
    reading = templates.latency_reading(buckets(_0p1=4, _0p5=9, Inf=10), NAMES, None)
    assert reading.edges == {(0.1, 0.5)}
    assert list(reading.values.values()) == [(10, 4, 9)]
    many = [Sample({"le": str(i / 100)}, i) for i in range(1, 151)] + [Sample({"le": "+Inf"}, 150)]
    thinned = templates.latency_reading(many, NAMES, None)
    (layout,), (values,) = thinned.edges, thinned.values.values()
    assert len(layout) == 50
    assert layout[:2] == (0.01, 0.04)
    assert len(values) == 51


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"Inf": 3}, r"no bucket edge but \+Inf"),
        ({"_0p1": 4, "_0p5": 3, "Inf": 9}, "le=0.1 holds more than the next one"),
        ({"_0p1": 4, "_0p5": 10, "Inf": 9}, "le=0.5 holds more than all requests"),
    ],
)
def test_given_a_histogram_that_cannot_be_when_read_then_the_error_says_why(rows: dict[str, float], said: str) -> None:
    with pytest.raises(DataError, match=said):
        templates.latency_reading(buckets(**rows), NAMES, None)
