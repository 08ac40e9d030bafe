"""Prometheus metrics of data contracts: verdicts, checks, and how far data has drifted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from weir.api.base import parse_time
from weir.api.datacontractstatus import CheckVerdict, DataContractStatus
from weir.runtime.resources import KubeObject

_OBJECT = ("namespace", "contract")
_CHECK_BUCKETS = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)

Place = tuple[str, str]


class ContractMetrics:
    """Series of one DataContract exist exactly as long as the object does."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Registers the metrics."""
        self.verdict = Gauge(
            "weir_contract_verdict", "1 for the verdict on the data.", (*_OBJECT, "verdict"), registry=registry
        )
        self.checks = Counter(
            "weir_contract_checks_total",
            "Checks that ended, by verdict; one without a result is Unknown.",
            (*_OBJECT, "verdict"),
            registry=registry,
        )
        self.seconds = Histogram(
            "weir_contract_check_seconds",
            "Time that a check took, without its wait for a turn.",
            _OBJECT,
            buckets=_CHECK_BUCKETS,
            registry=registry,
        )
        self.drift = Gauge(
            "weir_contract_drift_total_variation",
            "Share of rows (0-1) that would have to change to look like the reference.",
            (*_OBJECT, "drift"),
            registry=registry,
        )
        self.drifted = Gauge(
            "weir_contract_drifted",
            "1 while the drift is beyond its tolerance.",
            (*_OBJECT, "drift"),
            registry=registry,
        )
        self._drifts: dict[Place, set[str]] = {}
        self._judged: set[Place] = set()

    def show(self, place: Place, status: DataContractStatus) -> None:
        """Sets the gauges of a contract from its status; without servers it has no verdict."""
        if status.verdict is None and place in self._judged:
            self.verdict.remove_by_labels({"namespace": place[0], "contract": place[1]})
            self._judged.discard(place)
        elif status.verdict is not None:
            self._judged.add(place)
            for verdict in get_args(CheckVerdict):
                self.verdict.labels(*place, verdict).set(verdict == status.verdict)
        seen = {entry.key: entry for entry in status.drift if entry.total_variation is not None}
        for gone in self._drifts.get(place, set()) - seen.keys():
            self.drift.remove(*place, gone)
            self.drifted.remove(*place, gone)
        for key, entry in seen.items():
            self.drift.labels(*place, key).set(float(entry.total_variation or 0))
            self.drifted.labels(*place, key).set(entry.verdict == "Fail")
        self._drifts[place] = set(seen)

    def ended(
        self, place: Place, old: DataContractStatus, new: DataContractStatus, checks: Sequence[KubeObject]
    ) -> None:
        """Counts the checks that the new status tells the end of and the old one did not."""
        known = {entry.check for entry in old.checks if entry.finished_at is not None}
        results = {check["metadata"]["name"]: check.get("status") or {} for check in checks}
        fresh = {e.check: e for e in new.checks if e.finished_at is not None and e.check not in known}
        for name, entry in fresh.items():
            result = results.get(name, {})
            self.checks.labels(*place, result.get("verdict") or entry.verdict).inc()
            if result.get("startedAt") and result.get("finishedAt"):
                took = parse_time(result["finishedAt"]) - parse_time(result["startedAt"])
                self.seconds.labels(*place).observe(max(0.0, took))

    def forget(self, namespace: str, name: str) -> None:
        """Drops the series of a DataContract that is gone."""
        for metric in (self.verdict, self.checks, self.seconds, self.drift, self.drifted):
            metric.remove_by_labels({"namespace": namespace, "contract": name})
        self._drifts.pop((namespace, name), None)
        self._judged.discard((namespace, name))
