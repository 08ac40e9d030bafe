"""Situations that people meet, each played through the real release machine until it stands there.

``python -m tests.unit.view.situations`` writes them to ``situations/NAME.yaml`` anew; a test checks that what is there is
what comes out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.unit.view import contracted as told
from tests.unit.view.world import World, canary, make_spec
from weir.api.base import format_time
from weir.release.observation import Permission, Problem, Share

FOLDER = Path(__file__).parent / "situations"

AGENT = "system:serviceaccount:team-a:drift-agent"

SITUATIONS: dict[str, Callable[[], dict[str, Any]]] = {}
"""Name → how to get there; gives ``now``, ``rollout``, ``requests``, ``records``, ``versions``."""


def situation(play: Callable[[], World | dict[str, Any]]) -> Callable[[], World | dict[str, Any]]:
    """Lists a situation under the function's name."""

    def objects() -> dict[str, Any]:
        found = play()
        return found.objects() if isinstance(found, World) else found

    SITUATIONS[play.__name__.replace("_", "-")] = objects
    return play


@situation
def low_traffic() -> World:
    """Held: too few requests to judge by within maxWait."""
    world = World(rate=1.5).serve()
    return world.reach("Traffic(10)").wait(900)


@situation
def evidence_on_its_way() -> World:
    """Nothing wrong: counts come in, the proof grows."""
    world = World(rate=40, shares={"digits-v1": 0.012, "digits-v2": 0.012}).serve()
    return world.reach("Traffic(25)").wait(65)


@situation
def pods_not_ready() -> World:
    """The image cannot be pulled."""
    world = World().serve()
    problem = Problem(
        "ImagePullBackOff",
        'container model: failed to pull and unpack image "registry.example/digits:v2": not found',
    )
    world.stuck("digits-v2", 0, problem)
    world.release("digits-v2")
    return world.wait(150)


@situation
def pods_crash() -> World:
    """The server ends again and again; one pod of the two that the next step needs is ready."""
    world = World(rate=60).serve().reach("Traffic(25)")
    world.run(lambda: world.status.stage is not None and world.status.stage.name == "Traffic(50)", limit=4000)
    problem = Problem("CrashLoopBackOff", "container model exits with code 1: RuntimeError: CUDA out of memory")
    world.stuck("digits-v2", 1, problem)
    return world.wait(90)


@situation
def wrong_digest() -> World:
    """The weights are not those that the ModelVersion names."""
    world = World().serve()
    problem = Problem(
        "ArtifactDigestMismatch",
        "expected sha256:9ab28c5af588f583259d0a833c906a7c575622e37ac190aad255679d95688aab, "
        "got sha256:1f3870be274f6c49b3e31a0c6728957f0c5a3e1b7a8e0c9d7f5a0b1c2d3e4f50",
        terminal=True,
    )
    world.stuck("digits-v2", 0, problem)
    world.release("digits-v2")
    return world.wait(60)


@situation
def version_missing() -> World:
    """versionRef names a ModelVersion that is not there."""
    world = World().serve()
    world.release("digits-v4")
    return world.wait(60)


@situation
def version_incomplete() -> World:
    """The ModelVersion exists and cannot be used."""
    world = World().serve()
    world.target_fault = Problem(
        "ModelVersionInvalid", "ModelVersion digits-v2: spec.artifact.digest: Field required", terminal=True
    )
    world.release("digits-v2")
    return world.wait(60)


@situation
def paused() -> World:
    """A person paused it in the middle."""
    world = World(rate=60).serve().reach("Traffic(10)").wait(60)
    world.ask("Pause", requester="alice", reason="looking at the latency graphs", duration="2h")
    return world.wait(720)


@situation
def paused_in_spec() -> World:
    """spec.paused is true, and a new version waits."""
    world = World(rate=60).serve()
    world.edit(paused=True)
    world.release("digits-v2")
    return world.wait(600)


@situation
def rolled_back() -> World:
    """The candidate was proven worse."""
    world = World(rate=60, shares={"digits-v2": 0.055}).serve()
    world.release("digits-v2")
    return world.until(lambda: bool(world.status.history) and len(world.status.history) > 1).wait(300)


@situation
def rolling_back() -> World:
    """The candidate was proven worse a moment ago; traffic goes back."""
    world = World(rate=60, shares={"digits-v2": 0.055}).serve()
    world.edit(rollback={"keepFor": "10m", "drain": "30s"})
    world.release("digits-v2")
    return world.until(lambda: world.status.ending is not None).wait(10)


@situation
def budget_frozen() -> World:
    """The service's error budget is spent, so nothing advances."""
    spec = make_spec(
        errorBudget={"objective": "0.999", "window": "720h"},
        metrics={"prometheus": {"address": "http://prometheus.monitoring:9090"}},
    )
    world = World(spec, rate=60)
    world.spend(0.4)
    world.serve()
    world.spend(1.12)
    world.release("digits-v2")
    return world.wait(300)


@situation
def gateway_refuses() -> World:
    """The gateway does not take the route."""
    world = World(rate=60).serve().reach("Traffic(10)")
    world.gateway_works = False
    world.run(lambda: world.status.stage is not None and world.status.stage.name == "Traffic(25)", limit=4000)
    said = "Gateway weir: Accepted=False, NotAllowedByListeners: listener http does not allow routes from team-a"
    world.route = replace(world.route, problem=Problem("RouteNotAccepted", said))
    return world.wait(60)


@situation
def gateway_lacks_feature() -> World:
    """The GatewayClass does not have what the matches need."""
    matches = [{"method": "POST"}]
    gateway = {"parentRefs": [{"name": "weir", "namespace": "weir-gateway"}], "matches": matches}
    world = World(make_spec(traffic={"gateway": gateway})).serve()
    world.blockers = (
        Problem(
            "FeatureNotSupported",
            "traffic.gateway.matches uses method, which needs HTTPRouteMethodMatching: the GatewayClass does not claim "
            "it",
            terminal=True,
        ),
    )
    world.release("digits-v2")
    return world.wait(60)


@situation
def metrics_broken() -> World:
    """Counters could not be read for longer than maxWait."""
    world = World(rate=60).serve().reach("Traffic(10)").wait(30)
    world.broken = "pod digits-5f3c answers /metrics with 500"
    return world.wait(700)


@situation
def no_requests() -> World:
    """No request reaches the candidate."""
    world = World(rate=60).serve().reach("Traffic(10)")
    world.silent = True
    return world.wait(700)


@situation
def stable_unhealthy() -> World:
    """The version that serves has lost pods."""
    world = World(rate=60).serve().reach("Traffic(10)").wait(60)
    world.stuck("digits-v1", 1, Problem("Unschedulable", "0/4 nodes are available: 4 Insufficient cpu"))
    return world.wait(120)


@situation
def share_mismatch() -> World:
    """The candidate gets half of its share."""
    world = World(rate=200).serve().reach("Traffic(25)").wait(30)
    world.share_right = False
    assert world.collector is not None
    world.collector.share = Share(candidate=1400, stable=9300)
    return world.wait(120)


@situation
def contract_failed() -> World:
    """A check has found data that the contract forbids, in the middle of a release."""
    world = World(rate=60).serve()
    world.say(features=told.checked("Pass", world.now, ""))
    world.reach("Traffic(25)").wait(60)
    found = "digits.intensity: nulls are not allowed (required), observed 1204 of 180000 rows"
    world.say(features=told.checked("Fail", world.now, found))
    return world.wait(300)


@situation
def contract_check_pending() -> World:
    """The last verdict is too old, and the release waits for a new one."""
    world = World().serve()
    world.say(features=told.checked("Pass", world.now - 30 * 3600, ""))
    world.release("digits-v2")
    return world.wait(90)


@situation
def waiver_needed() -> World:
    """A pattern was changed: nobody can tell from the contracts whether the data still fits."""
    world = World().serve()
    world.say(features=told.changed_pattern())
    world.release("digits-v2")
    return world.wait(90)


@situation
def contract_forbids_split() -> World:
    """The new version takes requests that the old one does not, so the two must not share traffic."""
    world = World().serve()
    world.say(request=told.wider_requests())
    world.release("digits-v2")
    return world.wait(90)


@situation
def contract_incompatible() -> World:
    """The data may have nulls now, and the version was trained on data that had none."""
    world = World().serve()
    world.say(features=told.looser_data())
    world.release("digits-v2")
    return world.wait(90)


@situation
def drift_grace() -> World:
    """The data has drifted; the release is put back unless that ends within the grace."""
    world = World(rate=60).serve()
    world.say(features=told.drifting("Pass", world.now))
    world.reach("Traffic(25)").wait(60)
    world.say(features=told.drifting("Fail", world.now))
    return world.wait(300)


@situation
def not_rollbackable() -> World:
    """Nothing holds the release, but the version before would not fit the data any more."""
    world = World(rate=60).serve()
    world.say(features=told.new_data())
    return world.reach("Traffic(25)").wait(30)


@situation
def serving_data_broken() -> World:
    """No release runs, and the data of the version that serves breaks its contract."""
    world = World(rate=60).serve()
    found = "digits.intensity: nulls are not allowed (required), observed 1204 of 180000 rows"
    world.say(features=told.checked("Fail", world.now, found))
    return world.wait(900)


@situation
def aborted() -> World:
    """A person put it back."""
    world = World(rate=60).serve().reach("Traffic(25)").wait(60)
    world.ask("Abort", requester="bob", reason="complaints about wrong answers")
    return world.wait(600)


@situation
def operator_silent() -> dict[str, Any]:
    """Somebody changed the spec ten minutes ago, and the operator has not looked at it."""
    world = World().serve()
    world.release("digits-v2")
    world.now += 600
    return world.objects()


@situation
def operator_never_there() -> dict[str, Any]:
    """The Rollout was created, and no operator has ever seen it."""
    world = World()
    world.now += 240
    return world.objects()


@situation
def ramp_waits() -> World:
    """A ramp that has spent part of its risk budget and stands still."""
    ramp = {"riskBudget": 60, "reaction": "60s", "minDwell": "1m", "maxWeight": 50}
    world = World(make_spec(strategy={"canary": {"ramp": ramp, "bake": "5m"}}), rate=40).serve()
    world.shares = {"digits-v2": 0.004}
    return world.reach("Ramp").wait(900)


@situation
def ramp_spent() -> World:
    """A ramp whose risk budget is spent."""
    ramp = {"riskBudget": 14, "reaction": "60s", "minDwell": "1m", "maxWeight": 50}
    gate = {"template": "http-errors", "compare": {"failAbove": "5", "passBelow": "6"}}
    world = World(make_spec(gates=[gate], strategy={"canary": {"ramp": ramp, "bake": "5m"}}), rate=40).serve()
    world.shares = {"digits-v2": 0.0075}
    world.release("digits-v2")
    return world.until(lambda: len(world.status.history) > 1).wait(60)


@situation
def promoted() -> World:
    """All is well."""
    world = World(rate=200).serve().serve("digits-v2")
    return world


@situation
def baking() -> World:
    """All traffic, the old version still warm."""
    return World(rate=200).serve().reach("Bake").wait(60)


@situation
def first_version() -> World:
    """The first version of all starts."""
    world = World()
    world.stuck("digits-v1", 1)
    return world.wait(45)


@situation
def request_refused() -> World:
    """Somebody asked for something that was not possible, and wonders."""
    world = World(rate=60).serve().reach("Traffic(25)").wait(40)
    world.ask("Promote", requester="carol", reason="looks fine to me", expect={"stage": "Traffic(10)"})
    return world.wait(60)


APPROVALS = [
    {"name": "sre", "before": "Traffic(25)", "from": {"group": "sre"}, "quorum": 2},
    {"before": "Promote", "from": {"verb": "approve"}},
]
"""Two people of a group before 25 %, and one more before the promotion."""


def careful() -> World:
    """v1 serves, and dave has asked for approvals from now on."""
    world = World(rate=60, authors=("dave",)).serve()
    world.edit(approvals=APPROVALS)
    return world


@situation
def waits_for_approval() -> World:
    """One of two people has consented."""
    world = careful().reach("Traffic(10)").wait(200)
    world.approve("sre", "alice")
    return world.wait(600)


@situation
def approval_refused() -> World:
    """Who changed the Rollout tried to approve it."""
    world = careful().reach("Traffic(10)").wait(200)
    world.approve("sre", "dave")
    return world.wait(60)


@situation
def approvals_not_trusted() -> World:
    """The admission policies that vouch for approvers are not there."""
    world = careful().reach("Traffic(10)")
    world.admission_problem = "a request in somebody else's name was not refused by the API server"
    return world.wait(200)


@situation
def restoring() -> World:
    """A person puts the earlier version back; its pods are starting."""
    world = World(rate=200).serve().serve("digits-v2")
    world.stuck("digits-v1", 1)
    world.ask("Rollback", requester="erin", reason="customers report wrong answers since this morning")
    return world.wait(30)


@situation
def restored() -> World:
    """A person has put the earlier version back."""
    world = World(rate=200).serve().serve("digits-v2")
    world.ask("Rollback", requester="erin", reason="customers report wrong answers since this morning")
    return world.wait(300)


@situation
def restored_after_failure() -> World:
    """The wanted version failed, and then a person put another one in place of the one that served."""
    world = World(rate=200, shares={"digits-v3": 0.2}).serve().serve("digits-v2")
    world.release("digits-v3")
    world.until(lambda: len(world.status.history) > 2).wait(60)
    world.ask("Rollback", requester="erin", reason="v2 is wrong as well")
    return world.wait(300)


@situation
def limited() -> World:
    """A person limited the traffic in the middle; the plan needs more."""
    world = World(rate=60).serve().reach("Traffic(50)").wait(60)
    world.ask("ShiftTraffic", requester="alice", reason="support sees odd answers", weight=10)
    return world.wait(600)


@situation
def limited_by_agent() -> World:
    """An agent limited the traffic, above what the release has by now."""
    world = World(rate=60).serve().reach("Traffic(10)").wait(30)
    world.ask(
        "ShiftTraffic",
        requester=AGENT,
        reason="p99 of the canary rises",
        weight=25,
        permit="shift-down",
        standing=Permission("Granted", "approved by bob"),
    )
    return world.wait(30)


@situation
def agent_waits() -> World:
    """An agent asks for a promotion that people must agree to."""
    world = World(rate=60).serve().reach("Traffic(10)").wait(30)
    told = Permission("Waiting", "needs the consent of 1 more person with the right approve on this Rollout")
    world.ask("Promote", requester=AGENT, reason="the canary is good", permit="promote", standing=told)
    return world.wait(30)


@situation
def serving_instead() -> World:
    """A version that an agent asked for serves in place of the one that the spec names."""
    world = World(rate=60).serve()
    granted = Permission("Granted", "approved by alice")
    world.ask(
        "Release",
        requester=AGENT,
        reason="retrained after drift",
        version="digits-v2",
        permit="release",
        standing=granted,
    )
    return world.until(lambda: len(world.status.history) > 1).wait(120)


@situation
def failed_instead() -> World:
    """A version that somebody asked for in place of the spec's was proven worse."""
    world = World(rate=60, shares={"digits-v2": 0.055}).serve()
    world.ask("Release", requester="alice", reason="try the new weights", version="digits-v2")
    return world.until(lambda: len(world.status.history) > 1).wait(300)


@situation
def drill_waits() -> World:
    """A drill is asked for and waits for its time."""
    world = World(rate=20).serve().reach("Traffic(10)").wait(30)
    world.ask("Drill", requester="erin", reason="quarterly drill", notBefore=format_time(world.now + 1800))
    return world.wait(60)


@situation
def drilled() -> World:
    """A drill puts a healthy candidate back."""
    world = World(rate=60).serve()
    world.edit(rollback={"keepFor": "10m", "drain": "30s"})
    world.reach("Traffic(25)").wait(30)
    world.ask("Drill", requester="erin", reason="quarterly drill")
    return world.wait(10)


@situation
def preview() -> World:
    """A blue/green release is judged on its preview."""
    strategy = {"blueGreen": {"preview": {"minDuration": "2m"}, "bake": "5m"}}
    world = World(make_spec(strategy=strategy), rate=60).serve()
    return world.reach("Preview").wait(70)


def plain_threshold() -> World:
    """A threshold that waits for enough requests."""
    gate = {"template": "http-errors", "max": "0.02", "minSamples": 500, "consecutiveSuccess": 3}
    world = World(make_spec(gates=[gate], strategy=canary(10, 50)), rate=30).serve()
    return world.reach("Traffic(10)").wait(330)


situation(plain_threshold)


def text_of(objects: dict[str, Any]) -> str:
    """Objects as the files have them."""
    return yaml.safe_dump(objects, sort_keys=False, width=120, allow_unicode=True)


@cache
def recorded(name: str) -> dict[str, Any]:
    """A situation as it was recorded."""
    found: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return found


def main() -> None:
    """Writes every situation."""
    for name, play in SITUATIONS.items():
        (FOLDER / f"{name}.yaml").write_text(text_of(play()), encoding="utf-8")


if __name__ == "__main__":
    main()
