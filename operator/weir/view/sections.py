"""Sections of a Rollout's spec and status, read into the parts of its view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from weir.api.rollout import RolloutSpec
from weir.view.parts import Budget, Condition, Gate, GateTerms, Ramp, Release, Seen, Tally, Version
from weir.view.people import Pause, Request
from weir.view.read import Node


def strategy(spec: Node) -> str:
    """Canary, Ramp or BlueGreen; empty where none is named."""
    if spec.at("strategy", "canary", "ramp").there:
        return "Ramp"
    if spec.has("strategy", "blueGreen"):
        return "BlueGreen"
    return "Canary" if spec.has("strategy", "canary") else ""


def terms(spec: Node, model: RolloutSpec | None) -> dict[str, GateTerms]:
    """What each gate asks, by its name."""
    if model is None:
        return {
            g.text("name") or g.text("template"): GateTerms(template=g.text("template")) for g in spec.items("gates")
        }
    found = {}
    for gate in model.gates:
        comparison = gate.comparison
        found[gate.name] = GateTerms(
            question="Comparison" if comparison else "Objective" if gate.objective is not None else "Threshold",
            template=gate.template,
            max=float(gate.max) if gate.max is not None else None,
            min=float(gate.min) if gate.min is not None else None,
            objective=float(gate.objective) if gate.objective is not None else None,
            over=gate.over or "",
            interval=Node({"v": gate.interval}).span("v") or (30.0 if gate.max is None and gate.min is None else 10.0),
            min_samples=gate.min_samples,
            failure_limit=gate.failure_limit,
            consecutive_success=gate.consecutive_success,
            max_wait=Node({"v": gate.max_wait}).span("v"),
            on_insufficient=gate.on_insufficient,
            on_no_data=gate.on_no_data,
            on_error=gate.on_error,
            fail_above=float(comparison.fail_above) if comparison else None,
            pass_below=float(comparison.pass_below) if comparison else None,
            accept_below=float(comparison.accept_below) if comparison else None,
        )
    return found


def gates(status: Node, terms: Mapping[str, GateTerms]) -> tuple[Gate, ...]:
    """Gates of the running stage, with what they ask and what their evidence covers."""
    since, lifted = status.time("stage", "evidenceFrom"), status.time("liftedAt")
    if since is not None and lifted is not None:
        since = max(since, lifted)
    if status.at("ceiling").there:
        since = None  # while somebody limits the traffic no gate is late
    evidence = {e.text("gate"): e for e in status.items("evidence")}
    gates = []
    for node in status.items("gates"):
        name = node.text("name")
        seen = evidence.get(name, Node())
        gates.append(
            Gate.of(
                node,
                terms.get(name, GateTerms()),
                span=seen.number("span"),
                traffic=_traffic(status, name, seen),
                since=since,
            )
        )
    return tuple(gates)


def _traffic(status: Node, gate: str, evidence: Node) -> tuple[Seen, ...]:
    """What the release has seen; of latency distributions, whose edges have their own shares, what was remembered."""
    span = evidence.number("span") or 0.0
    stable = Tally.of(evidence.at("stable"))
    total = (evidence.count("candidate", "total") or 0) + stable.total
    if span <= 0 or not total:
        return ()
    if evidence.at("edges").value:
        known = [n for n in status.items("noise") if n.text("gate") == gate and n.has("edge")]
        return tuple(Seen.of(n, total / span, n.number("share") or 0.0) for n in known)
    noise = next(iter(evidence.items("series")), Node()).at("noise")
    # Half a bad request more: none among a few does not mean that there are none.
    return (Seen.of(noise, total / span, (stable.bad + 0.5) / (stable.total + 1)),)


def pause(spec: Node, status: Node) -> Pause | None:
    """A pause by a request or by the spec; None without one."""
    node = status.at("pause")
    if node.there:
        by, reason = node.text("by"), node.text("reason")
        in_spec, authority = spec.flag("paused"), node.text("authority")
        return Pause(node.time("since"), node.time("until"), by, reason, in_spec=in_spec, authority=authority)
    return Pause(status.time("pausedAt"), in_spec=True) if spec.flag("paused") else None


def ramp(spec: Node, status: Node) -> Ramp | None:
    """Where a ramp stands; None without one."""
    node, asked = status.at("ramp"), spec.at("strategy", "canary", "ramp")
    if not node.there:
        return None
    return Ramp(
        weight=node.count("weight") or 0,
        budget=asked.count("riskBudget"),
        max_weight=asked.count("maxWeight"),
        moved_at=node.time("movedAt"),
        spent=node.number("spent"),
        left=node.number("left"),
        rate=node.number("rate"),
        bound=node.number("bound"),
    )


def budget(spec: Node, status: Node) -> Budget | None:
    """The error budget as it was last read; None without one."""
    node = status.at("budget")
    if not node.there:
        return None
    return Budget(
        spent=node.number("spent"),
        release=node.number("release"),
        frozen=node.flag("frozen"),
        message=node.text("message"),
        burn_rates=node.texts("burnRates"),
        window=spec.text("errorBudget", "window"),
        at=node.time("at"),
    )


def conditions(status: Node) -> tuple[Condition, ...]:
    """All conditions."""
    return tuple(
        Condition(c.text("type"), c.text("status"), c.text("reason"), c.text("message"), c.time("lastTransitionTime"))
        for c in status.items("conditions")
    )


def failed(node: Node) -> Release:
    """A failed candidate, as far as it is remembered."""
    return Release(
        release=node.count("release") or 0,
        candidate=Version(node.text("version")),
        outcome="Failed",
        reason=node.text("reason"),
        message=node.text("message"),
    )


def requests(rollout: str, status: Node, objects: Sequence[Mapping[str, Any]]) -> tuple[Request, ...]:
    """ActionRequests for the Rollout, the newest first; the status knows results before the objects do."""
    mine = [node for o in objects if (node := Node(o)).text("spec", "rolloutRef", "name") == rollout]
    told = {node.text("uid"): Request.handled(node) for node in status.items("handledRequests")}
    found: dict[str, Request] = {}
    for place, node in enumerate(mine):
        request = Request.of(node)
        uid = node.text("metadata", "uid") or str(place)
        # The status knows the result before the object does, and what gave an agent the right to it.
        entry = told.get(uid)
        if entry is not None:
            request = entry if request.waiting else replace(request, authority=entry.authority or request.authority)
        found[uid] = request
    found = {**{uid: request for uid, request in told.items() if uid not in found}, **found}
    return tuple(sorted(found.values(), key=lambda r: r.completed_at or r.created_at or 0.0, reverse=True))
