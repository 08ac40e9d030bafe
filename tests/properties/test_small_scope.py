"""Every state that one canary of two stages can reach, with faults at any moment, against every promise.

Breadth first over states that are told apart only by what matters: times relative to now, no texts, no history. Time
moves to the next moment that the status waits for. Each fault happens at most once on a path, and at most ``FAULTS`` of
them (``WEIR_FAULTS``, one by default: two take hours and gigabytes).
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from tests.properties.cluster import Cluster, Quality
from tests.properties.contracted import CLEAN
from tests.properties.invariants import watched
from tests.properties.specs import canary, gate, make_spec
from weir.api.rolloutstatus import RolloutStatus, VersionStatus
from weir.contract.finding import Finding
from weir.release.instead import wanted
from weir.release.observation import Problem, Share
from weir.release.traffic import SETTLE

FAULTS = int(os.environ.get("WEIR_FAULTS", "1"))
"""Faults on one path."""

TURNS = 60
"""Looks after which everything has come to rest once faults stop."""

MIN_DURATION, MAX_WAIT = 30.0, 40.0
_INSTANT = 0.004

NEEDED = [{"before": "Switch", "from": {"group": "sre"}, "expiresAfter": "50s"}]

State = tuple[Any, ...]
Act = Callable[[Cluster], object]

ORDINARY: dict[str, Act] = {
    "look": lambda c: c.reconcile(),
    "pods": lambda c: c.all_ready(),
    "gateway": lambda c: c.accept(),
    "requests": lambda c: c.pass_time(_INSTANT),
    "time": lambda c: c.pass_time(max(0.0, next_moment(c) - c.now)),
}


def behave(quality: Quality) -> Act:
    return lambda c: c.quality.update(v2=quality)


def lose_pod(version: str) -> Act:
    def lose(c: Cluster) -> None:
        name = c.target_of(version).pool
        c.ready(name, max(0, c.pools[name].ready - 1) if name in c.pools else 0)

    return lose


def without_version(c: Cluster) -> None:
    c.versions = c.versions - {c.spec.version_ref.name}


def block(c: Cluster) -> None:
    c.blockers = (Problem("GatewayNotFound", "there is no gateway", terminal=True),)


def pause_with_bad(c: Cluster) -> None:
    c.edit(paused=True)
    c.quality["v2"] = Quality.BAD


def broken(effect: str) -> Act:
    """v2's data breaks its contract, until faults stop."""

    def say(c: Cluster) -> None:
        finding = Finding("orders", "Check", "Fail", effect, "out of order", grace=20.0)  # type: ignore[arg-type]
        c.contracts = {"v1": CLEAN, "v2": replace(CLEAN, findings=(finding,)), "v3": CLEAN}

    return say


def delete(c: Cluster) -> None:
    c.deleting = True


ONCE: dict[str, Act] = {
    **{f"crash before write {k}": partial(Cluster.reconcile, crash_at=k) for k in range(4)},
    **{f"write {k} fails": partial(Cluster.reconcile, fail_at=k) for k in range(3)},
    "restart": lambda c: c.restart(),
    "stale look": lambda c: c.reconcile(stale=2),
    "candidate loses a pod": lose_pod("v2"),
    "stable loses a pod": lose_pod("v1"),
    "gateway refuses": lambda c: c.refuse(),
    **{f"candidate is {q}": behave(q) for q in (Quality.BAD, Quality.SILENT, Quality.ERROR, Quality.ONE_ARM)},
    "abort": lambda c: c.ask("Abort", "abort"),
    "promote": lambda c: c.ask("Promote", "promote"),
    "skip": lambda c: c.ask("Skip", "skip"),
    "rollback": lambda c: c.ask("Rollback", "rollback"),
    "limit": lambda c: c.ask("ShiftTraffic", "limit", weight=20),
    "nothing": lambda c: c.ask("ShiftTraffic", "nothing", weight=0),
    "another version": lambda c: c.ask("Release", "another", version="v3"),
    "drill": lambda c: c.ask("Drill", "drill", expiresAfter="100s"),
    "approval is needed": lambda c: c.edit(approvals=NEEDED),
    "pause for a while": lambda c: c.ask("Pause", "pause", duration="20s"),
    "paused": lambda c: c.edit(paused=True),
    "paused and bad": pause_with_bad,
    "resumed": lambda c: c.edit(paused=False),
    "supersede": lambda c: c.release("v3"),
    "revert": lambda c: c.release("v1"),
    "contract blocks": broken("BlockPromotion"),
    "contract pauses": broken("Pause"),
    "contract puts back": broken("Rollback"),
    "version goes": without_version,
    "blocked": block,
    "delete": delete,
}


def start() -> Cluster:
    """v1 serves, v2 is asked for."""
    gates = [gate(max=None, maxWait="40s", onInsufficient="Rollback", onNoData="Rollback")]
    rollback = {"keepFor": "10s", "drain": "5s", "historyLimit": 0}
    cluster = Cluster(make_spec(strategy=canary(50, bake="30s"), gates=gates, rollback=rollback))
    cluster.run()
    cluster.release("v2")
    return watched(cluster)


def moments(status: RolloutStatus) -> list[float | None]:
    """Times that the status waits for."""
    stage, ending, pause = status.stage, status.ending, status.pause
    times = [
        status.deadline,
        *(a.deadline for a in status.approvals),
        *(f.rollback_at for f in (status.contracts.findings if status.contracts is not None else ())),
        *(r.warm_until for r in status.retained),
        pause.until if pause else None,
    ]
    if stage is not None and stage.accepted_at is not None:
        times.append(stage.accepted_at + SETTLE)
    if stage is not None and stage.evidence_from is not None:
        times += [stage.evidence_from + MIN_DURATION, stage.evidence_from + MAX_WAIT]
    if ending is not None:
        times += [ending.drain_until, ending.since + 60.0]
    return times


def next_moment(cluster: Cluster) -> float:
    """The first of them that lies ahead; now when nothing does."""
    return min((t for t in moments(cluster.status) if t is not None and t > cluster.now), default=cluster.now)


def canonical(c: Cluster) -> State:
    """What tells states apart."""

    def ago(time: float | None) -> float | None:
        return None if time is None else max(-MAX_WAIT, round(time - c.now))

    status = c.status
    stage, ending = status.stage, status.ending
    return (
        (
            status.release,
            revision(status.stable),
            revision(status.candidate),
            status.weight,
            status.phase,
            status.verdict,
        ),
        stage and (stage.index, stage.name, ago(stage.accepted_at), ago(stage.evidence_from)),
        ending and (ending.outcome, ago(ending.since), ago(ending.drain_until)),
        tuple((g.name, g.verdict, g.successes, g.failures, g.pending_candidate.total) for g in status.gates),
        (status.hold and status.hold.reason, ago(status.deadline), ago(status.paused_at), status.force is None),
        (status.pause and ago(status.pause.until), status.restoring, status.skip is None, status.asked),
        (status.ceiling and status.ceiling.weight, ago(status.lifted_at), wanted(c.spec, status)),
        status.contracts and tuple((f.effect, ago(f.since)) for f in status.contracts.findings),
        tuple(f.effect for told in c.contracts.values() if told is not None for f in told.findings),
        tuple((a.state, len(a.consents), ago(a.deadline)) for a in status.approvals),
        tuple((r.pool, ago(r.warm_until)) for r in status.retained),
        tuple(f.revision for f in status.failed),
        (len(status.history), len(c.records), len(c.waiting), c.deleting, c.finalizer, c.gateway_works),
        tuple((h.release, h.outcome) for h in status.history),
        (
            c.spec.version_ref.name,
            c.spec.paused,
            len(c.spec.approvals),
            c.versions,
            len(c.blockers),
            c.quality.get("v2"),
        ),
        tuple(sorted((p.name, p.desired, p.ready) for p in c.pools.values())),
        (tuple(sorted(c.route.weights.items())), c.route.accepted, tuple(sorted(c.served.items()))),
        (c.warm_up, c.warmed, c.memory is None),
        c.collector
        and (tuple(c.collector.collect.key.split("/")[:2]), c.collector.collect.judging, shared(c.collector.share)),
        tuple(
            (w.gate, w.error, w.candidate.total, w.candidate.bad) for w in (c.collector.windows if c.collector else ())
        )[-2:],
    )


def revision(version: VersionStatus | None) -> str:
    return version.revision if version is not None else ""


def shared(share: Share | None) -> tuple[int, ...] | None:
    """A share without regard to how many requests beyond what settles it."""
    return None if share is None else (min(share.candidate, 100), min(share.stable, 100))


def key(c: Cluster, used: frozenset[str]) -> State:
    return (hash(canonical(c)), used)


def explore() -> tuple[int, int, dict[int, Cluster]]:
    """All reachable states: how many with and without regard to faults used, and one cluster for each of the latter."""
    first = start()
    seen = {key(first, frozenset())}
    places = {seen_key[0]: first for seen_key in seen}
    queue: deque[tuple[Cluster, frozenset[str], tuple[str, ...]]] = deque([(first, frozenset(), ())])
    decisions = 0
    while queue:
        cluster, used, path = queue.popleft()
        faults = [name for name in ONCE if name not in used] if len(used) < FAULTS else []
        for name in (*ORDINARY, *faults):
            twin = cluster.clone()
            try:
                (ORDINARY.get(name) or ONCE[name])(twin)
            except AssertionError as broken:
                raise AssertionError(f"{broken or broken.__traceback__}; after {' > '.join((*path, name))}") from broken
            decisions += 1
            after = used if name in ORDINARY else used | {name}
            found = key(twin, after)
            if found not in seen:
                seen.add(found)
                places.setdefault(found[0], twin)
                queue.append((twin, after, (*path, name)))
    return len(seen), decisions, places


def rest(cluster: Cluster, known: dict[int, int]) -> int:
    """Looks until nothing changes any more once faults stop; ``known``: for states met before."""
    cluster.gateway_works, cluster.blockers, cluster.quality = True, (), {}
    cluster.contracts = {}
    cluster.versions = frozenset({"v1", "v2", "v3"})
    if cluster.spec.paused:
        cluster.edit(paused=False)
    if cluster.status.ceiling is not None:
        cluster.ask("ShiftTraffic", "lift", weight=100)
    path: list[int] = []
    length = 0
    for _ in range(TURNS):
        place = hash(canonical(cluster))
        if place in known:
            length = known[place]
            break
        path.append(place)
        if not turn(cluster):
            break
    else:
        raise AssertionError(f"no rest after {TURNS} looks: {cluster.status.phase} {cluster.status.message}")
    for place in reversed(path):
        length += 1
        known[place] = length
    return length


def turn(cluster: Cluster) -> bool:
    """One look in a healthy world; False at a fixpoint, where the look wrote nothing and waits for nothing."""
    before, memory = cluster.picture(), cluster.status
    decision = cluster.reconcile()
    quiet = cluster.picture() == before
    cluster.all_ready()
    cluster.accept()
    if cluster.picture() != before or cluster.status != memory:
        return True
    if decision.wake_at is None:
        assert quiet
        if cluster.gone:
            return False
        cluster.pass_time(1000.0)
        cluster.reconcile()
        assert cluster.picture() == before, "a converged object was written to"
        return False
    step = decision.wake_at - cluster.now
    cluster.pass_time(min(step, 10.0) if cluster.collector is not None else step)
    return True


def test_given_one_canary_when_every_fault_hits_at_every_moment_then_all_promises_hold_and_it_comes_to_rest() -> None:
    states, decisions, places = explore()
    known: dict[int, int] = {}
    longest = max(rest(cluster.clone(), known) for cluster in places.values())
    print(
        f"{states} states ({len(places)} without regard to faults used), {decisions} steps, rest after {longest} looks"
    )
    assert longest <= TURNS
    reached = {str(cluster.status.phase) for cluster in places.values()}
    assert {
        "WarmUp",
        "Shifting",
        "Bake",
        "Promoted",
        "Held",
        "RollingBack",
        "RolledBack",
        "Paused",
        "Preflight",
        "AwaitingApproval",
    } <= reached
