"""Starting points that the scenarios share; every decision in them is held against all promises as well."""

from __future__ import annotations

from typing import Any

from tests.properties.cluster import Cluster
from tests.properties.invariants import watched
from tests.properties.specs import make_spec
from weir.api.base import Condition
from weir.api.rolloutstatus import RolloutStatus


def fresh(**changes: Any) -> Cluster:
    """A Rollout that has never released anything."""
    return watched(Cluster(make_spec(**changes)))


def serving(**changes: Any) -> Cluster:
    """v1 serves all traffic; ``approvals`` are asked for from then on."""
    approvals = changes.pop("approvals", None)
    cluster = fresh(**changes)
    cluster.run()
    assert cluster.status.stable is not None
    if approvals:
        cluster.edit(approvals=approvals)
    return cluster


def releasing(stage: str = "Traffic(10)", **changes: Any) -> Cluster:
    """v2 is being released over v1 and gates are judged in that stage."""
    cluster = serving(**changes)
    cluster.release("v2")
    cluster.run(lambda: judged(cluster.status, stage))
    return cluster


def judged(status: RolloutStatus, stage: str) -> bool:
    """Whether the release is in that stage and its evidence has begun."""
    return status.stage is not None and status.stage.name == stage and status.stage.evidence_from is not None


def trail(cluster: Cluster) -> list[tuple[str, int]]:
    """From now on notes every change of (stage, weight) that is decided."""
    found: list[tuple[str, int]] = []
    check = cluster.watch

    def note(c: Cluster, before: RolloutStatus, obs: Any, decision: Any) -> None:
        if check is not None:
            check(c, before, obs, decision)
        stage = decision.status.stage.name if decision.status.stage else ""
        if not found or found[-1] != (stage, decision.status.weight):
            found.append((stage, decision.status.weight))

    cluster.watch = note
    return found


def conditions(status: RolloutStatus) -> dict[str, Condition]:
    """Conditions by type."""
    return {c.type: c for c in status.conditions}


def outcome(cluster: Cluster, release: int | None = None) -> tuple[str, str]:
    """(outcome, reason) of a release, the last one by default."""
    record = cluster.records[release or max(cluster.records)]
    return str(record.outcome), record.reason


def approval(before: str, quorum: int = 1, expires: str = "24h", name: str | None = None) -> dict[str, Any]:
    """An approval by the group sre."""
    fields = {"before": before, "from": {"group": "sre"}, "quorum": quorum, "expiresAfter": expires}
    return fields | ({"name": name} if name else {})


def approve(cluster: Cluster, name: str, by: str = "ada", digest: str | None = None) -> str:
    """Somebody consents to what the status asks for (or to ``digest``), and the operator looks; returns the result."""
    entry = next((a for a in cluster.status.approvals if a.name == name), None)
    wanted = digest or (entry.digest if entry is not None else "sha256:" + "0" * 64)
    uid = cluster.ask("Approve", requester=by, approval={"name": name, "digest": wanted})
    cluster.reconcile()
    return cluster.results[uid]


def do(cluster: Cluster, action: str, **fields: Any) -> str:
    """Somebody asks, and the operator looks once; the result, or what the request waits for."""
    uid = cluster.ask(action, **fields)
    cluster.reconcile()
    return cluster.results.get(uid) or f"Pending: {cluster.waiting[uid].pending}"


def reasons(cluster: Cluster) -> list[str]:
    """Reasons of the decisions of the current or last release."""
    return [entry.reason for entry in cluster.status.decisions]
