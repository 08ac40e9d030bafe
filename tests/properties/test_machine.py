"""Random interleavings of edits, faults and time against every promise of the release machine."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.properties.cluster import Cluster, Quality
from tests.properties.contracted import CLEAN, STANDINGS
from tests.properties.invariants import settles, watched
from tests.properties.specs import blue_green, canary, gate, make_spec, ramp
from weir.api.base import format_time
from weir.contract.finding import Standing
from weir.release.observation import Permission, Problem

VERSIONS = ("v1", "v2", "v3")
STRATEGIES: tuple[dict[str, Any], ...] = (
    canary(10, 50),
    canary(50),
    canary(5, 25, 50, 75, min_duration="5s"),
    canary(30, min_duration="60s", bake="5s"),
    blue_green(),
    ramp(),
    ramp(4, minWeight=10, maxWeight=40, minDwell="5s"),
)
VERBS = ("Promote", "Abort", "Retry", "Resume", "Skip", "Rollback", "Drill")
ROBOT = "system:serviceaccount:ci:robot"
PEOPLE = ("ada", "bob", "carol", "somebody", ROBOT)
AGENTS: tuple[dict[str, Any], ...] = (
    *({"action": action} for action in ("Promote", "Abort", "Retry", "Pause", "Resume", "Skip", "Rollback")),
    *({"action": "ShiftTraffic", "weight": weight} for weight in (0, 10, 20, 60, 100)),
    {"action": "Release", "version": "v3"},
)
GRANTED = Permission("Granted")


def approvals(*befores: str, quorum: int = 1) -> list[dict[str, Any]]:
    """Approvals by the group sre, for a short time."""
    return [{"before": b, "from": {"group": "sre"}, "quorum": quorum, "expiresAfter": "100s"} for b in befores]


APPROVALS: tuple[list[dict[str, Any]], ...] = (
    [],
    approvals("Traffic(25)"),
    approvals("Switch", "Promote"),
    approvals("Traffic(1)", quorum=2),
    approvals("Traffic(40)", "Traffic(60)", "Promote"),
)
GATES: tuple[list[dict[str, Any]], ...] = (
    [gate()],
    [gate(max=None), gate("slow", template="http-latency", over="100ms", consecutiveSuccess=2)],
    [gate("value", template="threshold", max="10", query="up"), gate(failureLimit=1)],
    [gate("patient", maxWait="40s", onInsufficient="Rollback", onError="Rollback")],
    [gate("gateway", template="gateway-errors", maxWait="40s")],
)


class Release(RuleBasedStateMachine):
    """One Rollout, lived through by all that can happen to it."""

    @initialize(
        strategy=st.sampled_from(STRATEGIES),
        gates=st.sampled_from(GATES),
        replicas=st.integers(1, 4),
        forward=st.booleans(),
        turns=st.integers(0, 25),
        needed=st.sampled_from(APPROVALS),
        earlier=st.booleans(),
    )
    def begin(
        self,
        strategy: dict[str, Any],
        gates: list[dict[str, Any]],
        replicas: int,
        forward: bool,
        turns: int,
        needed: list[dict[str, Any]],
        earlier: bool,
    ) -> None:
        """Without a version, or somewhere in a release of v2 over v1; ``earlier``: v2 serves and v1 did before."""
        rollback = {"keepFor": "60s", "historyLimit": 1, "onStableUnhealthy": "FixForward" if forward else "Hold"}
        spec = make_spec(strategy=strategy, gates=gates, replicas=replicas, rollback=rollback)
        self.cluster = watched(Cluster(spec))
        if turns:
            self.cluster.run()
            self.cluster.release("v2")
            if earlier:
                self.cluster.run(lambda: self.cluster.status.release == 2 and 2 in self.cluster.records)
            self.cluster.edit(approvals=needed)
            self.go_on(0 if earlier else turns)

    def go_on(self, turns: int) -> None:
        for _ in range(turns):
            decision = self.cluster.reconcile()
            self.cluster.all_ready()
            self.cluster.accept()
            if decision.wake_at is not None:
                self.cluster.pass_time(min(10.0, max(0.0, decision.wake_at - self.cluster.now)))

    # The operator

    @rule(stale=st.integers(0, 3))
    def look(self, stale: int) -> None:
        self.cluster.reconcile(stale=stale)

    @rule(at=st.integers(0, 6))
    def crash(self, at: int) -> None:
        self.cluster.reconcile(crash_at=at)

    @rule(at=st.integers(0, 6))
    def lose_a_write(self, at: int) -> None:
        self.cluster.reconcile(fail_at=at)

    @rule()
    def restart(self) -> None:
        self.cluster.restart()

    # The world as it should be; several rules, so that releases get somewhere

    @rule(turns=st.integers(1, 8))
    def go_well(self, turns: int) -> None:
        self.go_on(turns)

    @rule()
    def everything_is_ready(self) -> None:
        self.cluster.all_ready()
        self.cluster.accept()

    @rule(seconds=st.sampled_from([0.5, 1.0, 10.0, 31.0]))
    def time_passes(self, seconds: float) -> None:
        self.cluster.pass_time(seconds)

    @rule(seconds=st.sampled_from([59.0, 205.0, 3600.0]))
    def the_clock_jumps(self, seconds: float) -> None:
        self.cluster.pass_time(seconds)

    @rule()
    def wake(self) -> None:
        decision = self.cluster.reconcile()
        if decision.wake_at is not None:
            self.cluster.pass_time(decision.wake_at - self.cluster.now)
            self.cluster.reconcile()

    # The world as it is

    @rule(stable=st.integers(0, 4), candidate=st.integers(0, 4), look=st.booleans())
    def pods_come_and_go(self, stable: int, candidate: int, look: bool) -> None:
        status = self.cluster.status
        for version, count in ((status.stable, stable), (status.candidate, candidate)):
            if version is not None:
                self.cluster.ready(version.pool, count)
        if look:
            self.cluster.reconcile()

    @rule(works=st.booleans())
    def gateway(self, works: bool) -> None:
        self.cluster.gateway_works = works
        if not works:
            self.cluster.refuse()

    @rule(version=st.sampled_from(VERSIONS), quality=st.sampled_from(list(Quality)))
    def version_behaves(self, version: str, quality: Quality) -> None:
        self.cluster.quality[version] = quality

    @rule(quality=st.sampled_from(list(Quality)), windows=st.integers(1, 5))
    def candidate_shows(self, quality: Quality, windows: int) -> None:
        for version in VERSIONS:
            self.cluster.quality[version] = quality
        for _ in range(windows):
            self.cluster.pass_time(10.0)
            self.cluster.reconcile()

    @rule(right=st.booleans())
    def gateway_keeps_shares(self, right: bool) -> None:
        self.cluster.share_right = right

    @rule(blocked=st.booleans())
    def preflight(self, blocked: bool) -> None:
        self.cluster.blockers = (Problem("GatewayNotFound", "there is no gateway", terminal=True),) if blocked else ()

    @rule(version=st.sampled_from(VERSIONS), standing=st.sampled_from(STANDINGS), turns=st.integers(0, 3))
    def contracts_say(self, version: str, standing: Standing | None, turns: int) -> None:
        self.cluster.contracts = {**dict.fromkeys(VERSIONS, CLEAN), **self.cluster.contracts, version: standing}
        self.go_on(turns)

    @rule(none=st.booleans())
    def contracts_are_repaired(self, none: bool) -> None:
        self.cluster.contracts = {} if none else dict.fromkeys(VERSIONS, CLEAN)

    @rule(mode=st.sampled_from(["Enforce", "Enforce", "Warn", "Ignore"]))
    def edit_contracts(self, mode: str) -> None:
        self.cluster.edit(contracts={"mode": mode})

    @rule(version=st.sampled_from(VERSIONS), there=st.booleans())
    def version_comes_and_goes(self, version: str, there: bool) -> None:
        self.cluster.versions = self.cluster.versions | {version} if there else self.cluster.versions - {version}

    # People

    @rule(version=st.sampled_from(VERSIONS), by=st.sampled_from(PEOPLE))
    def edit_version(self, version: str, by: str) -> None:
        if self.cluster.spec.version_ref.name != version:
            self.cluster.authors = (by,)
        self.cluster.release(version)

    @rule(replicas=st.integers(1, 4))
    def edit_replicas(self, replicas: int) -> None:
        self.cluster.edit(replicas=replicas)

    @rule(strategy=st.sampled_from(STRATEGIES), by=st.sampled_from(PEOPLE))
    def edit_plan(self, strategy: dict[str, Any], by: str) -> None:
        self.cluster.authors = tuple(dict.fromkeys((*self.cluster.authors, by)))
        self.cluster.edit(strategy=strategy)

    @rule(needed=st.sampled_from(APPROVALS))
    def edit_approvals(self, needed: list[dict[str, Any]]) -> None:
        self.cluster.edit(approvals=needed)

    @rule(paused=st.booleans())
    def edit_paused(self, paused: bool) -> None:
        self.cluster.edit(paused=paused)

    @rule()
    def edit_template(self) -> None:
        self.cluster.template = 1 - self.cluster.template
        self.cluster.generation += 1

    @rule()
    def edit_a_label(self) -> None:
        self.cluster.generation += 1

    @rule(action=st.sampled_from(VERBS), by=st.sampled_from(PEOPLE))
    def ask(self, action: str, by: str) -> None:
        """Drills do not wait for long, so that everything comes to rest."""
        self.cluster.ask(action, requester=by, expiresAfter="120s" if action == "Drill" else "1h")

    @rule(
        action=st.sampled_from(VERBS),
        age=st.sampled_from([0.0, 100.0, 4000.0]),
        expect=st.sampled_from([{}, {"release": 2}, {"stage": "Bake"}, {"weight": 0}]),
    )
    def ask_perhaps_in_vain(self, action: str, age: float, expect: dict[str, Any]) -> None:
        self.cluster.ask(action, age=age, expiresAfter="120s", expect=expect)

    @rule(weight=st.sampled_from([0, 1, 20, 60, 100]), turns=st.integers(0, 3))
    def ask_for_a_limit(self, weight: int, turns: int) -> None:
        self.cluster.ask("ShiftTraffic", weight=weight)
        self.go_on(turns)

    @rule(version=st.sampled_from(VERSIONS), look=st.booleans())
    def ask_for_another_version(self, version: str, look: bool) -> None:
        self.cluster.ask("Release", version=version)
        if look:
            self.cluster.reconcile()

    @rule(
        asked=st.sampled_from(AGENTS),
        standing=st.sampled_from([None, Permission("Waiting"), Permission("Denied"), GRANTED, GRANTED]),
        lasts=st.sampled_from([None, 0.0, 20.0]),
    )
    def an_agent_asks(self, asked: dict[str, Any], standing: Permission | None, lasts: float | None) -> None:
        """What it may not do yet does not wait for long, so that everything comes to rest."""
        if standing == GRANTED and lasts is not None:
            standing = Permission("Granted", "approved by ada", self.cluster.now + lasts)
        self.cluster.ask(standing=standing, permit="some", requester=ROBOT, expiresAfter="120s", **asked)

    @rule(version=st.sampled_from(VERSIONS))
    def ask_for_an_earlier_version(self, version: str) -> None:
        self.cluster.ask("Rollback", version=version)

    @rule(wait=st.sampled_from([0.0, 40.0, 300.0]))
    def ask_for_a_drill_later(self, wait: float) -> None:
        self.cluster.ask("Drill", notBefore=format_time(self.cluster.now + wait), expiresAfter="120s")

    @rule(by=st.sampled_from(PEOPLE), place=st.integers(0, 2), right=st.integers(0, 4), look=st.booleans())
    def approve(self, by: str, place: int, right: int, look: bool) -> None:
        entries = self.cluster.status.approvals
        if entries:
            entry = entries[place % len(entries)]
            seen = entry.digest if right else "sha256:" + "0" * 64
            self.cluster.ask("Approve", requester=by, approval={"name": entry.name, "digest": seen})
        if look:
            self.cluster.reconcile()

    @rule()
    def everybody_approves(self) -> None:
        """So that releases get past their approvals, too."""
        for _ in range(2):
            for entry in self.cluster.status.approvals:
                for by in ("dora", "emil"):
                    self.cluster.ask("Approve", requester=by, approval={"name": entry.name, "digest": entry.digest})
            self.cluster.reconcile()
            self.go_on(3)

    @rule(problem=st.sampled_from([None, None, "a forged requester was let in"]))
    def admission(self, problem: str | None) -> None:
        self.cluster.admission_problem = problem

    @rule(duration=st.sampled_from([None, "20s", "1000s"]))
    def ask_for_a_pause(self, duration: str | None) -> None:
        self.cluster.ask("Pause", duration=duration)

    @precondition(lambda self: not self.cluster.deleting and self.cluster.records)
    @rule(sure=st.integers(0, 9))
    def delete(self, sure: int) -> None:
        if sure == 0:
            self.cluster.deleting = True

    # What must hold between decisions, too

    @invariant()
    def traffic_has_a_pool(self) -> None:
        for pool, weight in self.cluster.route.weights.items():
            assert not weight or pool in self.cluster.pools, f"{pool} has {weight} % of the traffic and is gone"

    @invariant()
    def traffic_has_pods(self) -> None:
        """Weir itself takes no pods from a pool that the route still sends requests to."""
        for pool, weight in self.cluster.route.weights.items():
            assert not weight or self.cluster.pools[pool].desired, f"{pool} has {weight} % of the traffic and no pods"

    def teardown(self) -> None:
        """Once faults stop, everything comes to rest."""
        if not hasattr(self, "cluster"):
            return
        cluster = self.cluster
        cluster.gateway_works, cluster.share_right, cluster.blockers = True, True, ()
        cluster.versions, cluster.quality = frozenset(VERSIONS), {}
        cluster.admission_problem = None
        cluster.contracts = dict.fromkeys(VERSIONS, CLEAN) if cluster.contracts else {}
        cluster.edit(paused=False)
        cluster.ask("Resume")
        cluster.ask("ShiftTraffic", weight=100)
        settles(cluster)
        if not cluster.deleting:
            status = cluster.status
            asked, stable = cluster.target, status.stable
            failed = {f.revision for f in status.failed}
            assert asked is not None
            assert (stable is not None and stable.revision == asked.revision) or asked.revision in failed, (
                status.message
            )
        assert cluster.gone == cluster.deleting


Release.TestCase.settings = settings(
    max_examples=int(os.environ.get("WEIR_EXAMPLES", "200")),
    stateful_step_count=40,
    derandomize=True,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestRelease = Release.TestCase
