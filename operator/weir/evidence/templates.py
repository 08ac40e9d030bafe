"""What each built-in gate reads: queries, and how samples become counters of bad and all events. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from itertools import pairwise
from math import inf, isfinite

from weir.api.base import seconds
from weir.api.gate import Gate, RequestMetrics
from weir.evidence.counters import Series, Values
from weir.evidence.errors import DataError
from weir.evidence.samples import Sample, counter_value

POD_TEMPLATES = ("http-errors", "http-latency")
"""Templates that count on the pods themselves, through either source."""

MAX_MATCHER = 4000
"""Longest label matcher, in characters; longer ones are left out, and the answer is filtered here instead."""

MAX_EDGES = 64
"""Most bucket edges that a whole distribution is compared at."""

_TARGET = ("job", "instance")
_NOT_RAW = re.compile(r"\b(rate|irate|increase|delta|idelta)\s*\(")
_PLACEHOLDER = re.compile(r"\{\{\s*([a-z]+)\s*\}\}")


@dataclass(frozen=True)
class Reading:
    """Counters of one unit.

    ``found``: the metric exists, even if nothing was counted yet. ``edges``: layouts of the histograms, each the edges
    (seconds) that were used.
    ``flaw``: the counts are right, but a gate cannot use them.
    """

    values: Mapping[Series, Values]
    found: bool = True
    edges: frozenset[tuple[float, ...]] = frozenset()
    flaw: str | None = None


def bad_code(code: str) -> bool:
    """Whether an HTTP status (``503``, or a class such as ``5xx``) is the server's fault."""
    return code.startswith("5")


def requests_reading(samples: Iterable[Sample], names: RequestMetrics, ignore: Sequence[str] = ()) -> Reading:
    """Requests by status code; the first label of a series is the code ('' where the label is missing, a flaw).

    Raises DataError for values that no counter has and for a series that appears twice.
    """
    values: dict[Series, Values] = {}
    found = False
    for sample in samples:
        found = True
        series = (sample.labels.get(names.code_label, ""), *_others(sample.labels, {names.code_label, *ignore}))
        _put(values, series, (counter_value(sample, names.requests),), names.requests)
    return Reading(values, found, flaw=_codeless(values, names))


def _codeless(values: Iterable[Series], names: RequestMetrics) -> str | None:
    """What is wrong where requests are counted without a status code: no bad one could ever be seen."""
    without = [series for series in values if not series[0]]
    if not without:
        return None
    has = sorted({part.split("=", 1)[0] for series in without for part in series[1:]})
    hint = f"; its labels are {', '.join(has)}" if has else ""
    return f"{names.requests} has no label '{names.code_label}' (spec.metrics.names.codeLabel){hint}"


def latency_reading(
    samples: Iterable[Sample], names: RequestMetrics, over: float | None, ignore: Sequence[str] = ()
) -> Reading:
    """Per series all requests, and those within the smallest bucket edge that is at least ``over`` seconds.

    Without ``over``, those within each edge. Raises DataError when the histogram has no such edge, or lacks its +Inf
    bucket.
    """
    histograms: dict[Series, dict[float, float]] = {}
    metric = f"{names.duration}_bucket"
    for sample in samples:
        if "le" not in sample.labels:
            raise DataError(f"{metric} has a series without the label 'le'")
        edges = histograms.setdefault(_others(sample.labels, {"le", *ignore}), {})
        edge = _number(sample.labels["le"], metric)
        if edge in edges:
            raise DataError(f"{metric} has several series for le={sample.labels['le']!r} and the same labels")
        edges[edge] = counter_value(sample, metric)
    values: dict[Series, Values] = {}
    layouts: set[tuple[float, ...]] = set()
    for series, edges in histograms.items():
        chosen = _edges(edges, over, metric)
        layouts.add(chosen)
        within = tuple(edges[edge] for edge in chosen)
        for edge, (lower, upper) in zip(chosen, pairwise((*within, edges[inf])), strict=True):
            if lower > upper:
                raise DataError(f"{metric}: the bucket le={edge:g} holds more than {_next(edge, chosen)}")
        values[series] = (edges[inf], *within)
    return Reading(values, bool(histograms), frozenset(layouts))


def _next(edge: float, chosen: Sequence[float]) -> str:
    return "all requests" if edge == chosen[-1] else "the next one"


def _edges(edges: Mapping[float, float], over: float | None, metric: str) -> tuple[float, ...]:
    """The edges to count at: the first from ``over`` on, or all of them, evenly thinned out to ``MAX_EDGES``."""
    if inf not in edges:
        raise DataError(f'{metric} has no bucket le="+Inf", so that requests cannot be counted')
    finite = sorted(e for e in edges if isfinite(e))
    if over is None:
        if not finite:
            raise DataError(f"{metric} has no bucket edge but +Inf, so latencies cannot be compared")
        return tuple(finite[:: -(-len(finite) // MAX_EDGES)])
    edge = next((e for e in finite if e >= over * (1 - 1e-9)), None)
    if edge is None:
        known = ", ".join(f"{e:g}" for e in finite) or "none"
        raise DataError(f"{metric} has no bucket edge at or above {over:g} s but +Inf; its edges are: {known}")
    return (edge,)


def _number(text: str, metric: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise DataError(f"{metric} has a bucket with le={text!r}, which is no number") from None


def _others(labels: Mapping[str, str], without: set[str]) -> Series:
    return tuple(f"{name}={value}" for name, value in sorted(labels.items()) if name not in without)


def _put(values: dict[Series, Values], series: Series, value: Values, metric: str) -> None:
    if series in values:
        raise DataError(f"{metric} has several series with the same labels: {', '.join(filter(None, series))}")
    values[series] = value


# --- Queries ---------------------------------------------------------------------------------------------------------


def requests_query(names: RequestMetrics, namespaces: Iterable[str], pods: Iterable[str]) -> str:
    """Requests by pod and code, for all releases at once; ``pods`` are regular expressions."""
    return _by_pod(names.requests, names, names.code_label, namespaces, pods)


def buckets_query(names: RequestMetrics, namespaces: Iterable[str], pods: Iterable[str]) -> str:
    """Histogram buckets by pod and edge, for all releases at once."""
    return _by_pod(f"{names.duration}_bucket", names, "le", namespaces, pods)


def samples_query(names: RequestMetrics, namespace: str, pods: Iterable[str], minutes: int) -> str:
    """The samples of the last minutes as they were scraped, of so few pods that they can be listed."""
    metrics = f'__name__=~"{names.requests}|{names.duration}_count"'
    return f"{{{metrics},{_matcher('namespace', [escape(namespace)])},{_matcher(names.pod_label, pods)}}}[{minutes}m]"


def _by_pod(metric: str, names: RequestMetrics, label: str, namespaces: Iterable[str], pods: Iterable[str]) -> str:
    matchers = ",".join(m for m in (_matcher("namespace", namespaces), _matcher(names.pod_label, pods)) if m)
    by = ", ".join(("namespace", names.pod_label, *_TARGET, label))
    return f"sum by ({by}) ({metric}{{{matchers}}})"


def _matcher(label: str, patterns: Iterable[str]) -> str:
    joined = "|".join(sorted(set(patterns)))
    return f'{label}=~"{joined}"' if joined and len(joined) <= MAX_MATCHER else ""


def pod_patterns(pool: str, pods: Iterable[str]) -> set[str]:
    """Few regular expressions that match those pods: the pool's prefix for pods of its Deployment, else the names."""
    prefix = pool + "-"
    return {escape(prefix) + ".+" if name.startswith(prefix) else escape(name) for name in pods}


def escape(text: str) -> str:
    """``text`` inside a regular expression inside a PromQL string; Kubernetes names need no more than their dots."""
    return text.replace(".", "[.]")


def fill(query: str, variables: Mapping[str, str]) -> str:
    """The query with its ``{{placeholders}}`` filled in.

    Raises DataError for one that does not exist.
    """

    def value(match: re.Match[str]) -> str:
        if match[1] not in variables:
            known = ", ".join("{{" + name + "}}" for name in variables)
            raise DataError(f"the query has the unknown placeholder {match[0]}; known are {known}")
        return variables[match[1]]

    return _PLACEHOLDER.sub(value, query)


def check_raw_counter(field: str, query: str) -> None:
    """Raises DataError for a query that takes an increase itself: windows are differences of raw counters."""
    if found := _NOT_RAW.search(query):
        raise DataError(f"`{field}` must be a raw counter, and the increase is taken here: leave out {found[1]}()")


# --- Gateways --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GatewaySeries:
    """Requests that one gateway instance sent to one backend with one status code."""

    gateway: str
    unit: str
    backends: tuple[str, ...]
    """Readings of the backend's name, as ``backend_keys`` writes it; a name with '-svc-' in it has several."""
    code: str
    value: float


def gateway_query(pools: Iterable[tuple[str, str]]) -> str:
    """One query for the counters of Traefik, Envoy Gateway and Istio, for all (namespace, pool) pairs at once.

    Envoy counts by backend only where its clusters are per backend (``<kind>/<namespace>/<name>/<port>/…``).
    """
    pairs = sorted(set(pools))
    services = "|".join(f"{escape(ns)}-{escape(pool)}" for ns, pool in pairs)
    clusters = "|".join(f"{escape(ns)}/{escape(pool)}" for ns, pool in pairs)
    workloads = "|".join(sorted({escape(pool) for _, pool in pairs}))
    traefik = f'traefik_service_requests_total{{service=~".*-svc-(?:{services})-[0-9]+@kubernetesgateway"}}'
    envoy = f'envoy_cluster_upstream_rq_xx{{envoy_cluster_name=~"[^/]+/(?:{clusters})/.*"}}'
    istio = f'istio_requests_total{{reporter="destination",destination_workload=~"{workloads}"}}'
    return " or ".join(
        (
            f"sum by (job, instance, service, code) ({traefik})",
            f"sum by (job, instance, envoy_cluster_name, envoy_response_code_class) ({envoy})",
            f"sum by (job, instance, destination_workload_namespace, destination_workload, response_code) ({istio})",
        )
    )


_TRAEFIK = re.compile(r".*?-svc-(.+)-[0-9]+@kubernetesgateway")
_ENVOY = re.compile(r"[^/]+/([^/]+/[^/]+)/.*")


def gateway_series(sample: Sample) -> GatewaySeries | None:
    """What a row of ``gateway_query`` says, its backend as ``backend_keys`` names it; None for a row of something else.

    Raises DataError for values that no counter has.
    """
    labels = sample.labels
    backends: tuple[str, ...] = ()
    if "service" in labels:
        gateway, code = "traefik", labels.get("code", "")
        if match := _TRAEFIK.fullmatch(labels["service"]):
            parts = match[1].split("-svc-")
            backends = tuple("-svc-".join(parts[i:]) for i in range(len(parts)))
    elif "envoy_cluster_name" in labels:
        gateway, code = "envoy", labels.get("envoy_response_code_class", "")
        if match := _ENVOY.fullmatch(labels["envoy_cluster_name"]):
            backends = (match[1],)
    elif "destination_workload" in labels:
        gateway, code = "istio", labels.get("response_code", "")
        # Istio reports code 0 for requests that got no answer at all, which no client would call served.
        code = "5xx" if code == "0" else code
        backends = (f"{labels.get('destination_workload_namespace', '')}/{labels['destination_workload']}",)
    if not backends:
        return None
    unit = f"{gateway} {labels.get('job', '')} {labels.get('instance', '')}"
    value = counter_value(sample, f"the request counter of {gateway}")
    return GatewaySeries(gateway, unit, backends, code, value)


def backend_keys(namespace: str, pool: str) -> dict[str, str]:
    """Name of a pool's Service in the counters of each gateway."""
    return {
        "traefik": f"{namespace}-{pool}",
        "envoy": f"{namespace}/{pool}",
        "istio": f"{namespace}/{pool}",
    }


# --- One number ------------------------------------------------------------------------------------------------------


def single(samples: Sequence[Sample], what: str) -> float | None:
    """The one value of a query that must yield one; None when it yields nothing.

    Raises DataError for several series (named) and for NaN or infinity.
    """
    if len(samples) > 1:
        shown = ", ".join(_shown(sample) for sample in samples[:3]) + (", …" if len(samples) > 3 else "")
        raise DataError(f"{what} yields {len(samples)} series where one is needed: {shown}; wrap it in sum()")
    if not samples:
        return None
    value = samples[0].value
    if not isfinite(value):
        raise DataError(f"{what} yields {value}, which is no finite number")
    return value


def _shown(sample: Sample) -> str:
    return "{" + ", ".join(f'{k}="{v}"' for k, v in sorted(sample.labels.items())) + "}"


def decimal(value: float) -> Decimal:
    """The number with 12 decimals at most, away from zero, so that a tiny value never passes for none.

    Raises DataError for numbers of more than 18 digits before the point, which no status field holds.
    """
    if abs(value) >= 1e18:
        raise DataError(f"the value {value:g} is too large")
    exact = Decimal(repr(value)).quantize(Decimal("1e-12"), rounding=ROUND_UP).normalize()
    return exact + 0 if exact == 0 else exact


def described(gate: Gate, names: RequestMetrics, source: str) -> str:
    """What a pod template counts, in the words of a query, for the record."""
    if gate.template == "http-errors":
        return f'{names.requests}{{{names.code_label}=~"5.*"}} of {names.requests}, {source}'
    if gate.over is None:
        return f'{names.duration}_bucket at every edge, of le="+Inf", {source}'
    over = seconds(gate.over)
    return f'{names.duration}_bucket above the first edge from {over:g} s, of le="+Inf", {source}'
