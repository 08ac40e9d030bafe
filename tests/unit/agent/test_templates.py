"""Templates: how they are filled in, followed to their end, and what comes of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.agent.planning import (
    DIGEST,
    NOW,
    POLICY,
    RETRAIN_TEMPLATE,
    model,
    observed,
    policy,
    rollout,
)
from tests.unit.agent.templating import FINISHED, SCALE, SCALE_PERMIT, grant, request, template
from weir.agent.places import TemplateError, filled
from weir.agent.templates import MADE_BY, MADE_FOR, identity, make, new_version, outcome
from weir.api.agentpolicy import Template
from weir.api.base import LocalRef

# --- Filling in ------------------------------------------------------------------------------------------------------


def test_given_a_granted_retrain_when_made_then_it_is_filled_in_named_as_the_request_and_labelled() -> None:
    made = make(observed(policy(), rollout()), grant(), request(retries="3"))
    assert (made.uid, made.request, made.verb) == ("uid-1", "train-1-0", "Create")
    assert made.manifest["metadata"] == {
        "name": "train-1-0",
        "labels": {"team": "ml", "weir.dev/permit": "train"},
    }
    assert made.manifest["spec"]["backoffLimit"] == 3
    (container,) = made.manifest["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["--base", "v1", "--for=ranker"]


def test_given_a_parameter_without_a_value_when_made_then_its_default_is_used() -> None:
    assert make(observed(policy(), rollout()), grant(), request()).manifest["spec"]["backoffLimit"] == 2


def test_given_the_same_grant_when_made_twice_then_the_objects_are_equal_and_the_policy_is_unchanged() -> None:
    obs = observed(policy(), rollout())
    assert make(obs, grant(), request()) == make(obs, grant(), request())
    assert obs.policy is not None
    assert obs.policy == policy()


def test_given_a_granted_reallocate_when_made_then_it_patches_what_the_template_names() -> None:
    spec = policy(permits=[SCALE_PERMIT], templates=[SCALE])
    made = make(observed(spec, rollout()), grant("scale"), request("Reallocate", "scale", "scale-1-0", replicas="4"))
    assert made.verb == "Patch"
    assert made.manifest == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "features-for-ranker"},
        "spec": {"replicas": 4},
    }


def test_given_no_candidate_when_a_template_names_it_then_it_cannot_be_made_and_says_why() -> None:
    spec = policy(templates=[template(RETRAIN_TEMPLATE, spec={"from": "${candidate.version}"})])
    with pytest.raises(TemplateError, match=r"nothing is known for \$\{candidate.version\}"):
        make(observed(spec, rollout()), grant(), request())


def test_given_a_policy_that_has_changed_when_made_then_it_says_that_the_template_is_gone() -> None:
    spec = policy(permits=[POLICY["permits"][1]], templates=None)
    with pytest.raises(TemplateError, match="no template for Retrain under train"):
        make(observed(spec, rollout()), grant(), request())


def test_given_a_rollout_whose_name_is_no_label_when_a_version_would_come_of_it_then_nothing_runs_in_vain() -> None:
    long = "r" * 64
    asked = request()
    spec = asked.spec.model_copy(update={"rollout_ref": LocalRef(name=long)})
    with pytest.raises(TemplateError, match="63 characters, so no version can be labelled with it"):
        make(observed(policy(), rollout(long)), grant(), replace(asked, spec=spec))


@pytest.mark.parametrize("mode", ["Enforce", "Audit"])
def test_given_a_parameter_that_decides_whose_code_runs_then_no_mode_lets_it_out_of_its_bounds(mode: str) -> None:
    spec = policy(
        mode=mode,
        permits=[{**POLICY["permits"][0], "parameters": [{"name": "tag", "values": ["v1", "v2"]}]}],
        templates=[template(RETRAIN_TEMPLATE, spec={"containers": [{"image": "trainer:${parameters.tag}"}]})],
    )
    made = make(observed(spec, rollout()), grant(), request(tag="v2"))
    assert made.manifest["spec"]["containers"][0]["image"] == "trainer:v2"
    with pytest.raises(TemplateError, match="'evil'; allowed are v1, v2; it decides whose code runs"):
        make(observed(spec, rollout()), grant(), request(tag="evil"))


def test_given_a_name_too_long_for_a_label_when_made_then_it_is_refused() -> None:
    with pytest.raises(TemplateError, match="63 characters"):
        make(observed(policy(), rollout()), grant(), request(name="t" * 64))


def test_given_a_template_that_was_never_checked_when_made_then_forbidden_kinds_are_refused_all_the_same() -> None:
    spec = policy(templates=[template(RETRAIN_TEMPLATE, apiVersion="v1", kind="Secret")])
    with pytest.raises(TemplateError, match="Secret"):
        make(observed(spec, rollout()), grant(), request())


def test_given_a_template_that_was_never_checked_when_its_pods_would_get_traffic_then_it_is_refused() -> None:
    labelled = {"template": {"metadata": {"labels": {"weir.dev/pool": "${stable.label}"}}}}
    spec = policy(templates=[template(RETRAIN_TEMPLATE, spec=labelled)])
    with pytest.raises(TemplateError, match="weir.dev/pool is Weir's to set"):
        make(observed(spec, rollout()), grant(), request())


@settings(deadline=None)
@given(value=st.text(max_size=60))
def test_given_any_parameter_when_filled_in_then_it_stays_one_text_and_is_never_filled_again(value: str) -> None:
    values = {"parameters": {"x": value}, "request": {"name": "secret"}}
    found = filled({"a": ["x=${parameters.x};"], "b": {"c": "${parameters.x}"}}, values)
    assert found["a"] == [f"x={value};"]
    assert set(found) == {"a", "b"}
    assert found["b"]["c"] == value or not isinstance(found["b"]["c"], str)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("3", 3), ("-3", -3), ("0.5", 0.5), ("true", True), ("false", False), ("03", "03"), ("3 ", "3 "), ("1e3", "1e3"),
        ("nan", "nan"), ("null", "null"), ("", ""), ("9" * 30, "9" * 30), ("٣", "٣"),
    ],
)  # fmt: skip
def test_given_a_text_that_is_one_place_when_filled_in_then_numbers_and_booleans_are_typed(
    value: str, expected: object
) -> None:
    found = filled("${parameters.x}", {"parameters": {"x": value}})
    assert found == expected
    assert type(found) is type(expected)


def test_given_a_release_that_ended_meanwhile_when_asked_what_was_made_then_it_is_told_all_the_same() -> None:
    spec = policy(templates=[template(RETRAIN_TEMPLATE, spec={"from": "${candidate.version}"})])
    assert identity(observed(spec, rollout()), request()) == ("batch/v1", "Job", "train-1-0")


def test_given_a_reallocate_when_asked_what_it_patches_then_its_name_is_filled_in() -> None:
    spec = policy(permits=[SCALE_PERMIT], templates=[SCALE])
    found = identity(observed(spec, rollout()), request("Reallocate", "scale", "scale-1-0"))
    assert found == ("apps/v1", "Deployment", "features-for-ranker")


def test_given_a_text_that_is_more_than_one_place_when_filled_in_then_it_stays_a_text() -> None:
    values = {"parameters": {"x": "1", "y": "2"}}
    assert filled(["${parameters.x}${parameters.y}", "0${parameters.x}", "3"], values) == ["12", "01", "3"]


# --- Following -------------------------------------------------------------------------------------------------------


def job(**status: Any) -> dict[str, Any]:
    return {"kind": "Job", "metadata": {"name": "train-1-0"}, "status": status}


TRAIN = Template.model_validate(RETRAIN_TEMPLATE)
DONE = {"type": "Complete", "status": "True"}
BROKEN = {"type": "Failed", "status": "True"}


@pytest.mark.parametrize(
    ("object_", "phase"),
    [
        ({"kind": "Job", "metadata": {"name": "x"}}, "Running"),
        (job(), "Running"),
        (job(conditions=[]), "Running"),
        (job(conditions=[{**DONE, "status": "False"}]), "Running"),
        (job(conditions=[DONE]), "Succeeded"),
        (job(conditions=[BROKEN]), "Failed"),
        (job(conditions=[DONE, BROKEN]), "Failed"),
        (None, "Failed"),
    ],
)
def test_given_the_object_of_a_template_when_looked_at_then_its_conditions_tell(
    object_: dict[str, Any] | None, phase: str
) -> None:
    assert outcome(TRAIN, object_, NOW, NOW + 10).phase == phase


def test_given_an_object_that_does_not_end_when_its_time_is_over_then_it_has_failed() -> None:
    ends = NOW + 6 * 3600
    running = outcome(TRAIN, job(), NOW, ends - 1)
    assert (running.phase, running.wake_at) == ("Running", ends)
    late = outcome(TRAIN, job(), NOW, ends)
    assert late.phase == "Failed"
    assert '"conditions" is not known' in late.message
    assert outcome(TRAIN, job(conditions=[DONE]), NOW, ends).phase == "Succeeded", "it came in time after all"


# --- What comes of it ------------------------------------------------------------------------------------------------


def test_given_a_retrain_that_succeeded_when_asked_what_came_of_it_then_it_is_a_new_version_of_the_base() -> None:
    base = model("v1", evaluations=[{"name": "held-out", "dataset": "d", "metric": "accuracy", "value": "0.99"}])
    obs = observed(policy(), rollout(), versions={"v1": base})
    made = new_version(obs, request(), FINISHED)
    assert made is not None
    assert (made["apiVersion"], made["kind"]) == ("weir.dev/v1alpha1", "ModelVersion")
    assert made["metadata"]["name"] == "train-1-0"
    assert made["metadata"]["labels"] == {MADE_BY: "train-1-0", MADE_FOR: "ranker", "weir.dev/permit": "train"}
    spec = made["spec"]
    assert (spec["model"], spec["version"]) == ("ranker", "train-1-0")
    assert spec["runtime"]["image"] == base.runtime.image
    assert spec["artifact"] == {"uri": "s3://models/train-1-0", "digest": DIGEST}, "the old signature is not for it"
    assert spec["provenance"] == {"parents": ["v1"]}
    assert "evaluations" not in spec, "results of the old weights are not those of the new ones"


def test_given_fields_of_lists_when_asked_what_came_of_it_then_entries_are_set_and_added() -> None:
    fields = {
        "artifact.uri": "s3://m",
        "evaluations.0.name": "held-out",
        "evaluations.0.dataset": "d",
        "evaluations.0.metric": "accuracy",
        "evaluations.0.value": "${object.metadata.annotations['ml.example/accuracy']}",
        "runtime.port": "9000",
        "bundle.0.uri": "s3://prompt-2",
    }
    part = {"kind": "Prompt", "name": "system", "uri": "s3://prompt-1", "digest": DIGEST}
    spec = policy(templates=[{**RETRAIN_TEMPLATE, "result": {"modelVersion": fields}}])
    obs = observed(spec, rollout(), versions={"v1": model("v1", bundle=[part])})
    made = new_version(obs, request(), FINISHED)
    assert made is not None
    assert made["spec"]["evaluations"] == [{"name": "held-out", "dataset": "d", "metric": "accuracy", "value": "0.97"}]
    assert made["spec"]["runtime"]["port"] == 9000
    assert made["spec"]["bundle"] == [{**part, "uri": "s3://prompt-2"}]


def test_given_a_template_without_a_result_when_asked_what_came_of_it_then_nothing() -> None:
    bare = {key: value for key, value in RETRAIN_TEMPLATE.items() if key != "result"}
    assert new_version(observed(policy(templates=[bare]), rollout()), request(), FINISHED) is None


@pytest.mark.parametrize(
    ("changes", "finished", "said"),
    [
        ({}, {"kind": "Job", "metadata": {}}, "nothing is known for"),
        ({"versions": {}}, FINISHED, "ModelVersion v1 is gone"),
        ({"rollouts": {}}, FINISHED, "has no stable version"),
    ],
)
def test_given_something_that_is_missing_when_asked_what_came_of_it_then_it_is_said(
    changes: dict[str, Any], finished: dict[str, Any], said: str
) -> None:
    with pytest.raises(TemplateError, match=said):
        new_version(observed(policy(), **{"rollouts": {"ranker": rollout()}, **changes}), request(), finished)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"artifact.uri.x": "y"}, "a text on the way"),
        ({"bundle.1.uri": "y"}, "no place in a list of 0"),
        ({"runtime.port": "many"}, "makes no ModelVersion: runtime.port"),
        ({"runtime": "x"}, "makes no ModelVersion: runtime"),
    ],
)
def test_given_fields_that_fit_no_model_version_when_asked_what_came_of_it_then_it_is_said(
    fields: dict[str, str], said: str
) -> None:
    spec = policy(templates=[{**RETRAIN_TEMPLATE, "result": {"modelVersion": fields}}])
    with pytest.raises(TemplateError, match=said):
        new_version(observed(spec, rollout()), request(), FINISHED)
