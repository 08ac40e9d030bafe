"""Releases from start to end, by the operator as users run it: with the chart's permissions and nothing more."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.harness.api import Failure, eventually
from tests.api.harness.case import BLUE_GREEN, Case
from tests.api.harness.lab import Lab
from tests.api.harness.process import Operator
from weir.api.rolloutrecord import RolloutRecordSpec
from weir.release.record import record_hash
from weir.runtime.resources import DEPLOYMENTS, MODEL_VERSIONS, ROLLOUT_RECORDS, ROLLOUTS, KubeObject

pytestmark = pytest.mark.api


@pytest.fixture(scope="module")
def good_canary(lab: Lab, operator: Operator) -> Case:
    """v2 was released by a canary and is good."""
    case = Case(lab)
    case.serve_first()
    case.release("v2")
    case.kubectl_wait("Reconciling")
    case.kubectl_wait("Ready", 60)
    eventually(lambda: len(case.records()) == 2, "the record of release 2")
    return case


@pytest.fixture(scope="module")
def bad_canary(lab: Lab, operator: Operator) -> Iterator[Case]:
    """v2 was released by a canary; every second answer of it is an error."""
    case = Case(lab)
    lab.traffic.bad[case.namespace, "v2"] = 0.5
    case.serve_first()
    case.release("v2")
    case.kubectl_wait("Stalled", 60)
    eventually(lambda: len(case.records()) == 2, "the record of release 2")
    yield case
    del lab.traffic.bad[case.namespace, "v2"]


def test_given_no_version_when_the_first_is_ready_then_it_takes_all_traffic(lab: Lab, operator: Operator) -> None:
    case = Case(lab)
    case.version("v1")
    case.create()

    case.kubectl_wait("Ready")

    assert case.weights() == {"v1": 100}
    status = case.status()
    assert (status["phase"], status["stable"]["version"], status["weight"]) == ("Promoted", "v1", 0)
    assert "candidate" not in status
    eventually(lambda: len(case.records()) == 1, "the record of release 1")
    assert case.records()[0]["spec"]["outcome"] == "Promoted"


def test_given_a_good_version_when_released_by_canary_then_weight_rises_step_by_step(good_canary: Case) -> None:
    seen = _history(good_canary, release=2)
    weights = [status["weight"] for status in seen if status.get("candidate")]
    stages = [entry["stage"] for entry in good_canary.records()[1]["spec"]["decisions"]]

    assert _distinct(weights) == [0, 20, 50, 100]
    assert _distinct(stages) == ["WarmUp", "Traffic(20)", "Traffic(50)", "Bake"]
    route = good_canary.weights()
    assert {label: weight for label, weight in route.items() if weight} == {"v2": 100}


def test_given_a_running_release_then_kstatus_says_in_progress_until_it_is_promoted(good_canary: Case) -> None:
    running = [status for status in _history(good_canary, release=2) if status.get("candidate")]

    assert running
    for status in running:
        found = {c["type"]: c["status"] for c in status["conditions"]}
        assert found == {"Ready": "False", "Reconciling": "True"}, status["phase"]
    done = good_canary.rollout()
    assert {c["type"]: c["status"] for c in done["status"]["conditions"]} == {"Ready": "True"}
    assert done["status"]["observedGeneration"] == done["metadata"]["generation"]


def test_given_a_promotion_then_no_pod_was_made_anew_and_the_old_version_stays_warm(
    lab: Lab, good_canary: Case
) -> None:
    status = good_canary.status()
    stable, old = status["stable"], status["retained"][0]
    made = {d["metadata"]["name"]: d for d in lab.api.list(DEPLOYMENTS, good_canary.namespace)}

    assert set(made) == {stable["pool"], old["pool"]}
    # One generation when it was made, one more for each change of its size: its pods were never rendered anew.
    assert made[stable["pool"]]["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
    assert made[old["pool"]]["spec"]["replicas"] == 2


def test_given_a_release_then_modelversions_tell_who_uses_them(lab: Lab, good_canary: Case) -> None:
    def stages() -> dict[str, Any]:
        found = lab.api.list(MODEL_VERSIONS, good_canary.namespace)
        return {v["metadata"]["name"]: (v["status"]["stage"], v["status"].get("servedBy")) for v in found}

    wanted = {"v1": ("Candidate", ["digits"]), "v2": ("Serving", ["digits"])}
    eventually(lambda: stages() == wanted, f"ModelVersions say {wanted}")


def test_given_a_bad_version_when_released_by_canary_then_it_is_rolled_back_and_stalled(bad_canary: Case) -> None:
    status = bad_canary.status()
    conditions = {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}

    assert conditions == {"Ready": ("False", "RolledBack"), "Stalled": ("True", "RolledBack")}
    assert {label: w for label, w in bad_canary.weights().items() if w} == {"v1": 100}
    assert status["stable"]["version"] == "v1"
    seen = [s["weight"] for s in _history(bad_canary, release=2)]
    assert max(seen) == 20
    record = bad_canary.records()[1]["spec"]
    assert (record["outcome"], record["reason"]) == ("RolledBack", "GateFailed")
    failed = [m for entry in record["decisions"] for m in entry.get("evidence", []) if m["verdict"] == "Fail"]
    assert failed
    assert failed[0]["candidate"]["bad"] / failed[0]["candidate"]["total"] > 0.3


def test_given_a_failed_version_when_the_rollout_is_touched_then_it_is_not_tried_again_until_asked(
    lab: Lab, bad_canary: Case
) -> None:
    release = bad_canary.status()["release"]
    labels = {"metadata": {"labels": {"touched": "yes"}}}
    lab.api.merge(ROLLOUTS, bad_canary.namespace, bad_canary.name, labels)
    bad_canary.patch(progressDeadline="3m")
    generation = bad_canary.rollout()["metadata"]["generation"]
    bad_canary.wait(lambda s: s["observedGeneration"] == generation, "the change of the spec is seen")
    assert bad_canary.status()["release"] == release

    lab.traffic.bad[bad_canary.namespace, "v2"] = 0.0
    bad_canary.act("Retry")

    bad_canary.wait_ready()
    assert bad_canary.status()["release"] == release + 1


def test_given_blue_green_when_a_good_version_is_released_then_traffic_switches_at_once(
    lab: Lab, operator: Operator
) -> None:
    case = Case(lab)
    strategy = copy.deepcopy(BLUE_GREEN)
    strategy["blueGreen"]["preview"]["hostname"] = f"preview.{case.namespace}.test"
    case.serve_first(strategy=strategy)

    case.release("v2")
    case.kubectl_wait("Ready=False")
    case.kubectl_wait("Ready", 60)

    seen = _history(case, release=2)
    assert _distinct([s["weight"] for s in seen if s.get("candidate")]) == [0, 100]
    assert "Preview" in {s["stage"]["name"] for s in seen if s.get("stage")}
    assert {label: w for label, w in case.weights().items() if w} == {"v2": 100}


def test_given_records_then_they_are_sealed_and_their_hashes_chain(lab: Lab, good_canary: Case) -> None:
    first, second = good_canary.records()

    for record in (first, second):
        content = RolloutRecordSpec.model_validate(record["spec"])
        assert record_hash(content) == record["spec"]["hash"]
    assert second["spec"]["previousHash"] == first["spec"]["hash"]
    name = second["metadata"]["name"]
    with pytest.raises(Failure, match="immutable|sealed|never change") as refused:
        lab.api.merge(ROLLOUT_RECORDS, good_canary.namespace, name, {"spec": {"message": "it was fine"}})
    assert refused.value.status == 422


def test_given_a_release_under_way_when_the_rollout_is_deleted_then_stable_gets_the_traffic_back_first(
    lab: Lab, operator: Operator
) -> None:
    case = Case(lab)
    slow = {"canary": {"steps": [{"weight": 50, "minDuration": "5m"}]}}
    case.serve_first(strategy=slow)
    case.release("v2")
    case.wait(lambda status: status.get("weight") == 50, "half of the traffic at v2")

    lab.api.delete(ROLLOUTS, case.namespace, case.name)

    eventually(lambda: lab.api.find(ROLLOUTS, case.namespace, case.name) is None, "the Rollout is gone")
    seen = [r["status"] for r in lab.history.of(case.namespace, case.name) if r.get("status")]
    assert seen[-1]["weight"] == 0
    assert seen[-1].get("candidate") is None
    assert [r["spec"]["outcome"] for r in case.records()] == ["Promoted", "Deleted"]


def _history(case: Case, *, release: int) -> list[KubeObject]:
    """Statuses during one release."""
    seen = [r["status"] for r in case.lab.history.of(case.namespace, case.name) if r.get("status")]
    return [status for status in seen if status.get("release") == release]


def _distinct(values: list[Any]) -> list[Any]:
    """Values without immediate repetitions."""
    return [v for i, v in enumerate(values) if i == 0 or values[i - 1] != v]
