"""Prometheus metrics of agents: what they ask for and get, what waits for people, and what Weir does without them."""

from __future__ import annotations

from collections import Counter as Tally

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from weir.api.agentstatus import AgentPolicyStatus

_SPACE = ("namespace",)
_APPROVAL_BUCKETS = (10.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 43200.0, 86400.0)


class AgentMetrics:
    """Series of one AgentPolicy exist exactly as long as the policy does."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Registers the metrics."""
        self.requests = Counter(
            "weir_agent_requests_total",
            "Agents' requests by what became of them: Granted, Denied, or how they ended; reason of those denied.",
            (*_SPACE, "permit", "outcome", "reason"),
            registry=registry,
        )
        self.waiting = Gauge(
            "weir_agent_waiting",
            "Agents' requests that wait, by what for.",
            (*_SPACE, "permit", "reason"),
            registry=registry,
        )
        self.in_flight = Gauge(
            "weir_agent_in_flight", "Agents' requests that are granted and have not ended.", _SPACE, registry=registry
        )
        self.shadow = Counter(
            "weir_agent_shadow_denials_total",
            "What a mode Audit or a trial let pass and would have refused.",
            _SPACE,
            registry=registry,
        )
        self.approval = Histogram(
            "weir_agent_approval_seconds",
            "Time that a request waited for people's consent until it was granted.",
            _SPACE,
            buckets=_APPROVAL_BUCKETS,
            registry=registry,
        )
        self.fallback = Counter(
            "weir_agent_fallback_total",
            "Steps of the fallback ladder that were taken.",
            (*_SPACE, "rollout", "reason"),
            registry=registry,
        )
        self.fallen = Gauge(
            "weir_agent_fallen",
            "Rollouts that are on the fallback ladder, by why.",
            (*_SPACE, "reason"),
            registry=registry,
        )
        self.circuits = Gauge(
            "weir_agent_circuits_open", "Rules that ask for nothing after failures.", _SPACE, registry=registry
        )
        self.condition = Gauge(
            "weir_agent_policy_condition",
            "1 for the status that a condition of the AgentPolicy has.",
            (*_SPACE, "condition", "status"),
            registry=registry,
        )
        self.guardrails = Gauge(
            "weir_guardrails_installed",
            "1 while every admission policy of the chart is there, as the chart has it.",
            registry=registry,
        )
        self._shown: dict[str, set[tuple[Gauge, tuple[str, ...]]]] = {}

    def changed(self, namespace: str, old: AgentPolicyStatus, new: AgentPolicyStatus, now: float) -> None:
        """Counts what one decision did. ``now``: seconds since the epoch."""
        waited = {entry.uid: entry for entry in old.waiting if entry.quorum}
        permits = {entry.uid: entry.permit for entry in old.waiting}
        permits |= {entry.uid: entry.permit for entry in old.granted}
        known = {entry.uid for entry in old.granted} | {entry.uid for entry in old.last}
        for granted in new.granted:
            if granted.uid not in known:
                self.requests.labels(namespace, granted.permit, "Granted", "").inc()
                if granted.uid in waited and granted.approved_by:
                    self.approval.labels(namespace).observe(max(0.0, now - waited[granted.uid].since))
        for denied in new.denied:
            if denied.uid not in {entry.uid for entry in old.denied}:
                self.requests.labels(namespace, permits.get(denied.uid, ""), "Denied", denied.reason).inc()
        for past in new.last:
            if past.uid not in {entry.uid for entry in old.last}:
                self.requests.labels(namespace, past.permit, past.phase, "").inc()
        self.shadow.labels(namespace).inc(max(0, new.shadow_denied - old.shadow_denied))
        steps = {entry.rollout: entry.step for entry in old.fallback}
        for state in new.fallback:
            taken = state.step - steps.get(state.rollout, 0)
            if taken > 0:
                self.fallback.labels(namespace, state.rollout, state.reason).inc(taken)

    def show(self, namespace: str, status: AgentPolicyStatus, now: float) -> None:
        """Sets the gauges of a policy from its ledger. ``now``: seconds since the epoch."""
        found: dict[tuple[Gauge, tuple[str, ...]], int] = {
            (self.in_flight, (namespace,)): len(status.granted),
            (self.circuits, (namespace,)): sum((state.open_until or 0.0) > now for state in status.rule_states),
        }
        for (permit, reason), count in Tally((entry.permit, entry.reason) for entry in status.waiting).items():
            found[self.waiting, (namespace, permit, reason)] = count
        for reason, count in Tally(state.reason for state in status.fallback).items():
            found[self.fallen, (namespace, reason)] = count
        for condition in status.conditions:
            found[self.condition, (namespace, condition.type, condition.status)] = 1
        for gauge, labels in self._shown.get(namespace, set()) - found.keys():
            gauge.remove(*labels)
        for (gauge, labels), value in found.items():
            gauge.labels(*labels).set(value)
        self._shown[namespace] = set(found)

    def forget(self, namespace: str) -> None:
        """Drops the series of a policy that is gone."""
        counted = (self.requests, self.shadow, self.approval, self.fallback)
        shown = (self.waiting, self.in_flight, self.fallen, self.circuits, self.condition)
        for metric in (*counted, *shown):
            metric.remove_by_labels({"namespace": namespace})
        self._shown.pop(namespace, None)
