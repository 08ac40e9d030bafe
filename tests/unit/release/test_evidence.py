"""What missing, broken or little evidence does to a release: it waits, by the declared policy, and never passes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.properties.cluster import Cluster, Quality
from tests.properties.invariants import settles
from tests.properties.specs import gate
from tests.unit.release.scenario import conditions, outcome, releasing, serving
from weir.api.evidencestatus import Counts
from weir.api.rolloutstatus import Phase, Verdict
from weir.release.decide import decide
from weir.release.observation import Share, Window

VERDICTS = {
    Quality.SILENT: Verdict.NO_DATA,
    Quality.FEW: Verdict.INSUFFICIENT,
    Quality.ERROR: Verdict.ERROR,
    Quality.NAN: Verdict.ERROR,
    Quality.ONE_ARM: Verdict.ERROR,
}


def wait(cluster: Cluster, times: int) -> None:
    for _ in range(times):
        cluster.pass_time(10)
        cluster.reconcile()


@pytest.mark.parametrize("quality", VERDICTS)
def test_given_useless_evidence_when_the_time_of_a_stage_is_over_then_the_weight_does_not_move(
    quality: Quality,
) -> None:
    cluster = releasing(gates=[gate("compared", max=None, minSamples=90)])
    cluster.quality["v2"] = quality
    wait(cluster, 10)
    assert cluster.status.verdict == VERDICTS[quality]
    assert (cluster.status.weight, cluster.status.phase) == (10, Phase.SHIFTING)
    assert cluster.status.stage is not None
    assert cluster.status.stage.name == "Traffic(10)"
    cluster.quality["v2"] = Quality.GOOD
    settles(cluster)
    assert outcome(cluster) == ("Promoted", "Promoted")


@pytest.mark.parametrize(
    ("quality", "policies", "reason"),
    [
        (Quality.SILENT, {"onInsufficient": "Rollback", "onError": "Rollback"}, "GateNoData"),
        (Quality.FEW, {"onNoData": "Rollback", "onError": "Rollback"}, "GateInsufficient"),
        (Quality.ERROR, {"onInsufficient": "Rollback", "onError": "Hold"}, "GateError"),
    ],
)
def test_given_max_wait_when_it_passes_and_the_policy_is_hold_then_it_holds_for_ever(
    quality: Quality, policies: dict[str, str], reason: str
) -> None:
    cluster = releasing(gates=[gate(minSamples=500_000, **policies)])
    cluster.quality["v2"] = quality
    wait(cluster, 19)
    assert cluster.status.hold is None
    wait(cluster, 1)
    assert cluster.status.hold is not None
    assert (cluster.status.hold.reason, cluster.status.phase) == (reason, Phase.HELD)
    assert conditions(cluster.status)["Stalled"].reason == reason
    wait(cluster, 100)
    assert (cluster.status.weight, cluster.status.release, cluster.status.ending) == (10, 2, None)


@pytest.mark.parametrize(
    ("quality", "policies", "reason"),
    [
        (Quality.SILENT, {"onNoData": "Rollback"}, "GateNoData"),
        (Quality.FEW, {"onInsufficient": "Rollback", "minSamples": 500_000}, "GateInsufficient"),
        (Quality.ERROR, {"onError": "Rollback"}, "GateError"),
    ],
)
def test_given_max_wait_when_it_passes_and_the_policy_is_rollback_then_the_weight_is_zero_in_that_decision(
    quality: Quality, policies: dict[str, str], reason: str
) -> None:
    cluster = releasing(gates=[gate(**policies)])
    cluster.quality["v2"] = quality
    wait(cluster, 19)
    assert cluster.status.weight == 10
    wait(cluster, 1)
    assert cluster.status.weight == 0
    assert cluster.route.weights == {"demo-v1.0": 100, "demo-v2.0": 0}
    cluster.run()
    assert outcome(cluster) == ("RolledBack", reason)


def test_given_an_error_after_a_pass_when_the_stage_could_end_then_it_does_not() -> None:
    cluster = releasing()
    wait(cluster, 2)
    assert cluster.status.verdict == Verdict.PASS
    cluster.quality["v2"] = Quality.ERROR
    wait(cluster, 5)
    assert cluster.status.weight == 10
    cluster.quality["v2"] = Quality.GOOD
    wait(cluster, 1)
    assert cluster.status.stage is not None
    assert cluster.status.stage.name == "Traffic(50)"


def test_given_hardly_any_requests_when_the_share_cannot_be_told_then_it_waits_without_a_deadline() -> None:
    cluster = serving()
    cluster.quality["v2"] = Quality.SILENT
    cluster.release("v2")
    cluster.run(lambda: cluster.collector is not None)
    for _ in range(5):
        cluster.pass_time(10_000)
        assert cluster.collector is not None
        cluster.collector.share = Share(1, 9)
        cluster.reconcile()
    assert cluster.status.deadline is None
    assert (cluster.status.weight, cluster.status.ending) == (10, None)
    assert "requests seen" in cluster.status.message


def test_given_a_gateway_that_shifts_wrongly_when_the_share_is_seen_then_no_evidence_counts_until_the_deadline() -> (
    None
):
    cluster = serving()
    cluster.share_right = False
    cluster.release("v2")
    cluster.run(lambda: "instead of 10 %" in cluster.status.message)
    assert cluster.status.stage is not None
    assert cluster.status.stage.evidence_from is None
    cluster.pass_time(300)
    cluster.reconcile()
    assert cluster.status.ending is not None
    assert cluster.status.ending.reason == "ProgressDeadlineExceeded"
    assert "instead of 10 %" in cluster.status.ending.message


def test_given_a_route_that_is_refused_when_weights_are_written_then_no_evidence_counts_until_the_deadline() -> None:
    cluster = serving()
    cluster.release("v2")
    cluster.run(lambda: cluster.status.weight == 10)
    cluster.refuse()
    cluster.reconcile()
    assert "no such listener" in cluster.status.message
    cluster.pass_time(300)
    assert cluster.reconcile().status.weight == 0


def test_given_a_superseded_candidate_when_the_next_is_judged_then_it_starts_with_no_failed_looks() -> None:
    cluster = releasing(gates=[gate(failureLimit=5)])
    cluster.quality["v2"] = Quality.BAD
    wait(cluster, 2)
    assert cluster.status.gates[0].failures == 2
    cluster.release("v3")
    cluster.run(lambda: cluster.status.release == 3 and cluster.status.gates != [])
    assert cluster.status.gates[0].failures == 0
    assert cluster.status.gates[0].candidate.total == 0


def test_given_failed_looks_in_one_stage_when_the_next_begins_then_they_still_count() -> None:
    cluster = releasing(gates=[gate(failureLimit=1)])
    cluster.quality["v2"] = Quality.BAD
    wait(cluster, 1)
    cluster.quality["v2"] = Quality.GOOD
    cluster.run(
        lambda: cluster.status.weight == 50 and cluster.collector is not None and cluster.collector.collect.judging
    )
    cluster.quality["v2"] = Quality.BAD
    wait(cluster, 1)
    assert cluster.status.weight == 0


def test_given_no_gates_when_a_candidate_is_released_then_time_and_capacity_alone_decide() -> None:
    cluster = serving(gates=[])
    cluster.release("v2")
    settles(cluster)
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_a_window_that_began_before_the_evidence_of_a_stage_when_it_is_seen_then_it_does_not_count() -> None:
    cluster = releasing("Traffic(50)")
    state = cluster.status.stage
    assert state is not None
    assert state.evidence_from is not None
    bad = Window(
        "errors", state.evidence_from - 0.5, state.evidence_from + 10, Counts(bad=99, total=100), Counts(total=100)
    )
    obs = replace(cluster.observe(), windows=(bad,))
    status = decide(cluster.view, cluster.status, obs, cluster.now + 11).status
    assert status.ending is None
    assert status.gates[0].window_end is None


def test_given_pods_that_came_while_the_operator_was_down_when_it_looks_again_then_the_deadline_does_not_fire() -> None:
    cluster = serving()
    cluster.release("v2")
    cluster.reconcile()
    cluster.all_ready()
    cluster.pass_time(301)
    decision = cluster.reconcile()
    assert decision.status.ending is None
    assert decision.status.weight == 10
