"""ActionRequests that rules ask for: what they say, and what they state as evidence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from weir.agent import cel
from weir.agent.observation import AgentObservation, RolloutFacts
from weir.agent.pointless import pointless
from weir.agent.signals import candidates
from weir.api.actionrequest import ActionRequestSpec, Expect, StatedEvidence
from weir.api.agentpermit import Permit
from weir.api.agentpolicy import SignalRule
from weir.api.base import LocalRef
from weir.api.modelversion import canonical, sha256

_MAX_VALUE = 253
_MAX_REASON = 512
_MAX_EVIDENCE = 16
_NO_LABEL = re.compile(r"[^a-z0-9]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def met(when: str, action: str, signals: Mapping[str, Any]) -> tuple[cel.Answer, Mapping[str, Any]]:
    """Whether the condition holds, and the signals that it was asked about.

    Of a Release it is asked about one of ``candidates`` at a time, the newest first: the version that is released is
    the one that meets it.
    """
    unmet: list[tuple[cel.Answer, Mapping[str, Any]]] = []
    for view in _views(action, signals):
        answer = cel.ask(when, "signals", view)
        if answer.holds:
            return answer, view
        unmet.append((answer, view))
    return next((told for told in unmet if told[0].holds is None), unmet[0])


def _views(action: str, signals: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    waiting = signals.get("candidates") if action == "Release" else None
    if not waiting:
        yield signals
    for candidate in reversed(waiting or ()):
        yield {**signals, "candidates": [candidate]}


def cannot(obs: AgentObservation, permit: Permit, rollout: RolloutFacts) -> str:
    """Why the action makes no sense for the Rollout now; empty where it does."""
    status, action = rollout.status, permit.action
    if found := pointless(action, rollout):
        return found
    if action == "Release" and not candidates(obs, rollout):
        return "no ModelVersion of a Retrain waits to be released"
    if action == "Retry" and status.candidate is not None:
        return "a release runs, so there is nothing to retry"
    if action == "Pause" and (status.pause is not None or rollout.spec.paused):
        return "the Rollout is paused already"
    if action == "Resume" and status.pause is None:
        return "the Rollout is not paused"
    return ""


def request(
    obs: AgentObservation, rule: SignalRule, permit: Permit, rollout: RolloutFacts, signals: Mapping[str, Any]
) -> ActionRequestSpec:
    """What the rule asks for, with the signals that ``met`` gave; ``cannot`` must have said nothing against it."""
    return ActionRequestSpec(
        action=permit.action,
        rollout_ref=LocalRef(name=rollout.name),
        reason=(rule.reason or f"rule {rule.name}: {rule.when}")[:_MAX_REASON],
        requester=obs.identity or None,
        permit=permit.name,
        rule=rule.name,
        version=signals["candidates"][0]["name"] if permit.action == "Release" else None,
        weight=rule.weight if permit.action == "ShiftTraffic" else None,
        parameters=rule.parameters if permit.template is not None else None,
        expect=expect(permit, rollout),
        evidence=evidence(rule.when, rollout.name, signals) or None,
        expires_after=permit.approval.expires_after,
    )


def expect(permit: Permit, rollout: RolloutFacts) -> Expect | None:
    """What must still be true when the action is executed: it is about this release."""
    status = rollout.status
    if permit.template is not None:
        return None
    candidate = status.candidate if permit.action in ("Promote", "Skip", "ShiftTraffic") else None
    stepped = permit.action == "ShiftTraffic" and permit.bounds is not None and permit.bounds.max_step is not None
    return Expect(
        release=status.release,
        stage=status.stage.name if permit.action == "Skip" and status.stage is not None else None,
        weight=status.weight if stepped else None,
        candidate=candidate.digest if candidate is not None else None,
    )


def evidence(when: str, rollout: str, signals: Mapping[str, Any]) -> list[StatedEvidence]:
    """What the signals were that the condition names, each with the digest of its whole value."""
    stated: dict[str, StatedEvidence] = {}
    for path in cel.named(when):
        value = _at(signals, path)
        if value is None:
            continue
        name = _label(path)
        stated.setdefault(
            name,
            StatedEvidence(
                name=name,
                value=shown(value)[:_MAX_VALUE],
                ref=f"Rollout/{rollout}",
                digest=sha256(canonical(value)),
            ),
        )
    return list(stated.values())[:_MAX_EVIDENCE]


def shown(value: Any) -> str:
    """A signal for people: ``name=drift distance=0.31; …``."""
    if isinstance(value, Mapping):
        told = ((key, f"[{shown(entry)}]" if isinstance(entry, list) else shown(entry)) for key, entry in value.items())
        return " ".join(f"{key}={text}" for key, text in told if text != "[none]")
    if isinstance(value, list):
        return "; ".join(shown(entry) for entry in value) or "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _at(signals: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """The value at a path; None where there is none."""
    value: Any = signals
    for step in path:
        if not isinstance(value, Mapping) or step not in value:
            return None
        value = value[step]
    return value


def _label(path: tuple[str, ...]) -> str:
    """A path as a name of evidence: lower-case letters, digits and dashes."""
    words = _HUMP.sub("-", "-".join(path)).lower()
    return _NO_LABEL.sub("-", words).strip("-")[:63].strip("-") or "signals"
