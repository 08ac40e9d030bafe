"""The limits of a permit: each is one small function that says why a request may not be executed, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from weir.agent import bucket as tokens
from weir.agent import exploration, ledger
from weir.agent.bundles import Served, unfit
from weir.agent.headroom import stopped
from weir.agent.observation import AgentRequest, RolloutFacts
from weir.agent.permits import allows, selected, slot_name, slot_of, subject_of
from weir.agent.pointless import pointless
from weir.agent.templates import parameter_problem
from weir.agent.turn import FORWARD_ACTIONS, Turn, is_safe
from weir.api.agentpermit import Bounds, Permit
from weir.api.agentstatus import MOST_OPEN, Grant
from weir.api.base import format_time
from weir.api.rolloutstatus import Verdict


@dataclass(frozen=True)
class Stop:
    """Why a request is not executed now.

    ``reason`` is one word for programs. ``wait``: it may be executed later, at ``until`` (seconds since the epoch) at
    the earliest where that is known; else it is denied. ``hard``: holds in the mode Audit, too.
    """

    reason: str
    message: str
    until: float | None = None
    hard: bool = False
    wait: bool = False


Check = Callable[[Turn, AgentRequest, Permit], Stop | None]


@dataclass(frozen=True)
class Limit:
    """``safe``: holds for actions that lead back to safety, too. ``overridable``: a person may overrule it."""

    check: Check
    safe: bool = False
    overridable: bool = False


def kill_switch(turn: Turn, _request: AgentRequest, _permit: Permit) -> Stop | None:
    """Nothing is executed while anything is paused."""
    told = stopped(turn.policy, turn.obs.outer, namespace_paused=turn.obs.namespace_paused)
    return Stop("Paused", f"{told}; create a new request once agents may act again", hard=True) if told else None


def identity(turn: Turn, request: AgentRequest, permit: Permit) -> Stop | None:
    """Who asks must be a subject of the policy that may use the permit, or Weir itself for a rule."""
    who, rule = request.spec.requester, turn.rule(request)
    if not who:
        return Stop("UnknownRequester", "spec.requester does not say who asks", hard=True)
    if request.spec.rule is None:
        if who != turn.obs.identity and allows(turn.policy, permit, who):
            return None
        return Stop("NotPermitted", f"{who} may not use the permit {permit.name}", hard=True)
    if who != turn.obs.identity:
        return Stop("NotPermitted", f"only Weir itself may set spec.rule, not {who}", hard=True)
    if rule is None or rule.then != permit.name:
        told = f"the AgentPolicy has no rule {request.spec.rule} that asks under {permit.name} any more"
        return Stop("NotPermitted", told, hard=True)
    return None


def target(turn: Turn, request: AgentRequest, permit: Permit) -> Stop | None:
    """The permit must be for that action on that Rollout, and a way back leads to what served last."""
    name = request.spec.rollout_ref.name
    if request.spec.action != permit.action:
        return Stop("NotPermitted", f"the permit {permit.name} is for {permit.action} alone", hard=True)
    if permit.rollouts is not None and name not in permit.rollouts:
        return Stop("NotPermitted", f"the permit {permit.name} is not for {name}", hard=True)
    facts = turn.rollout(name)
    if facts is None:
        return Stop("NoRollout", f"there is no Rollout named {name} in this namespace", hard=True, wait=True)
    if not selected(turn.policy.selector, name, facts.labels):
        return Stop("NotPermitted", f"the AgentPolicy is not for {name}", hard=True)
    if permit.action == "Rollback" and request.spec.version is not None:
        # Nothing slows a Rollback down, so it may only lead to what served last, not to what people took out.
        told = "an agent goes back to the version that served last: leave out spec.version"
        return Stop("RollbackVersion", told, hard=True)
    return None


def manual_only(turn: Turn, request: AgentRequest, permit: Permit) -> Stop | None:
    """Some actions are for people alone."""
    rule = turn.rule(request)
    if permit.approval.tier != "ManualOnly" and (rule is None or rule.risk != "ManualOnly"):
        return None
    return Stop("ManualOnly", f"{permit.action} is for people alone; ask one to do it", hard=True)


def expectation(_turn: Turn, request: AgentRequest, permit: Permit) -> Stop | None:
    """An agent says what it looked at, so that it never acts on something else."""
    expect, bounds = request.spec.expect, permit.bounds
    if permit.action in FORWARD_ACTIONS and (expect is None or expect.release is None):
        return Stop("ExpectationMissing", f"{permit.action} must state expect.release", hard=True)
    stepped = permit.action == "ShiftTraffic" and bounds is not None and bounds.max_step is not None
    if stepped and (expect is None or expect.weight is None):
        return Stop("ExpectationMissing", "ShiftTraffic under bounds.maxStep must state expect.weight", hard=True)
    return None


def useful(turn: Turn, request: AgentRequest, permit: Permit) -> Stop | None:
    """Nobody waits, or is asked, for what can do nothing any more in the release that the agent looked at."""
    expect, facts = request.spec.expect, turn.rollout(request.spec.rollout_ref.name)
    # Of a later release the agent knows more than this look does.
    if facts is None or expect is None or (expect.release or 0) > facts.status.release:
        return None
    told = pointless(permit.action, facts)
    return Stop("NothingToDo", told, hard=True) if told else None


def accepted(turn: Turn, _request: AgentRequest, _permit: Permit) -> Stop | None:
    """A policy that contradicts itself allows nothing but the way back. One that cannot be read has no permits."""
    wrong = turn.effective.problems
    if not wrong:
        return None
    told = f"the AgentPolicy is not accepted, so this waits until somebody mends it: {wrong[0]}"
    return Stop("PolicyNotAccepted", told, hard=True, wait=True)


def guardrails(turn: Turn, _request: AgentRequest, _permit: Permit) -> Stop | None:
    """Without the admission policies nobody vouches for who asks."""
    if turn.obs.guardrails is None:
        return None
    told = f"the admission policies are not as installed: {turn.obs.guardrails}"
    return Stop("GuardrailsMissing", told, hard=True, wait=True)


def outer_bounds(turn: Turn, _request: AgentRequest, _permit: Permit) -> Stop | None:
    """Outer bounds that cannot be read allow nothing."""
    if not turn.obs.outer_broken:
        return None
    told = f"the ClusterAgentPolicy cannot be read: {turn.obs.outer_broken}"
    return Stop("OuterBoundsUnknown", told, hard=True, wait=True)


def slot(_turn: Turn, request: AgentRequest, permit: Permit) -> Stop | None:
    """The name must be a slot of the budget's window that the request was created in."""
    budget = permit.budget
    if budget is None:
        return None
    found = slot_of(permit, request.name, request.created)
    if found is not None and found < budget.limit:
        return None
    first, last = (slot_name(permit, request.created, number) for number in (0, budget.limit - 1))
    told = f"the budget is {budget.limit} in {budget.window}: the name must have been {first} to {last}"
    return Stop("BudgetSlot", told)


def parameters(_turn: Turn, request: AgentRequest, permit: Permit) -> Stop | None:
    """Parameters must be within their bounds."""
    if permit.template is None:
        return None
    problem = parameter_problem(permit, request.spec.parameters)
    return Stop("Parameters", problem) if problem else None


def bounds(_turn: Turn, request: AgentRequest, permit: Permit) -> Stop | None:
    """No more traffic, and no larger step, than the permit allows."""
    limits = permit.bounds or Bounds()
    most, step = limits.max_traffic_percent, limits.max_step
    weight, expect = request.spec.weight, request.spec.expect
    if permit.action == "Promote" and most is not None and most < 100:
        told = f"maxTrafficPercent is {most}, and a promotion gives the candidate all traffic"
        return Stop("Bounds", told)
    if permit.action != "ShiftTraffic" or weight is None:
        return None
    if most is not None and weight > most:
        return Stop("Bounds", f"weight {weight} is more than maxTrafficPercent {most}")
    now = expect.weight if expect is not None and expect.weight is not None else 0
    if step is not None and weight - now > step:
        return Stop("Bounds", f"{now} to {weight} is more than maxStep {step}")
    return None


def outermost(turn: Turn, request: AgentRequest, permit: Permit) -> Stop | None:
    """What the outer bounds alone would refuse is refused in every mode."""
    outer = turn.effective.outermost.get(permit.name)
    if outer is None:
        return None
    found = slot(turn, request, outer) or (None if is_safe(turn, request) else bounds(turn, request, outer))
    return replace(found, hard=True) if found is not None else None


def cooling(turn: Turn, request: AgentRequest, _permit: Permit) -> Stop | None:
    """Time between two actions, and none on a Rollout where agents go back and forth."""
    return _blocked(turn, request, ("Cooldown", "Damped"))


def repeats(turn: Turn, request: AgentRequest, _permit: Permit) -> Stop | None:
    """What did not help is not done again and again."""
    return _blocked(turn, request, ("Repeated",))


def _blocked(turn: Turn, request: AgentRequest, reasons: tuple[str, ...]) -> Stop | None:
    name = request.spec.rollout_ref.name
    found = [
        entry
        for entry in turn.blocked
        if entry.reason in reasons and entry.rollout == name and entry.action in ("", request.spec.action)
    ]
    if not found:
        return None
    entry = max(found, key=lambda entry: entry.until)
    return Stop(entry.reason, entry.message, until=entry.until, wait=True)


def depth(turn: Turn, request: AgentRequest, _permit: Permit) -> Stop | None:
    """Actions must not cause each other without end."""
    most = turn.policy.loop.max_depth
    if len(ancestors(turn.requests, request)) < most:
        return None
    return Stop("TooDeep", f"it is the end of a chain of more than {most} actions that caused one another")


def ancestors(requests: Mapping[str, AgentRequest], request: AgentRequest) -> tuple[str, ...]:
    """Uids of the requests that led to this one, the nearest first, as far as they are known."""
    found: list[str] = []
    cause = request.spec.caused_by
    while cause is not None and cause.uid not in (*found, request.uid):
        found.append(cause.uid)
        before = requests.get(cause.uid)
        cause = before.spec.caused_by if before is not None else None
    return tuple(found)


def fitting(turn: Turn, request: AgentRequest, _permit: Permit) -> Stop | None:
    """An agent that is a version itself must be made for the models that it drives."""
    subject, facts = subject_of(turn.policy, request.spec.requester), turn.rollout(request.spec.rollout_ref.name)
    if subject is None or subject.rollout is None or facts is None:
        return None
    known = {name: served_of(other) for name, other in turn.obs.rollouts.items()}
    told = unfit(subject, served_of(facts), known, turn.obs.versions, request.spec.version or "")
    return Stop("Unfit", told) if told is not None else None


def served_of(facts: RolloutFacts) -> Served:
    """What the Rollout serves and releases."""
    stable, candidate = facts.status.stable, facts.status.candidate
    return Served(
        rollout=facts.name,
        labels=facts.labels,
        stable=stable.version if stable is not None else "",
        candidate=candidate.version if candidate is not None else "",
    )


def enough_tokens(turn: Turn, request: AgentRequest, permit: Permit) -> Stop | None:
    """All permits share the bucket; what was granted has taken its tokens already."""
    bucket = turn.policy.bucket
    if bucket is None or request.uid in turn.granted:
        return None
    if turn.thirsty and permit.cost:
        return Stop("Bucket", f"{turn.thirsty} has the next tokens of the bucket", wait=True)
    if tokens.tokens(bucket, turn.bucket, turn.now) >= permit.cost:
        return None
    at = tokens.enough_at(bucket, turn.bucket, permit.cost)
    return Stop("Bucket", f"the bucket holds {permit.cost} tokens again at {format_time(at)}", until=at, wait=True)


def concurrency(turn: Turn, request: AgentRequest, _permit: Permit) -> Stop | None:
    """Only so many actions at once, on one Rollout and altogether."""
    limits, name = turn.policy.concurrency, request.spec.rollout_ref.name
    here = leases(turn, name)
    # A cooldown is written down once its action has ended; until then nothing else would hold the next one back.
    cools = any(grant.action == request.spec.action and ledger.cooldown_after(turn, grant.permit) for grant in here)
    if cools or len(here) >= limits.per_target:
        names = ", ".join(sorted(grant.name for grant in here))
        return Stop("Concurrency", f"{names} is under way on {name}", wait=True)
    releases = ledger.moved(turn) - {name, *(grant.rollout for grant in turn.held.values())}
    if len(turn.held) + len(releases) >= turn.most_at_once:
        told = f"{limits.total} actions at most are under way at once{_ending(releases)}"
        return Stop("Concurrency", told, wait=True)
    return None


def _ending(releases: Collection[str]) -> str:
    """For people: Rollouts whose releases count until they end; empty where there are none."""
    names = ", ".join(sorted(releases))[:500]
    return f"; releases that agents moved count until they end: those of {names}" if names else ""


def leases(turn: Turn, rollout: str) -> list[Grant]:
    """Granted actions that are under way on a Rollout, as far as this turn has come."""
    return [grant for grant in turn.held.values() if grant.rollout == rollout]


def room(turn: Turn, _request: AgentRequest, _permit: Permit) -> Stop | None:
    """The ledger is bounded."""
    if len(turn.held) < MOST_OPEN:
        return None
    return Stop("Concurrency", f"{MOST_OPEN} actions are under way; this one is next", hard=True, wait=True)


def blast_radius(turn: Turn, request: AgentRequest, _permit: Permit) -> Stop | None:
    """Automation stops when too much is broken, and does not touch too much at once."""
    told = too_much_broken(turn)
    if told:
        return Stop("BlastRadius", f"{told}; people must look first", wait=True)
    count, most = len(turn.selected), turn.most_touched
    moving = (turn.requests[uid] for uid in turn.held)
    releases, name = ledger.moved(turn), request.spec.rollout_ref.name
    touched = {other.spec.rollout_ref.name for other in moving if not is_safe(turn, other)} | releases | {name}
    # A Rollout whose release is under way is not one more.
    if name in releases or len(touched) <= most:
        return None
    return Stop("BlastRadius", f"{most} of {count} Rollouts may be acted on at once{_ending(releases)}", wait=True)


def too_much_broken(turn: Turn) -> str:
    """Why automation stops; empty where it does not. A single unhealthy Rollout is never too much at once."""
    those, broken = turn.selected, turn.unhealthy
    if len(broken) < 2 or len(broken) * 100 <= len(those) * turn.effective.blast_radius.max_unhealthy_percent:
        return ""
    return f"{len(broken)} of {len(those)} Rollouts are unhealthy ({', '.join(broken)[:500]})"


def explored(turn: Turn, request: AgentRequest, permit: Permit) -> Stop | None:
    """Versions that have proven nothing get only so much traffic, and none while an SLO burns."""
    limit = turn.effective.exploration
    if limit is None or permit.action not in FORWARD_ACTIONS:
        return None
    if turn.burning:
        told = f"the error budget of {turn.burning} burns or is not known, so nothing is explored"
        return Stop("ErrorBudget", told, wait=True)
    facts = turn.rollout(request.spec.rollout_ref.name)
    given = exploration.given(request.spec, facts)
    if given > limit.max_traffic_percent:
        most = limit.max_traffic_percent
        return Stop("Exploration", f"a version that has not proven itself gets at most {most} %, not {given} %")
    at = exploration.left_at(turn)
    if at is None:
        return None
    told = f"the {limit.max_share_hours} share-hours in {limit.window} are used up until {format_time(at)}"
    return Stop("Exploration", told, until=at, wait=True)


def evidence(turn: Turn, request: AgentRequest, permit: Permit) -> Stop | None:
    """Gates that the permit names must pass at this moment, in the release that runs."""
    facts = turn.rollout(request.spec.rollout_ref.name)
    # A Rollout shows the verdicts of its last release until the next one begins.
    runs = facts is not None and facts.status.candidate is not None
    verdicts = {gate.name: gate.verdict for gate in facts.status.gates} if facts is not None and runs else {}
    none = "there is no verdict" if runs else "no release runs, so there is no verdict"
    for name in permit.evidence or ():
        found = verdicts.get(name)
        if found is not Verdict.PASS:
            told = f"the gate {name} says {found}" if found is not None else f"{none} of a gate {name}"
            return Stop("Evidence", f"{told}; it must be Pass", wait=True)
    return None


LIMITS: tuple[Limit, ...] = (
    Limit(kill_switch, safe=True),
    Limit(identity, safe=True),
    Limit(target, safe=True),
    Limit(manual_only, safe=True),
    Limit(expectation, safe=True),
    Limit(slot, safe=True),
    Limit(outermost, safe=True),
    Limit(room, safe=True),
    Limit(useful),
    Limit(accepted),
    Limit(outer_bounds),
    Limit(guardrails),
    Limit(parameters),
    Limit(bounds),
    Limit(depth),
    Limit(repeats),
    Limit(cooling, overridable=True),
    Limit(blast_radius, overridable=True),
    Limit(explored, overridable=True),
    Limit(evidence),
    Limit(fitting),
    Limit(enough_tokens, overridable=True),
    Limit(concurrency, overridable=True),
)
"""In the order in which people are told of them."""


def _judged(turn: Turn, *, safe: bool) -> Sequence[Limit]:
    """Limits that hold for a request now."""
    if safe:
        return [limit for limit in LIMITS if limit.safe]
    if turn.effective.problems:
        # What such a policy says is no reason to refuse anything for good: it waits until that is mended.
        return [limit for limit in LIMITS if limit.safe or limit.check is accepted]
    return LIMITS


def stops(turn: Turn, request: AgentRequest, permit: Permit, overridden: bool = False) -> list[Stop]:
    """Everything that keeps the request from being executed now, whatever the mode."""
    judged = _judged(turn, safe=is_safe(turn, request))
    checked = (limit for limit in judged if not (limit.overridable and overridden))
    return [stop for limit in checked if (stop := limit.check(turn, request, permit)) is not None]
