"""What must be true of every decision about data contracts, and standings that come and go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from weir.api.rolloutstatus import ContractFindingStatus, RolloutStatus
from weir.contract.finding import Finding, Standing

if TYPE_CHECKING:
    from tests.properties.invariants import Step

PIN = "orders@sha256:" + "a" * 64
CLEAN = Standing(pins=(PIN,))

_LATE = ("ProgressDeadlineExceeded", "ApprovalExpired", "GateInsufficient", "GateNoData", "GateError")
"""Reasons of endings because time is over."""


def _said(*findings: Finding) -> Standing:
    return Standing(findings=findings, pins=(PIN,))


def _finding(effect: str, rule: str = "Check", judgement: str = "Fail", **changes: object) -> Finding:
    return Finding("orders", rule, judgement, effect, "out of order", **changes)  # type: ignore[arg-type]


STANDINGS: tuple[Standing | None, ...] = (
    None,
    CLEAN,
    _said(_finding("BlockPromotion")),
    _said(_finding("BlockPromotion", "R1", path="orders.price")),
    _said(_finding("BlockPromotion", judgement="Unknown", awaited=True)),
    _said(_finding("BlockPromotion", "Metadata")),
    _said(_finding("BlockPromotion", "R4")),
    _said(_finding("RequireApproval", "R9", "Unknown", path="orders.code")),
    _said(_finding("Pause")),
    _said(_finding("Pause", "Drift"), _finding("Rollback", grace=100.0)),
    _said(_finding("Rollback", grace=100.0)),
    _said(_finding("Rollback", "Drift", grace=0.0)),
    _said(_finding("Warn"), _finding("Warn", "R5", "Pass")),
)
"""What may be said of a version: nothing yet, nothing wrong, and everything that has an effect of its own."""


def _against(step: Step) -> tuple[Finding, ...] | None:
    """What the look showed against the candidate that ran before; None where nothing is known."""
    candidate = step.before.candidate
    if candidate is None or not step.obs.contracts or step.cluster.spec.contracts.mode == "Ignore":
        return ()
    found = step.obs.contracts.get(candidate.version)
    if found is None:
        return None
    if step.cluster.spec.contracts.mode == "Warn":
        return ()
    splits = any(s.kind == "Traffic" for s in step.plan)
    return tuple(f for f in found.findings if f.effect != "Warn" and (f.rule != "R4" or splits))


def _free(step: Step) -> bool:
    """Whether the running release is one that contracts have no say in."""
    before = step.before
    forced = before.force is not None or step.asked("Promote")
    return before.candidate is None or before.restoring or forced or before.ending is not None


def nothing_advances_against_a_contract(step: Step) -> None:
    """While a contract forbids it, or cannot be told, no weight rises, no stage is passed, nothing is promoted."""
    found = _against(step)
    if _free(step) or found == ():
        return
    only_split = found is not None and all(f.rule == "R4" for f in found)
    before, after = step.before, step.after
    assert before.stage is not None
    if only_split and before.stage.name == "Bake":
        return
    assert not step.promoted, f"promoted against {found}"
    if not step.same_release or after.candidate is None or after.stage is None:
        return
    assert after.weight <= before.weight, f"{before.weight} to {after.weight} % against {found}"
    plan = step.plan
    index = before.stage.index
    if index < 0 or (index < len(plan) and plan[index].name == before.stage.name):
        assert after.stage.index <= index, f"{before.stage.name} to {after.stage.name} against {found}"
        assert after.stage.index < 0 or after.stage.weight <= before.stage.weight


def no_pods_against_a_contract(step: Step) -> None:
    """Pods of the candidate are not made while a contract forbids it for a reason that pods do not tell."""
    found, candidate = _against(step), step.before.candidate
    if _free(step) or found == () or candidate is None or not step.same_release or step.after.candidate is None:
        return
    waits = found is None or any(f.rule != "Metadata" and not f.awaited for f in found)
    if waits and step.after.stage is not None and step.after.stage.index < 0 and candidate.pool not in step.obs.pools:
        assert candidate.pool not in {pool.pool for pool in step.decision.desired.pools}


def _key(finding: ContractFindingStatus) -> tuple[str, ...]:
    return (finding.contract, finding.rule, finding.change, finding.path, finding.verdict)


def _findings(status: RolloutStatus) -> Iterator[ContractFindingStatus]:
    yield from status.contracts.findings if status.contracts is not None else ()


def findings_are_kept(step: Step) -> None:
    """A finding that lasts has been there since it came, whatever happens to the operator meanwhile."""
    subjects = [status.candidate or status.stable for status in (step.before, step.after)]
    if None in subjects or len({subject.version for subject in subjects if subject is not None}) > 1:
        return  # what was said of one version is not what is said of another
    known = {_key(f): f.since for f in _findings(step.before)}
    for finding in _findings(step.after):
        assert finding.since <= step.cluster.now
        assert known.get(_key(finding), finding.since) == finding.since, "a grace begins anew"


def grace_is_kept(step: Step) -> None:
    """Past its grace no release stays where it has something to go back to; before it none is put back for that."""
    after, before = step.after, step.before
    ended = after.ending if step.same_release and before.ending is None else None
    if ended is not None and ended.reason in ("ContractFailed", "DataDrifted", "ContractIncompatible"):
        assert any((f.rollback_at or step.cluster.now + 1) <= step.cluster.now for f in _findings(after))
    if _free(step) or after.candidate is None or after.ending is not None or after.stage is None or not after.stable:
        return
    if not step.same_release or after.stage.index < 0 or step.asked("Rollback"):
        return
    late = [f for f in _findings(after) if f.effect == "Rollback" and (f.rollback_at or 0.0) <= step.cluster.now]
    assert not late, f"goes on beyond the grace of {late}"


def a_pause_eats_no_deadline(step: Step) -> None:
    """While a contract stops the clock, nothing ends because time is over, and every moment stays as far away."""
    before, after = step.before, step.after
    if _free(step) or not any(f.effect == "Pause" for f in _findings(before)) or before.paused_at is None:
        return
    if not any(f.effect == "Pause" for f in _findings(after)):
        return
    assert after.ending is None or after.ending.reason not in _LATE, f"{after.ending.reason} during a pause"
    if step.same_release and after.candidate is not None and after.ending is None:
        assert after.paused_at == before.paused_at, "paused time is lost"


def what_holds_is_told(step: Step) -> None:
    """A release that a contract holds says so, with the contract's name."""
    told = {c.type: c for c in step.after.conditions}.get("ContractsHold")
    assert (told is not None) == (step.after.contracts is not None)
    found = _against(step)
    if _free(step) or not found or not step.same_release or step.after.candidate is None or step.after.ending:
        return
    assert told is not None
    assert told.status != "True"
    assert any(finding.message in told.message for finding in found)


CONTRACTS = (
    nothing_advances_against_a_contract,
    no_pods_against_a_contract,
    findings_are_kept,
    grace_is_kept,
    a_pause_eats_no_deadline,
    what_holds_is_told,
)
