"""Rollouts and DataContracts as the tools tell of them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from weir.cli.cluster import Cluster
from weir.cli.watching import info_of
from weir.mcp.caller import Caller
from weir.mcp.results import (
    MOST,
    ApprovalFact,
    ConditionFact,
    ContractLine,
    ContractList,
    DriftFact,
    Expectation,
    GateFact,
    ReleaseFact,
    RolloutDetail,
    RolloutExplanation,
    RolloutLine,
    RolloutList,
    VersionFact,
    quoted,
)
from weir.runtime.errors import Forbidden
from weir.runtime.resources import CONTRACT_CHECKS, DATA_CONTRACTS, KubeObject
from weir.view.brief import waits_for
from weir.view.contract import Around, ContractExplanation, explain_contract
from weir.view.model import RolloutInfo, operator_silent
from weir.view.parts import Condition, Gate, Release, Version
from weir.view.read import Moment, Node
from weir.view.why import explain

_HISTORY = 5


async def rollouts(caller: Caller, namespace: str, limit: int) -> RolloutList:
    """Rollouts of the namespace, by name, at most ``limit``."""
    there = caller.cluster(namespace)
    found = sorted(await there.rollouts(), key=_name)
    leases = await there.leases()
    lines = [RolloutLine(**_line(info_of(one, leases=leases), leases)) for one in found[:limit]]
    return RolloutList(rollouts=lines, total=len(found))


async def rollout(caller: Caller, namespace: str, name: str) -> RolloutDetail:
    """One Rollout; CliError where it is not there."""
    found, info, leases = await _one(caller.cluster(namespace), name)
    status = Node(found).at("status")
    return RolloutDetail(
        **_line(info, leases),
        strategy=info.strategy,
        wants=info.wanted.name if info.wanted is not None else "",
        expect=Expectation(
            release=info.release,
            stage=info.stage.name if info.stage is not None else None,
            weight=info.weight,
            candidate=(info.candidate.digest or None) if info.candidate is not None else None,
        ),
        ceiling=status.count("ceiling", "weight"),
        paused=info.pause is not None,
        hold=info.hold.reason if info.hold is not None else "",
        deadline=moment(info.deadline),
        gates=[_gate(gate) for gate in info.gates[:MOST]],
        approvals=[
            ApprovalFact(name=a.name, state=a.state, quorum=a.quorum, missing=a.missing) for a in info.approvals[:MOST]
        ],
        conditions=conditions(info.conditions),
        history=[_release(release) for release in info.history[:_HISTORY]],
    )


async def explanation(caller: Caller, namespace: str, name: str) -> RolloutExplanation:
    """Why a Rollout stands where it stands; CliError where it is not there."""
    _, info, _ = await _one(caller.cluster(namespace), name)
    told = explain(info)
    return RolloutExplanation(
        namespace=info.namespace,
        name=info.name,
        untrusted=quoted(
            headline=told.headline,
            notes=told.notes,
            waiting_for=told.waiting_for,
            evidence=told.evidence,
            moves=[move.text for move in told.moves],
            takes=told.takes,
        ),
    )


async def contracts(caller: Caller, namespace: str, limit: int) -> ContractList:
    """DataContracts of the namespace, by name, at most ``limit``."""
    there = caller.cluster(namespace)
    found = sorted((await caller.client.list(DATA_CONTRACTS, there.namespace)).items, key=_name)
    checks: list[KubeObject] = []
    with suppress(Forbidden):
        checks = (await caller.client.list(CONTRACT_CHECKS, there.namespace)).items
    around, now = Around(checks=checks, versions=await there.versions()), caller.clock.now().timestamp()
    lines = [_contract(one, explain_contract(one, around, now)) for one in found[:limit]]
    return ContractList(contracts=lines, total=len(found))


def conditions(found: Iterable[Condition]) -> list[ConditionFact]:
    """Conditions; their messages quote what others wrote."""
    return [
        ConditionFact(type=c.type, status=c.status, reason=c.reason, untrusted=quoted(message=c.message)) for c in found
    ]


def moment(at: Moment | float | None) -> str | None:
    """A time as text."""
    return None if at is None else str(Moment(at))


async def _one(there: Cluster, name: str) -> tuple[KubeObject, RolloutInfo, list[KubeObject]]:
    """The Rollout, what there is to say of it, and the operators' Leases."""
    found = await there.rollout(name)
    requests, versions, leases = await there.requests(name), await there.versions(), await there.leases()
    return found, info_of(found, requests, versions, leases=leases), leases


def _name(found: KubeObject) -> str:
    return str(found["metadata"]["name"])


def _line(info: RolloutInfo, leases: list[KubeObject]) -> dict[str, Any]:
    return {
        "namespace": info.namespace,
        "name": info.name,
        "phase": info.phase,
        "ready": info.ready,
        "operator_silent": True if info.silence is not None else operator_silent(leases, info.now),
        "release": info.release,
        "stage": info.stage.name if info.stage is not None else "",
        "weight": info.weight,
        "stable": _version(info.stable),
        "candidate": _version(info.candidate),
        "untrusted": quoted(message=info.message, waits_for=waits_for(info)),
    }


def _version(found: Version | None) -> VersionFact | None:
    return None if found is None else VersionFact(name=found.name, label=found.label, digest=found.digest)


def _gate(gate: Gate) -> GateFact:
    return GateFact(
        name=gate.name,
        verdict=gate.verdict,
        value=gate.value,
        stable_value=gate.stable_value,
        bad=gate.candidate.bad,
        requests=gate.candidate.total,
        untrusted=quoted(message=gate.message),
    )


def _release(release: Release) -> ReleaseFact:
    return ReleaseFact(
        release=release.release,
        version=release.candidate.name,
        outcome=release.outcome,
        reason=release.reason,
        finished_at=moment(release.finished_at),
        untrusted=quoted(message=release.message, requested_by=release.requested_by),
    )


def _contract(found: KubeObject, told: ContractExplanation) -> ContractLine:
    node = Node(found)
    return ContractLine(
        namespace=node.text("metadata", "namespace"),
        name=node.text("metadata", "name"),
        verdict=node.text("status", "verdict"),
        digest=node.text("status", "digest"),
        used_by=list(node.texts("status", "usedBy")[:MOST]),
        drift=[
            DriftFact(key=d.text("key"), verdict=d.text("verdict"), total_variation=d.number("totalVariation"))
            for d in node.items("status", "drift")
            if d.text("verdict") != "Pass"
        ][:MOST],
        untrusted=quoted(headline=told.headline, wrong=told.wrong),
    )
