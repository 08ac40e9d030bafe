"""What objects say of each other, what is seldom meant, and whether gates can pass in time."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml

from tests.api import objects as o
from tests.api.cases import DELETE, edited
from weir.api import API_VERSION
from weir.api.rollout import RolloutSpec
from weir.lint import CODES, Finding, Load, Options, Severity, Source, lint
from weir.lint.bounds import Late, late
from weir.release.observation import RolloutView
from weir.traffic.overlap import Claimant, endpoint_problem

GATES: dict[str, Any] = {"gates": [{"template": "http-errors"}]}
CANARY: o.Spec = {
    "versionRef": {"name": "digits-1"},
    "replicas": 10,
    "traffic": {"gateway": {"parentRefs": [{"name": "web"}], "hostnames": ["digits.example"]}},
    "strategy": {"canary": {"steps": [{"weight": 10}, {"weight": 50}]}},
    **GATES,
}
SERVICE = {**CANARY, "traffic": {"service": {}}}
BLUE_GREEN = {**CANARY, "strategy": {"blueGreen": {}}}
RAMP = {**CANARY, "strategy": {"canary": {"ramp": {"riskBudget": 100000, "maxWeight": 40}}}}
VERSION: o.Spec = {"model": "digits", "version": "1", "runtime": {"image": "registry.example/digits@" + o.DIGEST}}


def manifest(kind: str, spec: o.Spec, name: str = "digits", namespace: str = "") -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def found(*manifests: dict[str, Any], options: Options | None = None) -> list[Finding]:
    """Findings of the manifests, all in one file."""
    return list(lint([Source("f.yaml", yaml.safe_dump_all(manifests))], options).findings)


def told(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.code, finding.path) for finding in findings]


@pytest.mark.parametrize("spec", [CANARY, SERVICE, BLUE_GREEN, RAMP])
def test_given_a_sensible_rollout_then_nothing_is_found(spec: o.Spec) -> None:
    assert found(manifest("Rollout", spec)) == []


def approvals(before: str, **fields: Any) -> dict[str, Any]:
    return {"approvals": [{"before": before, "from": {"group": "sre"}, **fields}]}


STEP = "spec.approvals[0].before"


@pytest.mark.parametrize(
    ("base", "changes", "code", "path", "said"),
    [
        (CANARY, {"gates": []}, "no-gates", "spec.gates", "nothing is asked of the model's answers"),
        (CANARY, {"gates": DELETE}, "no-gates", "spec.gates", "nothing is asked"),
        (CANARY, approvals("Traffic(25)"), "approval-step", STEP, "before Traffic(50) (write Traffic(50))"),
        (CANARY, approvals("Traffic(60)"), "approval-step", STEP, "at 100 % (write Switch)"),
        (BLUE_GREEN, approvals("Traffic(25)"), "approval-step", STEP, "at 100 % (write Switch)"),
        (RAMP, approvals("Traffic(41)"), "approval-step", STEP, "at 100 % (write Switch)"),
        (CANARY, approvals("Promote", quorum=4), "quorum", "spec.approvals[0].quorum", "4 different people"),
        (CANARY, {"strategy.canary.bake": "20s"}, "short-bake", "spec.strategy.canary.bake", "looks every 30 s"),
        (BLUE_GREEN, {"strategy.blueGreen": {"bake": "5s"}}, "short-bake", "spec.strategy.blueGreen.bake", "is 5 s"),
        (
            CANARY,
            {"strategy.canary.steps": [{"weight": 100}]},
            "no-comparison",
            "spec.gates[0]",
            "no stage leaves stable any traffic",
        ),
        (CANARY, {"gates.0.maxWait": "20s"}, "short-wait", "spec.gates[0].maxWait", "needs 30 s for its looks"),
        (
            CANARY,
            {"gates.0.max": "0.1", "gates.0.consecutiveSuccess": 100},
            "short-wait",
            "spec.gates[0].maxWait",
            "needs 1000 s",
        ),
        (
            CANARY,
            {"gates.0.failureLimit": 2},
            "no-effect",
            "spec.gates[0].failureLimit",
            "`failureLimit` has no effect",
        ),
        (
            CANARY,
            {"gates.0.consecutiveSuccess": 2},
            "no-effect",
            "spec.gates[0].consecutiveSuccess",
            "`consecutiveSuccess` has no effect",
        ),
        (
            SERVICE,
            {"replicas": 2, "strategy.canary.steps.0.weight": 10},
            "coarse-share",
            "spec.strategy.canary.steps[0].weight",
            "one of 3 pods gets 33 % of requests, not 10 % (9 replicas would do",
        ),
        (
            CANARY,
            {"template": {"spec": {"containers": [{"name": "model", "startupProbe": {"failureThreshold": 61}}]}}},
            "short-deadline",
            "spec.progressDeadline",
            "gives container model 610 s to start",
        ),
    ],
)
def test_given_a_doubtful_rollout_then_one_warning_says_so_and_can_be_switched_off(
    base: o.Spec, changes: dict[str, Any], code: str, path: str, said: str
) -> None:
    doubtful = manifest("Rollout", edited(base, changes))

    (finding,) = found(doubtful)

    assert (finding.code, finding.path, finding.severity) == (code, path, Severity.WARNING)
    assert said in finding.text
    assert found(doubtful, options=Options(ignore=frozenset({code}))) == []
    assert found(doubtful, options=Options(strict=True))[0].severity is Severity.ERROR


@pytest.mark.parametrize(
    ("base", "changes"),
    [
        (CANARY, approvals("Traffic(50)")),
        (CANARY, approvals("Traffic(100)")),
        (CANARY, approvals("Switch", quorum=3)),
        (RAMP, approvals("Traffic(23)")),
        (RAMP, approvals("Traffic(40)")),
        (CANARY, {"strategy.canary.bake": "30s"}),
        (BLUE_GREEN, {"gates": [o.OBJECTIVE_GATE]}),
        (CANARY, {"strategy.canary.steps": [{"weight": 100}], "gates": [o.HTTP_GATE]}),
        (CANARY, {"gates.0.maxWait": "30s"}),
        (CANARY, {"gates.0.max": "0.1", "gates.0.failureLimit": 2, "gates.0.consecutiveSuccess": 3}),
        (SERVICE, {"replicas": 9, "strategy.canary.steps.0.weight": 10}),
        (SERVICE, {"replicas": 4, "strategy.canary.steps.0.weight": 10}),
        (CANARY, {"template": {"spec": {"containers": [{"startupProbe": {"failureThreshold": 60}}, {}]}}}),
        (CANARY, {"template": {"spec": {"containers": [{"startupProbe": {"failureThreshold": "many"}}]}}}),
        (CANARY, {"template": {"spec": {"containers": "none"}}}),
    ],
)
def test_given_what_only_looks_doubtful_then_nothing_is_found(base: o.Spec, changes: dict[str, Any]) -> None:
    assert found(manifest("Rollout", edited(base, changes))) == []


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("registry.example/digits:1", "named by its tag 1"),
        ("registry.example/digits:latest", "named by its tag latest"),
        ("registry.example:5000/digits", "neither tag nor digest"),
        ("registry.example/digits:1@" + o.DIGEST, ""),
        ("localhost/digits:demo", ""),
    ],
)
def test_given_an_image_when_its_content_can_change_then_it_is_told(image: str, said: str) -> None:
    findings = found(manifest("ModelVersion", edited(VERSION, {"runtime.image": image})))

    assert told(findings) == ([("image-tag", "spec.runtime.image")] if said else [])
    assert all(said in finding.text for finding in findings)


@pytest.mark.parametrize(
    ("kind", "spec", "path", "target", "good"),
    [
        ("Rollout", CANARY, "spec.versionRef.name", ("ModelVersion", VERSION), "digits-1"),
        ("ActionRequest", o.ACTION, "spec.rolloutRef.name", ("Rollout", CANARY), "digits"),
        (
            "ActionRequest",
            {**o.ACTION, "action": "Rollback", "version": "digits-1"},
            "spec.version",
            ("ModelVersion", VERSION),
            "digits-1",
        ),
        (
            "ModelVersion",
            {**VERSION, "contracts": {"trainedOn": ["orders"]}},
            "spec.contracts.trainedOn[0]",
            ("DataContract", o.CONTRACT),
            "orders",
        ),
    ],
)
def test_given_a_reference_when_only_others_of_that_kind_are_there_then_it_is_told(
    kind: str, spec: o.Spec, path: str, target: tuple[str, o.Spec], good: str
) -> None:
    naming = manifest(kind, spec, "naming")

    assert told(found(naming)) == [], "nothing of that kind: the rest is elsewhere"
    assert told(found(naming, manifest(*target, good))) == []
    assert told(found(naming, manifest(*target, "else"))) == [("unknown-reference", path)]
    assert (
        told(found({**naming, "metadata": {"name": "naming", "namespace": "a"}}, manifest(*target, "else", "b"))) == []
    )


def test_given_one_version_twice_in_a_file_then_the_second_is_an_error_where_the_content_differs() -> None:
    first, second = manifest("ModelVersion", VERSION), manifest("ModelVersion", edited(VERSION, {"version": "2"}))

    assert [(f.code, f.severity) for f in found(first, second)] == [("duplicate-object", Severity.ERROR)]
    assert [(f.code, f.severity) for f in found(first, first)] == [("duplicate-object", Severity.WARNING)]
    assert found(first, {**second, "metadata": {"name": "digits", "namespace": "other"}}) == []


def test_given_one_name_in_two_files_then_only_versions_that_differ_are_told() -> None:
    def of_two(first: dict[str, Any], second: dict[str, Any]) -> list[tuple[str, Severity, str]]:
        texts = [Source(name, yaml.safe_dump(one)) for name, one in (("b.yaml", first), ("a.yaml", second))]
        return [(f.code, f.severity, f.file) for f in lint(texts).findings]

    changed = edited(VERSION, {"version": "2"})
    told_here = of_two(manifest("ModelVersion", VERSION), manifest("ModelVersion", changed))
    assert told_here == [("duplicate-object", Severity.WARNING, "a.yaml")]
    assert of_two(manifest("Rollout", CANARY), manifest("Rollout", BLUE_GREEN)) == []


def test_given_one_version_under_two_names_then_it_is_told_where_the_content_differs() -> None:
    other = edited(VERSION, {"runtime.image": "registry.example/other@" + o.DIGEST})

    assert told(found(manifest("ModelVersion", VERSION, "a"), manifest("ModelVersion", other, "b"))) == [
        ("same-version", "spec.version")
    ]
    assert found(manifest("ModelVersion", VERSION, "a"), manifest("ModelVersion", VERSION, "b")) == []


def test_given_a_warm_up_that_may_outlast_the_deadline_then_the_rollout_is_told() -> None:
    def version(timeout: str) -> dict[str, Any]:
        return manifest("ModelVersion", edited(VERSION, {"runtime.warmup": {"timeout": timeout}}), "digits-1")

    rollout = manifest("Rollout", edited(CANARY, {"progressDeadline": "2m"}))

    (finding,) = found(rollout, version("120s"))

    assert (finding.code, finding.path) == ("short-deadline", "spec.progressDeadline")
    assert "one warm-up request of ModelVersion/digits-1 may take 120s" in finding.message
    assert found(rollout, version("119s")) == []
    assert found(rollout, manifest("ModelVersion", VERSION, "digits-1")) == []


def at(**gateway: Any) -> o.Spec:
    return {**CANARY, "traffic": {"gateway": {"parentRefs": [{"name": "web"}], **gateway}}}


ENDPOINTS = {
    "host": at(hostnames=["a.example"]),
    "two hosts": at(hostnames=["b.example", "a.example"]),
    "other host": at(hostnames=["c.example"]),
    "no host": at(),
    "other gateway": at(parentRefs=[{"name": "other"}], hostnames=["a.example"]),
    "other listener": at(parentRefs=[{"name": "web", "sectionName": "https"}], hostnames=["a.example"]),
    "other path": at(hostnames=["a.example"], matches=[{"path": {"type": "PathPrefix", "value": "/v2"}}]),
    "same path": at(hostnames=["a.example"], matches=[{"path": {"value": "/"}}]),
    "kept route": {**CANARY, "traffic": {"gateway": {"routeRef": {"name": "web"}}}},
    "service": SERVICE,
    "named service": {**SERVICE, "traffic": {"service": {"name": "left"}}},
}


@pytest.mark.parametrize("right", ENDPOINTS)
@pytest.mark.parametrize("left", ENDPOINTS)
def test_given_two_rollouts_then_lint_calls_their_endpoint_the_same_where_the_operator_does(
    left: str, right: str
) -> None:
    def claimant(name: str, spec: o.Spec) -> Claimant:
        return Claimant(RolloutView(name, "ns", name, 1, RolloutSpec.model_validate(spec)), name)

    here, there = ENDPOINTS[left], ENDPOINTS[right]
    refused = endpoint_problem(claimant("right", there), [claimant("left", here)]) is not None

    findings = found(manifest("Rollout", here, "left"), manifest("Rollout", there, "right"))

    assert [finding.code for finding in findings] == (["same-endpoint"] if refused else [])
    assert all(f.severity is Severity.ERROR and f.subject == "Rollout/right" for f in findings)


def test_given_two_rollouts_for_one_hostname_then_both_places_are_told() -> None:
    one, two = manifest("Rollout", CANARY, "one"), manifest("Rollout", CANARY, "two")

    findings = lint([Source("one.yaml", yaml.safe_dump(one)), Source("two.yaml", yaml.safe_dump(two))]).findings

    assert [(f.file, f.path) for f in findings] == [("two.yaml", "spec.traffic.gateway.hostnames[0]")]
    elsewhere = manifest("Rollout", CANARY, "two", "other")
    assert found(manifest("Rollout", CANARY, "one", "this"), elsewhere) == [], (
        "the same Gateway's name in two namespaces"
    )
    shared = at(parentRefs=[{"name": "web", "namespace": "gateways"}], hostnames=["a.example"])
    both = [manifest("Rollout", shared, "digits", namespace) for namespace in ("this", "other")]
    assert told(found(*both)) == [("same-endpoint", "spec.traffic.gateway.hostnames[0]")]
    assert "Rollout/one (one.yaml:4) has the same endpoint: digits.example of Gateway web" in findings[0].message


def test_given_a_rate_when_gates_cannot_pass_in_time_then_the_rate_that_would_do_is_told() -> None:
    rollout = manifest("Rollout", edited(CANARY, {"gates.0.compare": {"acceptBelow": "0.02"}}))
    slow, fast = Options(load=Load(rate=5, bad=0.001)), Options(load=Load(rate=500, bad=0.001))

    (finding,) = found(rollout, options=slow)

    assert (finding.code, finding.path, finding.severity) == ("not-feasible", "spec.gates[0].maxWait", Severity.WARNING)
    assert "at 5 requests a second" in finding.message
    assert "requests a second would do" in finding.message
    assert finding.hint.startswith("raise maxWait")
    assert found(rollout, options=fast) == []
    enough = float(finding.message.rsplit("; ", 1)[1].split()[0])
    assert found(rollout, options=Options(load=Load(rate=enough * 1.1, bad=0.001))) == [], "the rate told is true"


def test_given_a_rate_when_no_rate_would_do_then_that_is_told() -> None:
    (finding,) = found(manifest("Rollout", edited(CANARY, {"replicas": 1})), options=Options(load=Load(1e6, 0.05)))
    assert finding.hint.startswith("no rate would do; raise maxWait")


def test_given_a_ramp_when_its_budget_is_smaller_than_chance_then_that_is_told() -> None:
    spec = edited(RAMP, {"strategy.canary.ramp.riskBudget": 2, "gates.0.compare": {"acceptBelow": "0.05"}})
    (finding,) = found(manifest("Rollout", spec), options=Options(load=Load(500, 0.01)))
    assert finding.path == "spec.strategy.canary.ramp.riskBudget"
    assert "smaller than chance" in finding.message


MAX: o.Spec = {**CANARY, "gates": [{"template": "http-errors", "max": "0.05"}]}
OBJECTIVE: o.Spec = {**CANARY, "gates": [{"template": "http-errors", "objective": "0.99"}]}
PREVIEW: o.Spec = {**OBJECTIVE, "strategy": {"blueGreen": {"preview": {"requestsPerSecond": 1}}}}


@pytest.mark.parametrize(
    ("spec", "slow", "stage"),
    [(MAX, 0.5, "Traffic(10)"), (OBJECTIVE, 0.5, "Traffic(10)"), (PREVIEW, 1e6, "Preview")],
)
def test_given_a_gate_with_a_bound_when_it_cannot_pass_in_time_then_the_rate_told_is_the_least_that_does(
    spec: o.Spec, slow: float, stage: str
) -> None:
    (finding,) = found(manifest("Rollout", spec), options=Options(load=Load(slow)))

    assert (finding.code, finding.path) == ("not-feasible", "spec.gates[0].maxWait")
    assert f" in {stage} to pass" in finding.message
    enough = float(finding.message.rsplit("; ", 1)[1].split()[0])

    def at(rate: float) -> list[Finding]:
        if stage == "Preview":
            # whole requests a second are all that can be asked for
            changes = {"strategy.blueGreen.preview.requestsPerSecond": math.ceil(rate)}
            return found(manifest("Rollout", edited(spec, changes)), options=Options(load=Load(1e6)))
        return found(manifest("Rollout", spec), options=Options(load=Load(rate)))

    assert at(enough * 1.02) == []
    assert stage == "Preview" or len(at(enough * 0.98)) == 1


def test_given_several_gates_when_one_is_slow_then_only_that_one_is_told() -> None:
    gates = [{"template": "http-errors", "compare": {"acceptBelow": "0.3"}}, {"template": "http-latency", "over": "1s"}]
    findings = found(manifest("Rollout", {**CANARY, "gates": gates}), options=Options(load=Load(10)))
    assert told(findings) == [("not-feasible", "spec.gates[1].maxWait")]


def test_given_several_passing_looks_in_a_row_when_a_rate_is_given_then_each_of_them_needs_its_requests() -> None:
    once, thrice = (
        RolloutSpec.model_validate(edited(MAX, {"gates.0.consecutiveSuccess": n, "gates.0.maxWait": "1m"}))
        for n in (1, 3)
    )
    slow = Load(5.0)  # half a request a second at 10 %, so 50 in 100 s
    first, third = late(once, once.gates[0], slow), late(thrice, thrice.gates[0], slow)
    assert first is not None
    assert third is not None
    assert (first.needed, third.needed) == (100.0, 300.0)
    assert third.least == pytest.approx(3 * first.least)


def late_in(steps: list[dict[str, Any]], load: Load) -> Late:
    spec = RolloutSpec.model_validate({**OBJECTIVE, "strategy": {"canary": {"steps": steps}}})
    found = late(spec, spec.gates[0], load)
    assert found is not None
    return found


def test_given_an_objective_when_an_earlier_step_lasts_long_then_its_evidence_counts_later() -> None:
    short = late_in([{"weight": 50, "minDuration": "1s"}, {"weight": 51}], Load(3.0))
    long = late_in([{"weight": 50, "minDuration": "9m"}, {"weight": 51}], Load(3.0))

    assert (short.stage, long.stage) == ("Traffic(51)", "Traffic(51)")
    assert long.needed == pytest.approx(short.needed - 540, rel=0.05)
    assert long.least == pytest.approx(short.least * 600 / (600 + 540), rel=0.05)


@pytest.mark.parametrize("gate", [{"objective": "0.99"}, {"max": "0.05"}])
def test_given_a_ramp_when_its_weights_are_not_known_then_nothing_is_foretold_of_bounds(gate: dict[str, str]) -> None:
    spec = RolloutSpec.model_validate(
        {**RAMP, "gates": [*GATES["gates"], {"template": "http-latency", "over": "1s", **gate}]}
    )
    assert late(spec, spec.gates[1], Load(0.1)) is None


def test_given_a_service_that_breaks_the_bound_itself_then_no_candidate_can_pass() -> None:
    for spec, field in ((MAX, "max"), (OBJECTIVE, "objective")):
        (finding,) = found(manifest("Rollout", spec), options=Options(load=Load(1e5, bad=0.2)))
        assert finding.path == f"spec.gates[0].{field}"
        assert "and stable has 20 %" in finding.message
        assert found(manifest("Rollout", spec), options=Options(load=Load(1e5, bad=0.001))) == []


def test_given_a_gate_that_allows_no_bad_request_when_nothing_is_said_of_errors_then_none_are_assumed() -> None:
    strict = manifest("Rollout", edited(MAX, {"gates.0.max": "0"}))
    assert found(strict, options=Options(load=Load(1e5))) == []
    (finding,) = found(strict, options=Options(load=Load(1e5, bad=0.01)))
    assert finding.path == "spec.gates[0].max"


def test_given_gates_of_which_a_rate_says_nothing_when_one_is_given_then_nothing_is_foretold() -> None:
    options = Options(load=Load(0.001))
    quiet = {"blueGreen": {"preview": {"requestsPerSecond": 0}}}
    assert found(manifest("Rollout", {**o.ROLLOUT_GATEWAY, "gates": [o.THRESHOLD_GATE]}), options=options) == []
    assert found(manifest("Rollout", {**CANARY, "strategy": quiet}), options=options) == []
    assert found(manifest("Rollout", {**OBJECTIVE, "strategy": quiet}), options=options) == []


def test_given_an_object_with_an_error_then_no_advice_is_given_on_it() -> None:
    findings = found(manifest("Rollout", edited(CANARY, {"gates": [], "replicas": 0})), options=Options(load=Load(1)))
    assert told(findings) == [("value", "spec.replicas")]


def test_given_a_code_that_does_not_exist_when_ignored_then_the_codes_are_told() -> None:
    with pytest.raises(ValueError, match="no code image-tags; codes are approval-step, .*image-tag"):
        Options(ignore=frozenset({"image-tags"}))


def test_given_the_codes_then_each_has_a_reason() -> None:
    assert all(reason.endswith(".") and len(reason) > 20 for reason in CODES.values())
