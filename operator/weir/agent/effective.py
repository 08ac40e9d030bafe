"""The policy as it is in force: a namespace's AgentPolicy, narrowed by the outer bounds of the ClusterAgentPolicy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Literal, NamedTuple, get_args

from weir.agent.observation import AgentObservation
from weir.agent.permits import FALLBACK_PREFIX, length
from weir.agent.templatecheck import problems as template_problems
from weir.api.action import SAFE_ACTIONS, TemplateAction
from weir.api.agentpermit import TIERS, Bounds, Budget, Consent, Permit, Tier
from weir.api.agentpolicy import AgentPolicySpec, BlastRadius, Exploration
from weir.api.base import seconds
from weir.api.clusteragentpolicy import ClusterAgentPolicySpec, OuterLimit

_HOUR = 3600
_WITHOUT_RELEASE = frozenset({"Release", "Retry", *get_args(TemplateAction)})
"""Actions that are for a Rollout of which no gate need have a verdict."""


@dataclass(frozen=True)
class Effective:
    """What is in force.

    ``permits``: those that the outer bounds leave, by name, as strict as both say; ``forbidden``: why the others are
    not. ``narrowed``: what the outer bounds made stricter, by permit. ``outermost``: each permit as the outer bounds
    alone would have it, which holds in every mode. ``trial``: permits on trial, as strict as the outer bounds too.
    ``problems``: what makes the policy not accepted. ``wider``: where it was wider than the outer bounds.
    """

    permits: Mapping[str, Permit]
    forbidden: Mapping[str, str]
    narrowed: Mapping[str, tuple[str, ...]]
    trial: Mapping[str, Permit]
    blast_radius: BlastRadius
    exploration: Exploration | None
    outermost: Mapping[str, Permit] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    wider: tuple[str, ...] = ()
    paused: bool = False
    """Whether the policy or the outer bounds are paused."""


class Rejection(NamedTuple):
    """Why a policy is not accepted: one word for programs, and each thing that is wrong."""

    reason: Literal["InvalidSpec", "Inconsistent", "OuterBoundsUnknown"]
    problems: tuple[str, ...]


@dataclass
class _Narrowing:
    """A permit while outer bounds are laid on it."""

    permit: Permit
    told: list[str] = field(default_factory=list)
    forbidden: str | None = None

    def set(self, told: str, **fields: object) -> None:
        self.permit = self.permit.model_copy(update=fields)
        self.told.append(told)


def effective(policy: AgentPolicySpec, outer: ClusterAgentPolicySpec | None) -> Effective:
    """The policy as strict as itself and the outer bounds (None: there are none)."""
    laid = [_narrow(permit, outer) for permit in policy.permits]
    on_trial = [_narrow(permit, outer) for permit in policy.trial.permits] if policy.trial is not None else []
    return Effective(
        permits={n.permit.name: n.permit for n in laid if n.forbidden is None},
        forbidden={n.permit.name: n.forbidden for n in laid if n.forbidden is not None},
        narrowed={n.permit.name: tuple(n.told) for n in laid if n.told},
        trial={n.permit.name: n.permit for n in on_trial if n.forbidden is None},
        blast_radius=_blast_radius(policy.blast_radius, outer),
        exploration=_exploration(policy.exploration, outer),
        outermost={permit.name: _narrow(_bare(permit, outer), outer).permit for permit in policy.permits},
        problems=problems(policy, outer),
        wider=wider(policy, outer),
        paused=policy.paused or (outer is not None and outer.paused),
    )


def problems(policy: AgentPolicySpec, outer: ClusterAgentPolicySpec | None) -> tuple[str, ...]:
    """What makes the policy not accepted, each with its place: contradictions, and a missing fallback."""
    lacks = outer is not None and outer.require_fallback and policy.fallback is None
    missing = ("spec.fallback: required by the ClusterAgentPolicy",) if lacks else ()
    return (*_contradictions(policy), *template_problems(policy), *missing)


def rejection(obs: AgentObservation, wrong: Sequence[str]) -> Rejection | None:
    """Why the policy is not accepted; None where it is. ``wrong``: problems of a policy that can be read.

    While it is not, rules ask for nothing, requests wait but for those that lead back to safety, and the fallback
    begins after a while.
    """
    if obs.policy is None:
        return Rejection("InvalidSpec", (obs.broken or "the AgentPolicy cannot be read",))
    if wrong:
        return Rejection("Inconsistent", tuple(wrong))
    if obs.outer_broken:
        return Rejection("OuterBoundsUnknown", (f"the ClusterAgentPolicy cannot be read: {obs.outer_broken}",))
    return None


def summary(permit: Permit) -> str:
    """The permit's limits in one sentence, for people."""
    bounds, tier = permit.bounds or Bounds(), permit.approval.tier
    parts: list[str] = [permit.action]
    if permit.budget is not None:
        parts.append(f"at most {permit.budget.limit} in {permit.budget.window}")
    if bounds.max_step is not None:
        parts.append(f"steps of at most {bounds.max_step} point{'' if bounds.max_step == 1 else 's'}")
    if bounds.max_traffic_percent is not None:
        parts.append(f"at most {bounds.max_traffic_percent} % of traffic")
    if permit.cooldown is not None:
        parts.append(f"{permit.cooldown.base} to {permit.cooldown.max} between two on one Rollout")
    if permit.evidence:
        parts.append(f"only while these gates pass: {', '.join(permit.evidence)}")
    if tier == "Approve":
        parts.append(f"with the consent of {permit.approval.quorum or 1}")
    elif tier != "None":
        parts.append("people are told" if tier == "Notify" else "by people alone")
    return "; ".join(parts)[:1024]


def stricter(consent: Consent, tier: Tier, quorum: int | None = None) -> Consent:
    """The consent that is at least of that tier, and of that quorum where people must agree."""
    most = max(consent.tier, tier, key=TIERS.index)
    people = max(consent.quorum or 1, quorum or 1) if most == "Approve" else None
    return consent.model_copy(update={"tier": most, "quorum": people})


def _narrow(permit: Permit, outer: ClusterAgentPolicySpec | None) -> _Narrowing:
    laid = _Narrowing(permit)
    if outer is None:
        return laid
    limit = next((limit for limit in outer.limits if limit.action == permit.action), None)
    if limit is None:
        laid.forbidden = f"the ClusterAgentPolicy does not allow {permit.action}"
        return laid
    _narrow_bounds(laid, limit)
    _narrow_budget(laid, limit)
    _narrow_approval(laid, limit)
    return laid


def _bare(permit: Permit, outer: ClusterAgentPolicySpec | None) -> Permit:
    """The permit without limits of its own; only the window stays, since names of requests come from it."""
    counted = outer is not None and any(limit.action == permit.action and limit.max_per_hour for limit in outer.limits)
    budget = permit.budget.model_copy(update={"limit": 1000}) if permit.budget is not None and counted else None
    return permit.model_copy(update={"bounds": None, "budget": budget, "approval": Consent()})


def _narrow_bounds(laid: _Narrowing, limit: OuterLimit) -> None:
    bounds, action = laid.permit.bounds or Bounds(), laid.permit.action
    step, most = limit.max_step, limit.max_traffic_percent
    if action == "ShiftTraffic" and step is not None and step < _percent(bounds.max_step):
        bounds = bounds.model_copy(update={"max_step": step})
        laid.set(f"bounds.maxStep is {step}", bounds=bounds)
    if action not in ("ShiftTraffic", "Promote") or most is None:
        return
    if most < _percent(bounds.max_traffic_percent):
        bounds = bounds.model_copy(update={"max_traffic_percent": most})
        laid.set(f"bounds.maxTrafficPercent is {most}", bounds=bounds)


def _percent(most: int | None) -> int:
    """No limit is all of it."""
    return 100 if most is None else most


def _narrow_budget(laid: _Narrowing, limit: OuterLimit) -> None:
    most, budget = limit.max_per_hour, laid.permit.budget
    if most is None:
        return
    if budget is None:
        laid.set(f"budget is {most} in 1h", budget=Budget(limit=min(most, 1000), window="1h"))
        return
    # A longer window can be used up in one moment, so it allows no more than an hour does.
    fits = most * min(length(budget), _HOUR) // _HOUR
    if fits >= budget.limit:
        return
    if fits == 0 and laid.permit.action not in SAFE_ACTIONS:
        laid.forbidden = f"one in {budget.window} is more than the {most} an hour that the ClusterAgentPolicy allows"
        return
    if laid.permit.action in SAFE_ACTIONS:
        # A way back to safety is always left: one request in each hour, which every policy must allow.
        fits = min(budget.limit, max(fits, ceil(length(budget) / _HOUR)))
    laid.set(f"budget.limit is {fits} in {budget.window}", budget=budget.model_copy(update={"limit": fits}))


def _narrow_approval(laid: _Narrowing, limit: OuterLimit) -> None:
    if laid.permit.action in SAFE_ACTIONS and limit.min_tier != "ManualOnly":
        return  # they wait for nobody
    own = laid.permit.approval
    new = stricter(own, limit.min_tier, limit.min_quorum)
    if new.tier != own.tier:
        laid.set(f"approval.tier is {new.tier}", approval=new)
    elif new.quorum != own.quorum:
        laid.set(f"approval.quorum is {new.quorum}", approval=new)


def _blast_radius(own: BlastRadius, outer: ClusterAgentPolicySpec | None) -> BlastRadius:
    if outer is None or outer.max_unhealthy_percent is None:
        return own
    most = min(own.max_unhealthy_percent, outer.max_unhealthy_percent)
    return own.model_copy(update={"max_unhealthy_percent": most})


def _exploration(own: Exploration | None, outer: ClusterAgentPolicySpec | None) -> Exploration | None:
    most = outer.max_exploration_percent if outer is not None else None
    if most is None:
        return own
    if own is None:
        return Exploration(max_traffic_percent=most)
    return own.model_copy(update={"max_traffic_percent": min(own.max_traffic_percent, most)})


def wider(policy: AgentPolicySpec, outer: ClusterAgentPolicySpec | None) -> tuple[str, ...]:
    """Where the policy is wider than the outer bounds, each with its place and what is in force there instead."""
    if outer is None:
        return ()
    found = []
    for place, permits in (
        ("permits", policy.permits),
        ("trial.permits", policy.trial.permits if policy.trial else ()),
    ):
        for permit in permits:
            laid = _narrow(permit, outer)
            told = [laid.forbidden] if laid.forbidden is not None else laid.told
            found += [f"spec.{place}[{permit.name}]: {text}" for text in told]
    if policy.exploration is not None and _exploration(policy.exploration, outer) != policy.exploration:
        found.append(f"spec.exploration.maxTrafficPercent: {outer.max_exploration_percent} is the most allowed")
    if _blast_radius(policy.blast_radius, outer) != policy.blast_radius:
        found.append(f"spec.blastRadius.maxUnhealthyPercent: {outer.max_unhealthy_percent} is the most allowed")
    return tuple(found)


def _contradictions(policy: AgentPolicySpec) -> Sequence[str]:
    found: list[str] = []
    for permit in policy.permits:
        found += [f"spec.permits[{permit.name}]{problem}" for problem in _permit_problems(policy, permit)]
    by_name = {permit.name: permit for permit in policy.permits}
    for permit in policy.trial.permits if policy.trial is not None else ():
        own = by_name.get(permit.name)
        found += [f"spec.trial.permits[{permit.name}]{problem}" for problem in _evidence_problems(permit)]
        if own is None or own.action != permit.action:
            found.append(f"spec.trial.permits[{permit.name}]: `permits` has none of that name for {permit.action}")
        elif permit.budget is not None and length(permit.budget) != length(own.budget):
            told = "must be that of the permit, since names of requests come from it"
            found.append(f"spec.trial.permits[{permit.name}].budget.window: {told}")
    for rule in policy.signal_rules or ():
        asked = by_name.get(rule.then)
        if asked is None:
            found.append(f"spec.rules[{rule.name}].then: there is no permit {rule.then}")
            continue
        if "ManualOnly" in (asked.approval.tier, rule.risk):
            found.append(f"spec.rules[{rule.name}].then: {rule.then} is ManualOnly, so no rule can ask for it")
        if (rule.weight is not None) != (asked.action == "ShiftTraffic"):
            found.append(f"spec.rules[{rule.name}].weight: required by ShiftTraffic and by no other action")
        if rule.parameters and asked.template is None:
            found.append(f"spec.rules[{rule.name}].parameters: {asked.action} has no parameters")
    return found


def _evidence_problems(permit: Permit) -> Sequence[str]:
    if not permit.evidence or permit.action not in _WITHOUT_RELEASE:
        return ()
    return (f".evidence: gates judge a release that runs, and {permit.action} needs none; remove it",)


def _permit_problems(policy: AgentPolicySpec, permit: Permit) -> Sequence[str]:
    found = []
    bounds = permit.bounds or Bounds()
    if f"{permit.name}-".startswith(FALLBACK_PREFIX):
        found.append(
            f".name: names that begin with {FALLBACK_PREFIX} are for the fallback's requests; take another one"
        )
    if permit.bounds is not None and permit.action not in ("ShiftTraffic", "Promote"):
        found.append(f".bounds: {permit.action} gives nobody a share of traffic")
    if bounds.max_step is not None and permit.action == "Promote":
        found.append(".bounds.maxStep: belongs to ShiftTraffic")
    step, most = bounds.max_step, bounds.max_traffic_percent
    if step is not None and most is not None and step > most:
        found.append(f".bounds.maxStep: {step} is more than maxTrafficPercent {most}")
    if permit.action == "Promote" and most is not None and most < 100:
        found.append(".bounds.maxTrafficPercent: below 100 nothing can be promoted")
    found += _evidence_problems(permit)
    known = {subject.name for subject in policy.subjects}
    found += [f".subjects: {name} is not one of spec.subjects" for name in permit.subjects or () if name not in known]
    names = policy.selector.names if policy.selector is not None else None
    outside = [name for name in permit.rollouts or () if names is not None and name not in names]
    found += [f".rollouts: {name} is not one of spec.selector.names" for name in outside]
    if permit.budget is not None and seconds(permit.budget.window) < 1:
        found.append(".budget.window: must be at least 1s")
    if policy.bucket is not None and permit.cost > policy.bucket.capacity:
        found.append(f".cost: {permit.cost} is more than the bucket can hold ({policy.bucket.capacity})")
    for parameter in permit.parameters or ():
        low, high = parameter.minimum, parameter.maximum
        if low is not None and high is not None and low > high:
            found.append(f".parameters[{parameter.name}]: minimum {low} is more than maximum {high}")
    return found
