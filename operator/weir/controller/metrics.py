"""Prometheus metrics of the domain: what each Rollout is doing, for dashboards and alerts."""

from __future__ import annotations

from math import log

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from weir.api.rolloutstatus import Phase, RolloutStatus, Verdict
from weir.release.budget import measured, usable
from weir.release.observation import BudgetReading, RolloutView

_OBJECT = ("namespace", "rollout")

_ROLLBACK_BUCKETS = (0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)


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
        self.budget_spent = Gauge(
            "weir_error_budget_spent_ratio",
            "Share of the error budget's window that is used (1 is all).",
            _OBJECT,
            registry=registry,
        )
        self.budget_burn = Gauge(
            "weir_error_budget_burn_rate",
            "How fast the error budget is used, over the window before now; at 1 it lasts exactly.",
            (*_OBJECT, "window"),
            registry=registry,
        )
        self.budget_frozen = Gauge(
            "weir_error_budget_frozen",
            "1 while no release starts or advances because of the error budget.",
            _OBJECT,
            registry=registry,
        )
        self.effect = Gauge(
            "weir_gate_effect_ratio",
            "Candidate's share of bad requests relative to stable's, as estimated in the release.",
            (*_OBJECT, "gate"),
            registry=registry,
        )
        self.evidence = Gauge(
            "weir_gate_evidence_ratio",
            "Log of the e-value of a claim (Fail, Pass) relative to that of its bar; proven at 1.",
            (*_OBJECT, "gate", "claim"),
            registry=registry,
        )
        self._action_metrics(registry)
        self._weighed: dict[tuple[str, str], set[tuple[str, ...]]] = {}
        self._arms: dict[tuple[str, str], set[tuple[str, ...]]] = {}
        self._awaited: dict[tuple[str, str], set[tuple[str, ...]]] = {}
        self._windows: dict[tuple[str, str], frozenset[str]] = {}
        """Rollouts with an error budget → windows whose burn rate is shown."""

    def _action_metrics(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "weir_action_requests_total",
            "ActionRequests that ended, by how: Succeeded, Refused or Expired.",
            ("namespace", "action", "phase"),
            registry=registry,
        )
        self.rollback = Histogram(
            "weir_rollback_seconds",
            "Time from the decision to put a release back until the gateway had taken weight 0.",
            (*_OBJECT, "outcome"),
            buckets=_ROLLBACK_BUCKETS,
            registry=registry,
        )
        self.waiting = Gauge(
            "weir_approvals_waiting",
            "Approvals that the running release stands before, and waits for.",
            _OBJECT,
            registry=registry,
        )
        self.approve_by = Gauge(
            "weir_approval_deadline_timestamp_seconds",
            "When a release that waits for the approval is put back, in seconds since the epoch.",
            (*_OBJECT, "approval"),
            registry=registry,
        )

    def request_ended(self, namespace: str, action: str, phase: str) -> None:
        """Counts an ActionRequest that has its result."""
        self.requests.labels(namespace, action, phase).inc()

    def changed(self, view: RolloutView, before: RolloutStatus, after: RolloutStatus) -> None:
        """Counts what one decision did: requests that it answered, and a release that it saw put back."""
        known = {entry.uid for entry in before.handled_requests}
        for entry in after.handled_requests:
            if entry.uid not in known:
                self.request_ended(view.namespace, entry.action, entry.phase)
        last = after.history[0] if after.history else None
        if last is None or last.time_to_stable is None or last in before.history:
            return
        self.rollback.labels(view.namespace, view.name, str(last.outcome)).observe(float(last.time_to_stable))

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

        self._show_evidence(key, status)
        self._show_approvals(key, status)

    def _show_approvals(self, key: tuple[str, str], status: RolloutStatus) -> None:
        """What a release waits for from people; a deadline exists as long as something waits for it."""
        waiting = {(*key, a.name): a.deadline for a in status.approvals if a.state == "Waiting"}
        if status.candidate is None:
            waiting = {}
        self.waiting.labels(*key).set(len(waiting))
        due = {labels: at for labels, at in waiting.items() if at is not None}
        for gone in self._awaited.get(key, set()) - due.keys():
            self.approve_by.remove(*gone)
        for labels, at in due.items():
            self.approve_by.labels(*labels).set(at)
        self._awaited[key] = set(due)

    def _show_evidence(self, key: tuple[str, str], status: RolloutStatus) -> None:
        """What gates that weigh evidence know; a series exists as long as there is something to know."""
        found: set[tuple[str, ...]] = set()
        for gate in status.gates:
            if gate.effect is not None:
                self.effect.labels(*key, gate.name).set(float(gate.effect))
                found.add((*key, gate.name))
            claims = (("Fail", gate.e_fail, gate.e_fail_bar), ("Pass", gate.e_pass, gate.e_pass_bar))
            for claim, value, bar in claims:
                if value is not None and bar is not None:
                    self.evidence.labels(*key, gate.name, claim).set(log(float(value)) / log(float(bar)))
                    found.add((*key, gate.name, claim))
        for gone in self._weighed.get(key, set()) - found:
            (self.evidence if len(gone) > len(key) + 1 else self.effect).remove(*gone)
        self._weighed[key] = found

    def show_budget(self, view: RolloutView, status: RolloutStatus, reading: BudgetReading | None, now: float) -> None:
        """Sets the gauges of the error budget; what cannot be read has no value. ``now`` in seconds since the epoch."""
        key, asked = (view.namespace, view.name), view.spec.error_budget
        if asked is None:
            self._forget_budget(key)
            return
        found = measured(asked, reading) if reading is not None and usable(asked, reading, now) else None
        rates = dict(found.rates) if found is not None else {}
        if self._windows.get(key) != rates.keys():
            self._forget_budget(key)
        self._windows[key] = frozenset(rates)
        if found is not None and found.spent is not None:
            self.budget_spent.labels(*key).set(found.spent)
        for window, rate in rates.items():
            self.budget_burn.labels(*key, window).set(rate)
        self.budget_frozen.labels(*key).set(status.budget is not None and status.budget.frozen)

    def _forget_budget(self, key: tuple[str, str]) -> None:
        if self._windows.pop(key, None) is not None:
            for metric in (self.budget_spent, self.budget_burn, self.budget_frozen):
                metric.remove_by_labels({"namespace": key[0], "rollout": key[1]})

    def forget(self, namespace: str, name: str) -> None:
        """Drops the series of a Rollout that is gone."""
        self._forget_budget((namespace, name))
        shown = (self.phase, self.verdict, self.decisions, self.releases, self.weight, self.overdue)
        for metric in (*shown, self.effect, self.evidence, self.rollback, self.waiting, self.approve_by):
            metric.remove_by_labels({"namespace": namespace, "rollout": name})
        self._awaited.pop((namespace, name), None)
        self._weighed.pop((namespace, name), None)
        self._arms.pop((namespace, name), None)
