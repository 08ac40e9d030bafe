"""What a Rollout waits for, in a few words for one line."""

from __future__ import annotations

from weir.view.causes import CAUSES
from weir.view.model import RolloutInfo
from weir.view.words import duration, whole


def waits_for(info: RolloutInfo) -> str:
    """A few words; empty where nothing is waited for."""
    if info.silence is not None:
        return "the operator (not running?)"
    if info.candidate is None:
        return _resting(info)
    if info.ending is not None:
        return f"traffic to go back ({info.ending.reason})"
    if info.pause is not None:
        return _pause(info)
    if info.hold is not None:
        return _hold(info)
    if info.waiting_approvals:
        approval = info.waiting_approvals[0]
        return f"consent: {whole(approval.missing)} of {whole(approval.quorum)} ({approval.who})"
    stage = info.stage
    if stage is None or stage.index < 0:
        return "pods to be ready"
    if stage.evidence_from is None:
        return info.message
    open_gates = [gate.name for gate in info.gates if gate.verdict != "Pass"]
    rung = next((r for r in info.ladder if r.state == "Current"), None)
    left = stage.evidence_from + rung.min_duration - info.now if rung is not None else 0.0
    parts = [f"time ({duration(left)})"] if left > 0 else []
    parts += [f"gate {name}" for name in open_gates]
    return ", ".join(parts)


def _resting(info: RolloutInfo) -> str:
    if info.hold is not None:
        return _hold(info)
    if info.phase == "RolledBack":
        return f"another version, or a retry{' (paused)' if info.pause is not None else ''}"
    if info.phase == "Paused":
        return _pause(info)
    ready = info.condition("Ready")
    if info.phase == "Promoted":
        return "" if ready is None or ready.status == "True" else _plain(ready.reason)
    return info.message


def _pause(info: RolloutInfo) -> str:
    pause = info.pause
    if pause is None or pause.in_spec:
        return "spec.paused to be false"
    until = f", until {duration(pause.until - info.now)} from now" if pause.until is not None else ""
    return f"a resume (paused by {pause.by or 'somebody'}{until})"


def _hold(info: RolloutInfo) -> str:
    hold = info.hold
    if hold is None:
        return ""
    if hold.reason.startswith("Gate"):
        names = [gate.name for gate in info.gates if gate.verdict != "Pass"]
        return f"gate {', '.join(names)} ({hold.reason.removeprefix('Gate')})" if names else hold.reason
    return _plain(hold.reason)


def _plain(reason: str) -> str:
    """What a reason waits for or means, in words; the reason where it is not known."""
    cause = CAUSES.get(reason)
    return cause.until or cause.means if cause is not None else reason
