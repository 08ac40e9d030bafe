"""Data contracts in a release: what each effect holds, for how long, and what passes all the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.properties.cluster import Cluster, Quality
from tests.properties.invariants import settles
from tests.properties.specs import blue_green, canary, gate, ramp
from tests.unit.release.scenario import conditions, do, judged, outcome, reasons, releasing, serving
from weir.api.rolloutstatus import ContractsStatus, Phase, Verdict
from weir.contract.finding import Finding, Standing
from weir.release.durable import significant

PIN = "orders@sha256:" + "a" * 64
CLEAN = Standing(pins=(PIN,))


def finding(effect: str = "BlockPromotion", rule: str = "Check", judgement: str = "Fail", **changes: Any) -> Finding:
    """Something against v2."""
    message = f"contract orders, table orders, column price: {rule} says {judgement}; see kubectl weir contract explain"
    return Finding("orders", rule, judgement, effect, **{"message": message, **changes})  # type: ignore[arg-type]


def told(*findings: Finding, **changes: Any) -> Standing:
    return Standing(findings=findings, pins=(PIN,), **changes)


def say(cluster: Cluster, *findings: Finding, **changes: Any) -> None:
    """From now on v2's contracts say that; nothing is said against v1."""
    cluster.contracts = {"v1": CLEAN, "v2": told(*findings, **changes)}


def repair(cluster: Cluster) -> None:
    say(cluster)


def live(cluster: Cluster, seconds: float) -> None:
    """A healthy world for that long, ten seconds a turn."""
    end = cluster.now + seconds
    while cluster.now < end:
        cluster.reconcile()
        cluster.all_ready()
        cluster.accept()
        cluster.pass_time(min(10.0, end - cluster.now))
    cluster.reconcile()


def contracts(cluster: Cluster) -> ContractsStatus:
    assert cluster.status.contracts is not None
    return cluster.status.contracts


def hold(cluster: Cluster) -> str:
    """Reason of the hold, empty without one."""
    return cluster.status.hold.reason if cluster.status.hold is not None else ""


BLOCKING = ("BlockPromotion", "Pause", "Rollback", "RequireApproval")


# --- Nothing starts --------------------------------------------------------------------------------------------------


def test_given_versions_without_contracts_when_they_are_released_then_nothing_is_said_of_any() -> None:
    cluster = releasing()
    assert cluster.status.contracts is None
    assert cluster.status.rollbackable is None
    assert "ContractsHold" not in conditions(cluster.status)


def test_given_contracts_that_are_kept_when_a_version_is_released_then_it_goes_through_and_says_which() -> None:
    cluster = serving()
    say(cluster)
    cluster.release("v2")
    cluster.run()
    assert outcome(cluster) == ("Promoted", "Promoted")
    entered = [d for d in cluster.records[2].decisions if d.reason in ("StageEntered", "ReleasePromoted")]
    assert all(d.contracts is not None and d.contracts.pins == [PIN] for d in entered)
    assert conditions(cluster.status)["ContractsHold"].status == "True"
    assert contracts(cluster).verdict is Verdict.PASS
    settles(cluster)


@pytest.mark.parametrize(
    ("effect", "rule"),
    [*((effect, "Check") for effect in BLOCKING), *(("BlockPromotion", rule) for rule in ("Drift", "R1", "Document"))],
)
def test_given_a_finding_when_a_version_is_named_then_not_even_its_pods_are_made_until_it_is_gone(
    effect: str, rule: str
) -> None:
    cluster = serving()
    say(cluster, finding(effect, rule))
    cluster.release("v2")
    live(cluster, 400)
    candidate = cluster.status.candidate
    assert candidate is not None
    assert candidate.pool not in cluster.pools
    assert cluster.warm_up is None
    assert dict(cluster.route.weights) == {cluster.target_of("v1").pool: 100}
    assert hold(cluster) in {"ContractFailed", "DataDrifted", "ContractIncompatible", "WaiverNeeded"}
    assert cluster.status.phase is Phase.PREFLIGHT
    assert cluster.status.deadline is None, "it waits for data, which is no lack of progress"
    repair(cluster)
    cluster.run()
    assert outcome(cluster) == ("Promoted", "Promoted")


@pytest.mark.parametrize(
    ("rule", "effect", "judgement", "reason"),
    [
        ("Check", "BlockPromotion", "Fail", "ContractFailed"),
        ("Check", "BlockPromotion", "Unknown", "ContractUnknown"),
        ("Drift", "Pause", "Fail", "DataDrifted"),
        ("R8", "BlockPromotion", "Fail", "ContractIncompatible"),
        ("Metadata", "BlockPromotion", "Fail", "ContractIncompatible"),
        ("R9", "RequireApproval", "Unknown", "WaiverNeeded"),
        ("Document", "BlockPromotion", "Unknown", "ContractUnknown"),
        ("R4", "BlockPromotion", "Fail", "ContractForbidsSplit"),
        ("Agent", "BlockPromotion", "Fail", "AgentIncompatible"),
        ("Agent", "BlockPromotion", "Unknown", "AgentIncompatible"),
    ],
)
def test_given_each_kind_of_finding_then_the_reason_tells_what_it_is_and_the_message_the_way_out(
    rule: str, effect: str, judgement: str, reason: str
) -> None:
    cluster = serving()
    wrong = finding(effect, rule, judgement)
    say(cluster, wrong)
    cluster.release("v2")
    live(cluster, 60)
    assert hold(cluster) == reason
    assert wrong.message in cluster.status.message
    condition = conditions(cluster.status)["ContractsHold"]
    assert condition.status == ("False" if judgement == "Fail" else "Unknown")
    assert condition.reason == reason
    assert wrong.message in condition.message


def test_given_a_check_that_runs_when_a_version_is_named_then_its_pods_warm_up_meanwhile_and_get_no_traffic() -> None:
    cluster = serving()
    pending = finding(judgement="Unknown", awaited=True)
    say(cluster, pending)
    cluster.release("v2")
    live(cluster, 400)
    candidate = cluster.status.candidate
    assert candidate is not None
    assert cluster.pools[candidate.pool].ready == 1
    assert cluster.status.weight == 0
    assert hold(cluster) == "ContractCheckPending"
    assert cluster.status.phase is Phase.PREFLIGHT
    assert "Stalled" not in conditions(cluster.status), "it passes by itself"
    assert cluster.status.deadline is None
    repair(cluster)
    cluster.run()
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_pods_that_are_starting_when_data_breaks_its_contract_then_their_deadline_is_lifted() -> None:
    cluster = serving()
    say(cluster)
    cluster.release("v2")
    cluster.reconcile()
    cluster.reconcile()
    assert cluster.status.deadline is not None
    say(cluster, finding())
    for _ in range(40):
        cluster.pass_time(10.0)
        cluster.reconcile()
    assert cluster.status.candidate is not None
    assert cluster.status.ending is None
    assert cluster.status.deadline is None


def test_given_a_verdict_that_grows_old_during_traffic_then_the_release_waits_for_the_check_and_is_not_stuck() -> None:
    cluster = releasing()
    say(cluster, finding(judgement="Unknown", awaited=True))
    live(cluster, 400)
    assert cluster.status.stage is not None
    assert cluster.status.stage.name == "Traffic(10)"
    assert hold(cluster) == "ContractCheckPending"
    assert cluster.status.phase is Phase.SHIFTING
    assert "Stalled" not in conditions(cluster.status), "it passes by itself"
    repair(cluster)
    cluster.run()
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_what_the_running_model_says_of_itself_when_it_contradicts_then_its_pods_stay_and_get_no_traffic() -> (
    None
):
    cluster = serving()
    say(cluster, finding(rule="Metadata"))
    cluster.release("v2")
    live(cluster, 400)
    candidate = cluster.status.candidate
    assert candidate is not None
    assert cluster.pools[candidate.pool].ready == 1
    assert cluster.warm_up == candidate.pool, "what pods said is forgotten with the warm-up"
    assert cluster.status.weight == 0
    assert hold(cluster) == "ContractIncompatible"


def test_given_the_first_version_of_all_when_a_contract_forbids_it_then_it_does_not_serve_either() -> None:
    cluster = serving()
    cluster = Cluster(cluster.spec)
    cluster.contracts = {"v1": told(finding("Rollback"))}
    live(cluster, 400)
    assert cluster.status.stable is None
    assert not cluster.pools
    cluster.contracts = {"v1": CLEAN}
    cluster.run()
    assert cluster.status.stable is not None


def test_given_the_first_version_when_its_data_fails_while_it_starts_to_serve_then_it_is_held_and_not_taken_away() -> (
    None
):
    cluster = Cluster(serving().spec)
    cluster.contracts = {"v1": CLEAN}
    cluster.run(lambda: cluster.status.stage is not None and cluster.status.stage.name == "Serve")
    cluster.contracts = {"v1": told(finding("Rollback"))}
    live(cluster, 1000)
    assert cluster.status.ending is None
    assert cluster.status.candidate is not None
    cluster.contracts = {"v1": CLEAN}
    cluster.run()
    assert cluster.status.stable is not None


# --- Nothing advances ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("effect", ["BlockPromotion", "Pause", "RequireApproval"])
@pytest.mark.parametrize("stage", ["Traffic(10)", "Traffic(50)", "Bake"])
def test_given_traffic_when_a_contract_is_broken_then_the_release_stays_where_it_is_and_resumes_by_itself(
    effect: str, stage: str
) -> None:
    cluster = releasing(stage)
    weight = cluster.status.weight
    say(cluster, finding(effect))
    live(cluster, 400)
    assert cluster.status.stage is not None
    assert (cluster.status.stage.name, cluster.status.weight) == (stage, weight)
    assert cluster.status.phase is Phase.HELD, "nobody has paused it, and somebody should be told"
    assert conditions(cluster.status)["ContractsHold"].status == "False"
    repair(cluster)
    cluster.run()
    assert outcome(cluster) == ("Promoted", "Promoted")
    told = [d.reason for d in cluster.records[2].decisions]
    assert told.count("ContractsKept") == 1
    assert told.count("ContractFailed" if effect != "RequireApproval" else "WaiverNeeded") == 1


def test_given_a_stage_whose_pods_are_missing_when_a_contract_is_broken_then_its_weight_is_not_set_either() -> None:
    cluster = serving(replicas=4)
    cluster.release("v2")
    cluster.run(lambda: cluster.status.stage is not None and cluster.status.stage.name == "Traffic(50)")
    cluster.contracts = {"v1": CLEAN, "v2": told(finding())}
    assert cluster.status.weight == 10
    live(cluster, 400)
    assert cluster.status.weight == 10
    assert hold(cluster) == "ContractFailed"
    assert cluster.status.deadline is None
    repair(cluster)
    cluster.run()
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_a_ramp_when_a_contract_is_broken_then_its_weight_does_not_rise() -> None:
    cluster = serving(strategy=ramp(minDwell="5s"), gates=[{"name": "errors", "template": "http-errors"}])
    cluster.release("v2")
    cluster.run(lambda: judged(cluster.status, "Ramp"))
    free = cluster.clone()
    live(free, 60)
    assert free.status.weight > cluster.status.weight, "it would have risen"
    weight = cluster.status.weight
    say(cluster, finding())
    live(cluster, 60)
    assert cluster.status.weight == weight


def test_given_a_ramp_whose_gate_is_late_when_a_contract_is_broken_then_its_weight_does_not_rise_either() -> None:
    gates = [{"name": "errors", "template": "http-errors", "maxWait": "10s"}]
    cluster = serving(strategy=ramp(minDwell="30s"), gates=gates)
    cluster.release("v2")
    cluster.run(lambda: hold(cluster) == "GateInsufficient")
    free = cluster.clone()
    live(free, 120)
    assert free.status.weight > cluster.status.weight, "more requests are what is missing"
    weight = cluster.status.weight
    say(cluster, finding())
    live(cluster, 120)
    assert cluster.status.weight == weight


def test_given_a_failing_gate_beside_a_broken_contract_then_the_gate_puts_the_release_back_all_the_same() -> None:
    for effect in ("BlockPromotion", "Pause"):
        cluster = releasing()
        say(cluster, finding(effect))
        live(cluster, 100)
        from tests.properties.cluster import Quality

        cluster.quality["v2"] = Quality.BAD
        live(cluster, 60)
        assert outcome(cluster) == ("RolledBack", "GateFailed")


def test_given_a_gate_that_waits_when_a_contract_blocks_then_its_time_goes_on_and_stops_during_a_pause() -> None:
    ends = {}
    for effect in ("BlockPromotion", "Pause"):
        cluster = releasing(gates=[gate(maxWait="200s", onNoData="Rollback")])
        cluster.quality["v2"] = Quality.SILENT
        say(cluster, finding(effect))
        live(cluster, 1000)
        ends[effect] = cluster.status.candidate is None
        if effect == "Pause":
            repair(cluster)
            live(cluster, 100)
            assert cluster.status.candidate is not None, "the pause has eaten the time"
            live(cluster, 250)
            assert outcome(cluster) == ("RolledBack", "GateNoData")
    assert ends == {"BlockPromotion": True, "Pause": False}


# --- Rollback --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "reason"), [("Check", "ContractFailed"), ("Drift", "DataDrifted")])
def test_given_a_rollback_with_grace_when_it_is_not_repaired_in_time_then_traffic_goes_back(
    rule: str, reason: str
) -> None:
    cluster = releasing("Traffic(50)")
    begun = cluster.now
    say(cluster, finding("Rollback", rule, grace=120.0))
    live(cluster, 100)
    assert hold(cluster) == reason
    assert "is put back at" in cluster.status.message
    (known,) = contracts(cluster).findings
    assert known.since == begun
    assert known.rollback_at == begun + 120
    cluster.restart()
    live(cluster, 15)
    assert cluster.status.ending is None, "too early"
    assert cluster.reconcile().wake_at == begun + 120
    cluster.pass_time(begun + 120 - cluster.now)
    cluster.reconcile()
    assert cluster.status.ending is not None
    repair(cluster)
    cluster.reconcile()
    assert [f.rule for f in contracts(cluster).findings] == [rule], "what ended it stays until it is closed"
    live(cluster, 60)
    assert outcome(cluster) == ("RolledBack", reason)
    assert cluster.status.phase is Phase.ROLLED_BACK
    entry = next(d for d in cluster.records[2].decisions if d.phase is Phase.ROLLING_BACK)
    assert entry.contracts is not None
    assert entry.contracts.findings[0].rollback_at == begun + 120
    repair(cluster)
    live(cluster, 500)
    assert cluster.status.candidate is None, "a candidate that was put back is tried again unasked"


def test_given_a_rollback_with_grace_when_it_is_repaired_in_time_then_the_release_goes_on() -> None:
    cluster = releasing()
    say(cluster, finding("Rollback", grace=120.0))
    live(cluster, 100)
    repair(cluster)
    cluster.run()
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_a_failure_that_comes_again_then_its_grace_begins_anew() -> None:
    cluster = releasing("Bake", strategy=canary(10, bake="10m"))
    say(cluster, finding("Rollback", grace=120.0))
    live(cluster, 100)
    repair(cluster)
    live(cluster, 10)
    say(cluster, finding("Rollback", grace=120.0, message="another text"))
    live(cluster, 100)
    assert cluster.status.ending is None
    assert cluster.status.candidate is not None
    live(cluster, 30)
    assert cluster.status.candidate is None or cluster.status.ending is not None


def test_given_a_new_text_of_the_same_failure_then_its_grace_goes_on() -> None:
    cluster = releasing()
    say(cluster, finding("Rollback", grace=120.0))
    live(cluster, 100)
    say(cluster, finding("Rollback", grace=120.0, message="17 rows now"))
    live(cluster, 25)
    assert cluster.status.ending is not None or cluster.status.candidate is None


def test_given_a_person_who_paused_when_the_grace_is_over_then_traffic_goes_back_even_so() -> None:
    cluster = releasing()
    do(cluster, "Pause")
    say(cluster, finding("Rollback", grace=60.0))
    live(cluster, 100)
    assert outcome(cluster) == ("RolledBack", "ContractFailed")


# --- What passes all the same ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("effect", BLOCKING)
@pytest.mark.parametrize("at", ["WarmUp", "Traffic(10)", "Bake"])
def test_given_any_finding_when_a_person_forces_the_promotion_then_it_does_not_wait(effect: str, at: str) -> None:
    cluster = serving() if at == "WarmUp" else releasing(at)
    if at == "WarmUp":
        say(cluster, finding(effect))
        cluster.release("v2")
        live(cluster, 50)
    say(cluster, finding(effect, grace=500.0))
    live(cluster, 50)
    assert do(cluster, "Promote").startswith("Succeeded")
    cluster.run()
    assert outcome(cluster) == ("Promoted", "Promoted")
    assert conditions(cluster.status)["ContractsHold"].status == "False", "the version serves, and its data is broken"


@pytest.mark.parametrize("effect", ["BlockPromotion", "Pause", "RequireApproval"])
def test_given_a_broken_contract_when_a_person_skips_the_stage_then_it_waits_all_the_same(effect: str) -> None:
    cluster = releasing("Traffic(10)")
    say(cluster, finding(effect))
    live(cluster, 50)
    do(cluster, "Skip")
    live(cluster, 500)
    assert cluster.status.stage is not None
    assert cluster.status.stage.name == "Traffic(10)"
    repair(cluster)
    live(cluster, 20)
    assert cluster.status.stage.name == "Traffic(50)"


@pytest.mark.parametrize("effect", BLOCKING)
def test_given_contracts_that_forbid_every_version_when_an_earlier_one_is_asked_back_then_it_serves(
    effect: str,
) -> None:
    cluster = serving()
    cluster.release("v2")
    cluster.run()
    wrong = told(finding(effect), rollbackable=False, rollback_message="v1 cannot read it")
    for known in ({"v1": wrong, "v2": wrong}, {"v1": None, "v2": None}, {"v2": wrong}):
        twin = cluster.clone()
        twin.contracts = known
        twin.reconcile()
        assert do(twin, "Rollback").startswith("Succeeded")
        twin.run()
        assert outcome(twin) == ("Restored", "Restored")


@pytest.mark.parametrize("effect", BLOCKING)
def test_given_a_held_release_when_somebody_aborts_it_then_traffic_goes_back(effect: str) -> None:
    cluster = releasing()
    say(cluster, finding(effect, grace=1000.0))
    live(cluster, 50)
    assert do(cluster, "Abort").startswith("Succeeded")
    cluster.run()
    assert outcome(cluster) == ("Aborted", "Aborted")


# --- Splitting -------------------------------------------------------------------------------------------------------


def test_given_versions_that_may_not_share_traffic_when_the_strategy_is_blue_green_then_it_goes_on() -> None:
    cluster = serving(strategy=blue_green())
    say(cluster, finding(rule="R4"), splittable=False)
    cluster.release("v2")
    cluster.run()
    assert outcome(cluster) == ("Promoted", "Promoted")
    assert reasons(cluster).count("ContractForbidsSplit") == 0


def test_given_versions_that_may_not_share_traffic_when_the_plan_becomes_blue_green_then_it_goes_on_by_itself() -> None:
    cluster = serving()
    say(cluster, finding(rule="R4"), splittable=False)
    cluster.release("v2")
    live(cluster, 100)
    assert hold(cluster) == "ContractForbidsSplit"
    cluster.edit(strategy=blue_green())
    cluster.run()
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_a_forced_promotion_of_versions_that_may_not_share_traffic_then_there_is_no_split() -> None:
    cluster = serving()
    say(cluster, finding(rule="R4"), splittable=False)
    cluster.release("v2")
    live(cluster, 100)
    do(cluster, "Promote")
    weights = set()
    for _ in range(30):
        cluster.reconcile()
        cluster.all_ready()
        cluster.accept()
        weights |= set(cluster.route.weights.values())
        cluster.pass_time(5.0)
    assert weights <= {0, 100}
    assert cluster.status.candidate is None or cluster.status.weight == 100


# --- Modes, and the version that serves ------------------------------------------------------------------------------


def test_given_the_mode_warn_when_contracts_are_broken_then_nothing_waits_and_everything_is_told() -> None:
    cluster = serving(contracts={"mode": "Warn"})
    say(cluster, finding("Rollback"), finding(rule="R1"), rollbackable=False)
    cluster.release("v2")
    cluster.run()
    assert outcome(cluster) == ("Promoted", "Promoted")
    assert {f.effect for f in contracts(cluster).findings} == {"Warn"}
    assert conditions(cluster.status)["ContractsHold"].status == "False"
    assert cluster.events.count("ContractFailed") == 1


def test_given_the_mode_ignore_when_contracts_are_broken_then_nothing_is_said() -> None:
    cluster = serving(contracts={"mode": "Ignore"})
    cluster.contracts = {"v1": None, "v2": told(finding("Rollback"), rollbackable=False)}
    cluster.release("v2")
    cluster.run()
    assert outcome(cluster) == ("Promoted", "Promoted")
    assert cluster.status.contracts is None
    assert cluster.status.rollbackable is None
    assert "ContractsHold" not in conditions(cluster.status)


def test_given_a_version_that_serves_when_its_data_drifts_then_it_is_told_and_nothing_is_put_back() -> None:
    cluster = serving()
    cluster.contracts = {"v1": CLEAN}
    cluster.run()
    cluster.contracts = {"v1": told(finding("Rollback", "Drift"))}
    cluster.events.clear()
    live(cluster, 400)
    condition = conditions(cluster.status)["ContractsHold"]
    assert (condition.status, condition.reason) == ("False", "DataDrifted")
    assert cluster.events == ["DataDrifted"]
    assert conditions(cluster.status)["Ready"].status == "True"
    assert cluster.status.candidate is None
    settles(cluster)
    cluster.contracts = {"v1": CLEAN}
    live(cluster, 10)
    assert cluster.events == ["DataDrifted", "ContractsKept"]
    assert conditions(cluster.status)["ContractsHold"].status == "True"


def test_given_advice_about_later_then_the_condition_says_that_contracts_are_kept() -> None:
    cluster = serving()
    advice = finding("Warn", "R5", "Pass", message="v1 no longer fits")
    say(cluster, advice, rollbackable=False)
    cluster.release("v2")
    cluster.run()
    assert cluster.status.rollbackable is False
    assert conditions(cluster.status)["ContractsHold"].status == "True"
    assert [f.rule for f in contracts(cluster).findings] == ["R5"]


# --- Not known yet, restarts, time -----------------------------------------------------------------------------------


def test_given_contracts_that_are_not_read_yet_when_a_version_is_named_then_nothing_starts_and_nothing_is_held() -> (
    None
):
    cluster = serving()
    cluster.contracts = {"v1": None, "v2": None}
    cluster.release("v2")
    live(cluster, 1000)
    candidate = cluster.status.candidate
    assert candidate is not None
    assert candidate.pool not in cluster.pools
    assert cluster.status.hold is None
    assert "reading the data contracts" in cluster.status.message
    repair(cluster)
    cluster.run()
    assert outcome(cluster) == ("Promoted", "Promoted")


def test_given_a_restart_when_contracts_are_not_read_yet_then_what_was_known_stays_and_nothing_advances() -> None:
    cluster = releasing()
    say(cluster, finding("Rollback", grace=5000.0))
    live(cluster, 50)
    before = cluster.status
    cluster.restart()
    cluster.contracts = {"v1": None, "v2": None}
    cluster.pass_time(60)
    cluster.reconcile()
    assert cluster.status.contracts == before.contracts
    assert cluster.status.hold is not None
    assert before.hold is not None
    assert cluster.status.hold.since == before.hold.since
    assert cluster.status.stage is not None
    assert cluster.status.stage.name == "Traffic(10)"
    repair(cluster)
    cluster.contracts = {"v1": None, "v2": None}
    clean = releasing()
    clean.contracts = {"v1": None, "v2": None}
    live(clean, 600)
    assert clean.status.stage is not None
    assert clean.status.stage.name == "Traffic(10)", "advanced without knowing"


def test_given_a_verdict_that_grows_old_then_the_release_is_looked_at_at_that_moment() -> None:
    cluster = releasing("Bake", strategy=canary(10, bake="10m"))
    at = cluster.now + 3.5
    say(cluster, changes_at=at)
    decision = cluster.reconcile()
    assert decision.wake_at == at


def test_given_many_findings_then_the_worst_are_kept_and_their_number_is_told() -> None:
    cluster = serving()
    many = [finding("Warn", "R7", "Pass", path=f"orders.c{n}") for n in range(30)]
    say(cluster, *many, *(finding("BlockPromotion", "R1", path=f"orders.p{n}") for n in range(5)))
    cluster.release("v2")
    live(cluster, 50)
    kept = contracts(cluster).findings
    assert len(kept) == 20
    assert [f.rule for f in kept[:5]] == ["R1"] * 5
    assert "and 4 more" in cluster.status.message


def test_given_texts_of_findings_that_change_then_the_status_is_not_written_for_them_alone() -> None:
    cluster = releasing()
    say(cluster, finding())
    live(cluster, 20)
    before = cluster.status
    say(cluster, replace(finding(), message="other words"))
    after = cluster.reconcile().status
    assert contracts(cluster).findings[0].message == "other words"
    assert significant(before)["contracts"] == significant(after)["contracts"]
