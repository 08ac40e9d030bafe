"""Shows the distributions that a model server sees, so that Weir can tell drift. One file that may be copied.

Needs nothing but Python 3.11 and ``prometheus_client``. In a model server:

    from weir.contract.client import Fingerprint

    watch = Fingerprint.load("/etc/weir/profile.json")  # the reference profile of the data contract
    ...
    watch.observe({"orders.amount": 12.5, "orders.country": "DE"})  # for each row that is predicted

The metrics page then has, in the bins of the reference, ``weir_feature_value_bucket{property,le}`` of numbers,
``weir_feature_value_top_total{property,value}`` and ``weir_feature_value_other_total{property}`` of other values, and
``weir_feature_value_null_total{property}``. All exist from the start. Nothing of a value is kept but the count of its
bin.

With several processes behind one port (gunicorn, uvicorn workers) each has counters of its own: let every process
have a port of its own to be read at, or run one process for each pod.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from itertools import accumulate
from math import isnan
from pathlib import Path
from threading import Lock
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

METRIC = "weir_feature_value"


class Fingerprint(Collector):
    """Counters of the properties of a profile. All methods may be called from any thread."""

    def __init__(
        self,
        profile: Mapping[str, Any],
        *,
        properties: Iterable[str] | None = None,
        metric: str = METRIC,
        registry: CollectorRegistry | None = REGISTRY,
    ) -> None:
        """Count for the ``properties`` (``OBJECT.PROPERTY``) of a parsed profile; by default for all of them.

        ``metric``: name as in the contract's ``live.metric``. ``registry``: where the counters are shown, None for
        nowhere yet.

        Raises:
            ValueError: that is no profile, or one of the properties is not in it.
        """
        known = dict(_columns(profile))
        wanted = list(known) if properties is None else list(properties)
        if missing := [name for name in wanted if name not in known]:
            raise ValueError(
                f"the profile has no property {missing[0]!r}; it has: {', '.join(sorted(known)) or 'none'}"
            )
        self._metric = metric
        self._lock = Lock()
        self._counting = {name: known[name] for name in wanted}
        self._numbers = {name: column for name, column in self._counting.items() if isinstance(column, _Numbers)}
        self._values = {name: column for name, column in self._counting.items() if isinstance(column, _Values)}
        if registry is not None:
            registry.register(self)

    @classmethod
    def load(cls, source: str | Path | Mapping[str, Any], **options: Any) -> Fingerprint:
        """From the path of a profile, its JSON text or its parsed JSON; ``options`` as in the constructor.

        Raises:
            OSError: the file cannot be read.
            ValueError: that is no profile.
        """
        if isinstance(source, Mapping):
            return cls(source, **options)
        text = (
            source if isinstance(source, str) and source.lstrip().startswith("{") else Path(source).read_text("utf-8")
        )
        return cls(json.loads(text), **options)

    @property
    def properties(self) -> tuple[str, ...]:
        """What is counted."""
        return tuple(self._counting)

    def observe(self, row: Mapping[str, Any]) -> None:
        """Count one row: values by ``OBJECT.PROPERTY``.

        None, NaN and what is no number where one is expected count as null. Properties that the profile does not have
        are ignored, and those that the row does not have are not counted. Never raises for a value.
        """
        counting = self._counting
        with self._lock:
            for name, value in row.items():
                column = counting.get(name)
                if column is not None:
                    column.add(value)

    def collect(self) -> Iterator[Metric]:
        """What ``prometheus_client`` shows."""
        with self._lock:
            numbers = {name: (column.edges, list(column.counts)) for name, column in self._numbers.items()}
            values = {name: (dict(column.counts), column.other) for name, column in self._values.items()}
            nulls = {name: column.nulls for name, column in self._counting.items()}
        metric = self._metric
        text = "Rows by property and value, in the bins of the reference profile."
        histogram = HistogramMetricFamily(metric, text, labels=["property"])
        for name, (edges, counts) in numbers.items():
            bounds = [*(repr(edge) for edge in edges), "+Inf"]
            # No sum: it is of no use here, and would tell more of the values than their bins.
            histogram.add_metric([name], list(zip(bounds, accumulate(counts), strict=True)), None)
        yield histogram
        top = CounterMetricFamily(f"{metric}_top", "Rows by property and listed value.", labels=["property", "value"])
        other = CounterMetricFamily(f"{metric}_other", "Rows with a value that is not listed.", labels=["property"])
        for name, (listed, rest) in values.items():
            for value, count in listed.items():
                top.add_metric([name, value], count)
            other.add_metric([name], rest)
        null = CounterMetricFamily(f"{metric}_null", "Rows without a value.", labels=["property"])
        for name, count in nulls.items():
            null.add_metric([name], count)
        yield from (top, other, null)

    def describe(self) -> Iterator[Metric]:
        """Names only, so that registering collects nothing."""
        yield HistogramMetricFamily(self._metric, "", labels=["property"])
        for name in ("top", "other", "null"):
            yield CounterMetricFamily(f"{self._metric}_{name}", "", labels=["property"])


class _Numbers:
    """Rows by bin of one property that holds numbers."""

    __slots__ = ("counts", "edges", "nulls")

    def __init__(self, edges: Iterable[Any]) -> None:
        self.edges = [float(edge) for edge in edges]
        self.counts = [0] * (len(self.edges) + 1)
        self.nulls = 0

    def add(self, value: Any) -> None:
        try:
            number = value if value.__class__ is float else _number(value)
        except (TypeError, ValueError, OverflowError):
            self.nulls += 1
            return
        if isnan(number):
            self.nulls += 1
        else:
            self.counts[bisect_left(self.edges, number)] += 1


class _Values:
    """Rows by listed value of one property that holds no numbers."""

    __slots__ = ("counts", "nulls", "other")

    def __init__(self, listed: Iterable[Any]) -> None:
        self.counts = {str(value): 0 for value, _ in listed}
        self.other = 0
        self.nulls = 0

    def add(self, value: Any) -> None:
        if value is None or (isinstance(value, float) and isnan(value)):
            self.nulls += 1
            return
        # As the check writes them: true and false.
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if text in self.counts:
            self.counts[text] += 1
        else:
            self.other += 1


def _number(value: Any) -> float:
    """As the profile counts it: dates and times are seconds since 1970, in UTC where they name no zone."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()
    return float(value)


def _columns(profile: Mapping[str, Any]) -> Iterator[tuple[str, _Numbers | _Values]]:
    try:
        for table, described in profile["tables"].items():
            for name, column in described["columns"].items():
                numeric = "counts" in column
                yield f"{table}.{name}", _Numbers(column["edges"]) if numeric else _Values(column.get("top", ()))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a profile: {error!r} is missing or of another kind") from None
