"""Prometheus metrics of the domain: what each Rollout is doing, for dashboards and alerts."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from weir.api.rolloutstatus import Phase, RolloutStatus, Verdict
from weir.release.observation import RolloutView

_OBJECT = ("namespace", "rollout")


class ReleaseMetrics:
    """Series of one object exist exactly as long as the object does."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Registers the metrics."""
        self.phase = Gauge(
            "weir_rollout_phase", "1 for the phase the Rollout is in.", (*_OBJECT, "phase"), registry=registry
        )
        self.weight = Gauge(
            "weir_rollout_weight_ratio",
            "Share of traffic (0-1) of each version.",
            (*_OBJECT, "model", "version", "arm"),
            registry=registry,
        )
        self.verdict = Gauge(
            "weir_gate_verdict", "1 for the verdict the gate gives.", (*_OBJECT, "gate", "verdict"), registry=registry
        )
        self.decisions = Counter("weir_decisions_total", "Decisions taken.", (*_OBJECT, "reason"), registry=registry)
        self.releases = Counter("weir_releases_total", "Releases finished.", (*_OBJECT, "outcome"), registry=registry)
        self.overdue = Gauge(
            "weir_wakeup_overdue_seconds",
            "How late the last planned look at the Rollout was.",
            _OBJECT,
            registry=registry,
        )
        self._arms: dict[tuple[str, str], set[tuple[str, ...]]] = {}

    def show(self, view: RolloutView, model: str, status: RolloutStatus) -> None:
        """Sets the gauges of a Rollout from its status."""
        key = (view.namespace, view.name)
        for phase in Phase:
            self.phase.labels(*key, str(phase)).set(1 if phase is status.phase else 0)
        for gate in status.gates:
            for verdict in Verdict:
                self.verdict.labels(*key, gate.name, str(verdict)).set(1 if verdict is gate.verdict else 0)
        arms: dict[tuple[str, ...], float] = {}
        if status.stable is not None:
            arms[(*key, model, status.stable.label, "stable")] = 1 - status.weight / 100
        if status.candidate is not None:
            arms[(*key, model, status.candidate.label, "candidate")] = status.weight / 100
        for gone in self._arms.get(key, set()) - set(arms):
            self.weight.remove(*gone)
        for labels, share in arms.items():
            self.weight.labels(*labels).set(share)
        self._arms[key] = set(arms)

    def forget(self, namespace: str, name: str) -> None:
        """Drops the series of a Rollout that is gone."""
        for metric in (self.phase, self.verdict, self.decisions, self.releases, self.weight, self.overdue):
            metric.remove_by_labels({"namespace": namespace, "rollout": name})
        self._arms.pop((namespace, name), None)
