"""Agents that are versions themselves: whether an agent's bundle knows the models that it drives.

A subject of the AgentPolicy may name the Rollout that serves the agent. The ModelVersions of that Rollout say in
``compatibleWith`` which models they may drive; one that says nothing may drive none. That is looked at before a release
of the agent, before a release of what it drives, and whenever the agent asks for something.

So that two releases never wait for each other, a release of a driven model looks at the agent's version that serves
alone, and a release of the agent looks at both versions of what it drives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from weir.agent.permits import selected
from weir.api.agentpolicy import AgentPolicySpec, Subject
from weir.api.modelversion import ModelVersionSpec, version_digest
from weir.contract.finding import Finding, Judgement, Standing

Versions = Mapping[str, ModelVersionSpec]
"""ModelVersions of the namespace, by name."""


@dataclass(frozen=True)
class Served:
    """What a Rollout serves and what it releases, as names of ModelVersions; empty for none."""

    rollout: str
    labels: Mapping[str, str]
    stable: str = ""
    candidate: str = ""


@dataclass(frozen=True)
class Fit:
    """What is said against a release, and the versions on the other side that were looked at, as NAME@DIGEST."""

    findings: tuple[Finding, ...] = ()
    pins: tuple[str, ...] = ()

    def added_to(self, standing: Standing) -> Standing:
        """What contracts say, and this beside it."""
        pins = tuple(sorted({*standing.pins, *self.pins}))
        return replace(standing, findings=(*standing.findings, *self.findings), pins=pins)


@dataclass(frozen=True)
class _Meeting:
    """A version of an agent, and a version that it drives or would drive; each with its Rollout. All are names."""

    agent: str
    bundle: str
    driven: str
    version: str


def drives(policy: AgentPolicySpec, subject: Subject, rollout: Served) -> bool:
    """Whether the agent may ask for anything about that Rollout; never about the one that serves the agent itself."""
    if subject.rollout == rollout.rollout or not selected(policy.selector, rollout.rollout, rollout.labels):
        return False
    usable = (p for p in policy.permits if p.subjects is None or subject.name in p.subjects)
    return any(p.rollouts is None or rollout.rollout in p.rollouts for p in usable)


def fit(
    policy: AgentPolicySpec, rollout: Served, version: str, served: Mapping[str, Served], versions: Versions
) -> Fit:
    """What agents' bundles say of a version that is, or is to be, released (or served) by a Rollout.

    ``served``: all Rollouts of the namespace, by name. A paused policy and one that only audits warn, since then the
    agents do nothing, or nothing is enforced.
    """
    met = tuple(dict.fromkeys(_meetings(policy, rollout, version, served)))
    found = tuple(finding for meeting in met if (finding := _finding(meeting, versions)) is not None)
    if policy.paused or policy.mode == "Audit":
        found = tuple(replace(finding, judgement="Pass", effect="Warn") for finding in found)
    others = dict.fromkeys(m.version if m.agent == rollout.rollout else m.bundle for m in met)
    return Fit(found, tuple(_pin(name, versions) for name in others if name in versions))


def concerned(policy: AgentPolicySpec, rollout: str, served: Mapping[str, Served]) -> frozenset[str]:
    """Rollouts that a change of that one concerns: those of agents that drive it, and what it drives as an agent."""
    found = set()
    for subject in policy.subjects:
        agent = subject.rollout
        if agent is None:
            continue
        if agent == rollout:
            found |= {name for name, other in served.items() if drives(policy, subject, other)}
        elif rollout in served and drives(policy, subject, served[rollout]):
            found.add(agent)
    return frozenset(found)


def unfit(
    subject: Subject, rollout: Served, served: Mapping[str, Served], versions: Versions, asked: str = ""
) -> str | None:
    """Why the agent must not act on a Rollout, for people; None where it may, or is no version itself.

    ``asked``: the ModelVersion that a Release names. What leads back to safety is not to be asked about.
    """
    if subject.rollout is None:
        return None
    if subject.rollout == rollout.rollout:
        return f"Rollout {rollout.rollout} serves the agent itself: a person must act on it"
    agent = served.get(subject.rollout)
    if agent is None or not agent.stable:
        return f"no version of the agent {subject.name} is known: Rollout {subject.rollout} serves none"
    for version in dict.fromkeys(v for v in (rollout.stable, rollout.candidate, asked) if v):
        finding = _finding(_Meeting(agent.rollout, agent.stable, rollout.rollout, version), versions)
        if finding is not None:
            return finding.message
    return None


def agent_version(agent: Served, versions: Versions) -> str:
    """The agent's version that serves, as NAME@DIGEST, for the record of what it asked for; empty where not known."""
    return _pin(agent.stable, versions) if agent.stable in versions else ""


def _meetings(
    policy: AgentPolicySpec, rollout: Served, version: str, served: Mapping[str, Served]
) -> Iterator[_Meeting]:
    for subject in policy.subjects:
        if subject.rollout == rollout.rollout:
            for driven in served.values():
                if drives(policy, subject, driven):
                    arms = (arm for arm in (driven.stable, driven.candidate) if arm)
                    yield from (_Meeting(rollout.rollout, version, driven.rollout, arm) for arm in arms)
        elif subject.rollout is not None and drives(policy, subject, rollout):
            agent = served.get(subject.rollout)
            if agent is not None and agent.stable:
                yield _Meeting(agent.rollout, agent.stable, rollout.rollout, version)


def _finding(meeting: _Meeting, versions: Versions) -> Finding | None:
    bundle, driven = versions.get(meeting.bundle), versions.get(meeting.version)
    if bundle is None or driven is None:
        unread = meeting.bundle if bundle is None else meeting.version
        why = f"ModelVersion {unread} cannot be read, so nobody knows whether the agent {meeting.agent} fits."
        return _against(meeting, "Unknown", f"{why} Way out: create it again, or repair it.")
    if bundle.may_drive(driven):
        return None
    model = f"{driven.model} {driven.version}"
    why = (
        f"The agent {meeting.agent} {bundle.version} must not drive {model} in Rollout "
        f"{meeting.driven}: {_known(bundle)}. Way out: release a version of the agent that names {model} in "
        f"compatibleWith beside what serves now, or let no permit of the AgentPolicy reach Rollout "
        f"{meeting.driven} for this agent."
    )
    return _against(meeting, "Fail", why)


def _against(meeting: _Meeting, judgement: Judgement, message: str) -> Finding:
    return Finding(
        contract="",
        rule="Agent",
        judgement=judgement,
        effect="BlockPromotion",
        message=message,
        change=f"{meeting.bundle}/{meeting.version}",
        path=f"{meeting.agent}/{meeting.driven}",
    )


def _known(bundle: ModelVersionSpec) -> str:
    """What the agent's bundle names, for people."""
    named: Sequence[str] = [
        f"{driven.model} ({', '.join(driven.versions or driven.digests or ('all versions',))})"
        for driven in bundle.compatible_with or ()
    ]
    return f"its compatibleWith names {'; '.join(named)[:400]}" if named else "it has no compatibleWith"


def _pin(name: str, versions: Versions) -> str:
    return f"ModelVersion/{name}@{version_digest(versions[name])}"
