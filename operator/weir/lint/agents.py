"""What AgentPolicies say that the operator would not accept, or that is seldom meant."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from weir.agent.effective import problems, wider
from weir.agent.permits import length, selected
from weir.api.action import SAFE_ACTIONS
from weir.api.actionrequest import ActionRequestSpec
from weir.api.agentpermit import Permit
from weir.api.agentpolicy import ANSWERS_LABEL, PERMIT_LABEL, AgentPolicySpec
from weir.api.base import seconds
from weir.api.clusteragentpolicy import ClusterAgentPolicySpec
from weir.api.rollout import RolloutSpec
from weir.lint.finding import Path
from weir.lint.objects import LintedObject
from weir.lint.structure import Flaw

_STEP = re.compile(r"[.]?([A-Za-z]+)(?:\[([^\]]*)\])?")
"""One step of a place as the operator writes it: ``permits[tune].budget``."""

_FORWARD = ("Release", "Promote", "Retry", "Resume", "Skip", "ShiftTraffic")
"""Actions that can give a candidate more traffic than it has."""

_MANY_PEOPLE = 3


def check_agents(objects: Sequence[LintedObject]) -> None:
    """Adds what is wrong with AgentPolicies, and with the labels of requests."""
    for linted in objects:
        spec = linted.model
        if isinstance(spec, AgentPolicySpec):
            _check_accepted(linted, spec, _outer(objects))
            _check_limits(linted, spec)
            _check_evidence(linted, spec, objects)
        elif isinstance(spec, ActionRequestSpec):
            _check_labels(linted, spec)


def _outer(objects: Sequence[LintedObject]) -> ClusterAgentPolicySpec | None:
    """The outer bounds in the files; None where there are none, or several: those are for several clusters."""
    found = [spec for one in objects if isinstance(spec := one.model, ClusterAgentPolicySpec)]
    return found[0] if len(found) == 1 else None


# -- what the operator does not accept --


def _check_accepted(linted: LintedObject, spec: AgentPolicySpec, outer: ClusterAgentPolicySpec | None) -> None:
    for problem in problems(spec, outer):
        place, _, message = problem.partition(": ")
        linted.add(Flaw(_path(linted, place), "policy", message or problem))
    # The operator narrows what was there before; what is written now is refused by the API server.
    for told in wider(spec, outer):
        place, _, message = told.partition(": ")
        linted.add(Flaw(_path(linted, place), "policy", f"wider than the ClusterAgentPolicy: {message}"))


def _path(linted: LintedObject, place: str) -> Path:
    """The place in the object; entries of lists are named, as in ``spec.permits[tune].budget``."""
    path: Path = ()
    for field, name in _STEP.findall(place):
        path = (*path, field)
        entries = linted.at(*path)
        if name and isinstance(entries, list):
            named = (i for i, entry in enumerate(entries) if isinstance(entry, dict) and entry.get("name") == name)
            index = next(named, int(name) if name.isdigit() else None)
            path = path if index is None else (*path, index)
    return path


# -- what is seldom meant --


def _check_limits(linted: LintedObject, spec: AgentPolicySpec) -> None:
    forward = [permit.action for permit in spec.permits if permit.action in _FORWARD]
    for index, permit in enumerate(spec.permits):
        _check_permit(linted, spec, permit, ("spec", "permits", index))
    if forward and not any(permit.action in SAFE_ACTIONS for permit in spec.permits):
        message = f"agents may {', '.join(dict.fromkeys(forward))}, and have no way to put anything back"
        linted.warn("no-way-back", ("spec", "permits"), message, "add a permit for Abort or Pause")
    if forward and spec.fallback is None:
        message = "nothing happens when an agent falls silent in the middle of a release"
        linted.warn("no-fallback", ("spec",), message, "add `fallback` with onAgentSilent")
    elif spec.fallback is not None and not spec.fallback.on_agent_silent and spec.fallback.on_unknown_after is None:
        message = "starts only where the policy itself is broken"
        linted.warn("no-fallback", ("spec", "fallback"), message, "set onAgentSilent or onUnknownAfter")


def _check_permit(linted: LintedObject, spec: AgentPolicySpec, permit: Permit, path: Path) -> None:
    quorum = permit.approval.quorum or 0
    if quorum > _MANY_PEOPLE:
        message = f"{quorum} different people must agree within {permit.approval.expires_after}"
        linted.warn("quorum", (*path, "approval", "quorum"), message, "one or two are usual")
    if permit.approval.tier == "ManualOnly":
        message = f"no agent can act under {permit.name}: ManualOnly leaves {permit.action} to people"
        linted.warn("never", (*path, "approval", "tier"), message, "remove the permit, or choose the tier Approve")
    if permit.budget is None:
        # A safe action, too: nothing else keeps an agent from storing requests without end.
        message = f"{permit.name} can be asked for without end: the API server counts only what has a budget"
        generous = " that leaves room in an emergency, such as 30 in 1h" if permit.action in SAFE_ACTIONS else ""
        linted.warn("no-budget", path, message, f"add a `budget`{generous}")
        return
    fits = _fits(spec, permit)
    if fits is not None and fits < permit.budget.limit:
        message = f"allows {permit.budget.limit} in {permit.budget.window}, and the other limits at most {fits}"
        linted.warn("never", (*path, "budget", "limit"), message, f"write {max(1, fits)}, or loosen cooldown or bucket")


def _fits(spec: AgentPolicySpec, permit: Permit) -> int | None:
    """How many requests of a window cooldown and bucket can let pass; None where they set no limit."""
    if permit.action in SAFE_ACTIONS:
        return None
    window = length(permit.budget)
    found: list[int] = []
    targets = permit.rollouts or (spec.selector.names if spec.selector is not None else None)
    if permit.cooldown is not None and targets:
        found.append(len(targets) * (1 + math.floor(window / seconds(permit.cooldown.base))))
    if spec.bucket is not None and permit.cost > 0:
        tokens = spec.bucket.capacity + window / seconds(spec.bucket.refill_every)
        found.append(math.floor(tokens / permit.cost))
    return min(found, default=None)


def _check_evidence(linted: LintedObject, spec: AgentPolicySpec, objects: Sequence[LintedObject]) -> None:
    """Gates that must pass, and that a Rollout in the files does not have: there it would never be granted."""
    rollouts = [(one, rollout) for one in objects if isinstance(rollout := one.model, RolloutSpec)]
    for index, permit in enumerate(spec.permits):
        for place, gate in enumerate(permit.evidence or ()):
            lacking = sorted(
                one.name
                for one, rollout in rollouts
                if _together(one, linted)
                and selected(spec.selector, one.name, one.at("metadata", "labels") or {})
                and (permit.rollouts is None or one.name in permit.rollouts)
                and gate not in {known.name for known in rollout.gates}
            )
            if lacking:
                message = f"Rollout {', '.join(lacking)} has no gate {gate}, so {permit.name} is never granted there"
                path: Path = ("spec", "permits", index, "evidence", place)
                linted.warn("unknown-gate", path, message, "name a gate of its spec.gates, or add one")


def _check_labels(linted: LintedObject, spec: ActionRequestSpec) -> None:
    """Labels by which admission finds requests under a permit, and answers to them."""
    _check_label(linted, PERMIT_LABEL, "permit", spec.permit)
    _check_label(linted, ANSWERS_LABEL, "request.uid", spec.request.uid if spec.request is not None else None)


def _check_label(linted: LintedObject, name: str, field: str, wanted: str | None) -> None:
    label = linted.at("metadata", "labels", name)
    if label == wanted:
        return
    path: Path = ("metadata", "labels")
    if label is not None:
        message = f"label {name} is {label}, and `{field}` is {wanted or 'absent'}: it is refused"
        linted.add(Flaw((*path, name), "request-label", message, "write the same in both"))
    else:
        message = f"a request with `{field}` needs the label {name}: {wanted}"
        hint = "add it; Kubernetes adds it by itself from 1.36 on"
        linted.warn("request-label", path, message, hint)


def _together(left: LintedObject, right: LintedObject) -> bool:
    return not left.namespace or not right.namespace or left.namespace == right.namespace
