"""An AgentPolicy in plain words: who may ask for what, what was narrowed, what happens when nobody does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weir.agent.effective import Effective, effective, summary
from weir.api.base import Condition
from weir.cli.agent_rows import one_line, person
from weir.view.read import wire
from weir.view.words import ago, duration, number, sentence, things, when

if TYPE_CHECKING:
    from weir.api.agentpolicy import AgentPolicySpec, FallbackPolicy, SignalRule, Subject
    from weir.cli.agent_cluster import Agents

_LADDER = {
    "Freeze": "pause the release",
    "StableOnly": "put all traffic back to the version that serves",
    "LastKnownGood": "put the version back that served before, if the one that serves is unhealthy",
}


@dataclass(frozen=True)
class Part:
    """A title and what belongs to it."""

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Told:
    """The explanation: one sentence, then its parts. ``warnings``: why what is said may not hold now."""

    headline: str
    parts: tuple[Part, ...]
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON and YAML."""
        found: dict[str, Any] = wire(self)
        return found


def explain(agents: Agents) -> Told:
    """The policy of a namespace as it is in force now."""
    policy, known = agents.policy, effective(agents.policy, agents.outer)
    parts = (
        ("What is wrong", _wrong(agents, known)),
        ("Who may ask", [_subject(subject) for subject in policy.subjects]),
        ("For what", list(_permits(agents, known))),
        ("For all of them together", list(_together(policy, known))),
        ("Rules that ask by themselves", list(_rules(agents))),
        ("When agents fall silent", list(_fallback(agents))),
        ("Outer bounds", list(_outer(agents, known))),
        ("Policy on trial", list(_trial(policy))),
        ("State", [_condition(c, agents.now) for c in agents.status.conditions]),
        ("What Audit let pass", list(_shadow(agents))),
    )
    told = tuple(Part(title, tuple(lines)) for title, lines in parts if lines)
    return Told(_headline(agents, known), told, tuple(_doubts(agents)))


def warnings(agents: Agents) -> tuple[str, ...]:
    """What keeps the policy from working as it says, a sentence or two for each."""
    rejected = _rejected(agents, effective(agents.policy, agents.outer))
    told = f"The AgentPolicy is not accepted. {' '.join(rejected)} Until it is mended only safe actions are executed."
    return (*_doubts(agents), *([told] if rejected else []))


def _doubts(agents: Agents) -> Iterator[str]:
    """What keeps an accepted policy from working as it says."""
    if agents.silent_since is not None:
        yield silent(agents.silent_since, agents.now)
    unguarded = agents.says("GuardrailsInstalled")
    if unguarded is not None:
        why = sentence(one_line(unguarded.message, 400))
        yield (
            f"The API server may let more pass than the policy does. {why} Meanwhile Weir executes nothing of what "
            "agents ask for but safe actions."
        )


def silent(since: float, now: float) -> str:
    """What it means that no operator has shown a sign of life since then."""
    return (
        f"No operator has shown a sign of life for {duration(now - since)}; it is probably not running. Requests wait "
        "for it, and what is said of them may be out of date. The API server goes on to refuse what it must."
    )


def _headline(agents: Agents, known: Effective) -> str:
    where = f"in namespace {agents.namespace}"
    stopped = agents.stopped()
    if stopped:
        return f"Agents are stopped {where}: {stopped}. People act as before."
    if _rejected(agents, known):
        waits = "until it is mended, what agents ask for waits, but for the way back, and its rules ask for nothing"
        return f"The AgentPolicy {where} is not accepted: {waits}."
    count = things(len(known.permits), "permit")
    if known.wider:
        count += ", narrowed by the ClusterAgentPolicy"
    if agents.says("GuardrailsInstalled") is not None:
        why = "the admission policies are not as installed"
        return f"Agents may do nothing {where} but safe actions, under {count}, while {why}."
    if agents.policy.mode == "Audit":
        return f"Agents may act {where} under {count}. Limits are only watched (Audit): see what they would refuse."
    return f"Agents may act {where} under {count}; everything else is refused by the API server."


def _rejected(agents: Agents, known: Effective) -> list[str]:
    """Why the policy is not accepted: as one can see from here, else as the operator says of it."""
    if known.problems:
        return [sentence(problem) for problem in known.problems]
    found = agents.says("Accepted")
    return [sentence(one_line(found.message, 400))] if found is not None else []


def _wrong(agents: Agents, known: Effective) -> list[str]:
    told = _rejected(agents, known)
    if told and agents.policy.fallback is not None:
        lasts = agents.policy.fallback.step_after
        told.append(f"If that lasts for {lasts}, the fallback begins for releases that run.")
    seen = agents.status.observed_generation
    if seen is None:
        told.append(
            "The operator has never looked at the policy; is it running? The API server enforces it all the same."
        )
    elif seen != agents.generation:
        told.append(f"The operator has not looked at generation {agents.generation} yet; what is below is of {seen}.")
    return told


def _subject(subject: Subject) -> str:
    name = f"{subject.namespace}/{subject.name}" if subject.namespace else subject.name
    priority = f", priority {subject.priority}" if subject.priority else ""
    return f"{subject.kind} {name}{priority}"


def _permits(agents: Agents, known: Effective) -> Iterator[str]:
    rows = {row.permit: row for row in agents.headroom()}
    for permit in agents.policy.permits:
        if permit.name in known.forbidden:
            yield f"{permit.name}: nothing, since {known.forbidden[permit.name]}"
            continue
        row = rows[permit.name]
        left = f" ({row.left} of {row.limit} left for {duration(row.resets_at - agents.now)})" if row.resets_at else ""
        mode = "; Audit: its limits are only watched" if row.mode == "Audit" != agents.policy.mode else ""
        whose = f"; only for {', '.join(permit.subjects)}" if permit.subjects else ""
        where = f"; only on {', '.join(permit.rollouts)}" if permit.rollouts else ""
        yield f"{permit.name}: {summary(known.permits[permit.name])}{whose}{where}{mode}{left}"


def _together(policy: AgentPolicySpec, known: Effective) -> Iterator[str]:
    at_once, radius = policy.concurrency, known.blast_radius
    yield f"{things(at_once.total, 'action')} at once, {at_once.per_target} on one Rollout"
    yield (
        f"nothing but going back to safety while more than {radius.max_unhealthy_percent} % of the Rollouts are "
        f"unhealthy, and no more than {radius.max_affected_percent} % of them acted on at once"
    )
    if policy.bucket is not None:
        yield f"{things(policy.bucket.capacity, 'token')}, one more every {policy.bucket.refill_every}"
    if known.exploration is not None:
        hours, window = known.exploration.max_share_hours, known.exploration.window
        share = f", and {number(float(hours))} hours of all traffic in {window}" if hours is not None else ""
        yield (
            f"versions that have not proven themselves get {known.exploration.max_traffic_percent} % of traffic at "
            f"most{share}; nothing while an error budget burns"
        )
    damping, loop = policy.damping, policy.loop
    yield (
        f"back and forth is damped: a reversal costs {damping.penalty}, halved every {damping.half_life}; at "
        f"{damping.suppress_at} the Rollout is left alone for up to {damping.max_suppress}"
    )
    yield (
        f"chains of at most {loop.max_depth} actions that cause each other; the same action in the same state "
        f"{things(loop.max_repeats, 'time')} in {loop.window}"
    )


def _rules(agents: Agents) -> Iterator[str]:
    for rule in agents.policy.signal_rules or ():
        yield _rule(rule)
        for state in agents.status.rule_states:
            if state.rule != rule.name:
                continue
            told = one_line(state.message) or ("has asked: " + state.request if state.request else "")
            if state.open_until is not None and state.open_until > agents.now:
                failed = things(state.attempts, "failure")
                told = f"asks for nothing until {when(state.open_until, agents.now)} after {failed}"
            if told:
                yield f"{rule.name} on {state.rollout}: {told}"


def _rule(rule: SignalRule) -> str:
    held = f" for {rule.hold_for}" if rule.hold_for != "0s" else ""
    return f"{rule.name}: when {one_line(rule.when)}{held}, asks under {rule.then}"


def _fallback(agents: Agents) -> Iterator[str]:
    fallback = agents.policy.fallback
    if fallback is None:
        yield "nothing: there is no `fallback`, so a release that an agent began goes on by its own plan"
        return
    yield from _starts(fallback)
    for place, step in enumerate(fallback.ladder):
        begins = "at once" if place == 0 else f"then, {fallback.step_after} later"
        yield f"{begins}: {_LADDER[step]}"
    for state in agents.status.fallback:
        taken = things(state.step, "step")
        yield f"now on {state.rollout}: {state.reason} since {when(state.since, agents.now)}, {taken} taken"


def _starts(fallback: FallbackPolicy) -> Iterator[str]:
    for silent in fallback.on_agent_silent or ():
        yield f"it starts when the Lease {silent.lease} was not renewed for {silent.after} while a release runs"
    if fallback.on_unknown_after is not None:
        yield f"it starts when the gates of a release have had no evidence for {fallback.on_unknown_after}"


def _outer(agents: Agents, known: Effective) -> Iterator[str]:
    if agents.outer is None:
        hidden = "you may not read the ClusterAgentPolicy; what the operator says of it:"
        yield hidden if agents.outer_hidden else "none: there is no ClusterAgentPolicy"
        if agents.outer_hidden:
            yield from (f"{e.name}: {e.narrowed}" for e in agents.status.effective if e.narrowed)
        return
    yield "actions that may be permitted: " + ", ".join(limit.action for limit in agents.outer.limits)
    for name, told in known.narrowed.items():
        yield f"{name} was narrowed: {', '.join(told)}"
    for name, why in known.forbidden.items():
        yield f"{name} is not allowed: {why}"
    yield from (told for told in known.wider if not told.startswith("spec.permits["))
    if not known.wider:
        yield "nothing of this policy was narrowed"


def _trial(policy: AgentPolicySpec) -> Iterator[str]:
    if policy.trial is not None:
        yield f"{policy.trial.share} % of requests are judged by it as well; of the others its verdict is only noted"
        yield from (f"{permit.name}: {summary(permit)}" for permit in policy.trial.permits)


def _condition(condition: Condition, now: float) -> str:
    since = duration(now - condition.last_transition_time)
    message = f": {one_line(condition.message, 400)}" if condition.message else ""
    return f"{condition.type} is {condition.status} ({condition.reason}) for {since}{message}"


def _shadow(agents: Agents) -> Sequence[str]:
    status = agents.status
    told = [
        f"{ago(entry.at, agents.now)}: {entry.name} by {person(entry.by)}, {entry.reason}"
        f"{' (by the policy on trial)' if entry.trial else ''}: {one_line(entry.message)}"
        for entry in status.shadow_denials
    ]
    more = status.shadow_denied - len(told)
    return [*told, f"and {things(more, 'other')} before"] if told and more > 0 else told
