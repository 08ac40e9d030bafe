"""What the real API server accepts, fills in and refuses."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes.client import ApiException

from tests.api import objects as good
from tests.api.cases import DELETE, RULES, Bad, edited
from tests.api.conftest import KIND, Objects, Refused

pytestmark = pytest.mark.api


@pytest.mark.parametrize(("kind", "spec"), [pytest.param(k, s, id=f"{k}: {i}") for k, i, s in good.GOOD])
def test_given_a_good_object_when_created_strictly_then_it_is_accepted(
    objects: Objects, kind: str, spec: dict[str, Any]
) -> None:
    stored = objects.create(KIND[kind], spec, dry_run=True)

    assert _contains(stored["spec"], spec)


@pytest.mark.parametrize("bad", [pytest.param(case, id=case.id) for case in RULES])
def test_given_a_bad_object_when_written_then_the_rule_answers_in_its_own_words(objects: Objects, bad: Bad) -> None:
    kind = KIND[bad.kind]
    if bad.update:
        stored = objects.create(kind, bad.base)
        with pytest.raises(Refused) as refused:
            objects.replace(kind, stored, edited(stored["spec"], bad.changes))
    else:
        with pytest.raises(Refused) as refused:
            objects.create(kind, bad.bad, bad.name, dry_run=True)

    answers = [(at.removeprefix("<nil>"), message) for at, message in refused.value.causes]
    assert any(at == bad.at and _says(message, bad.message) for at, message in answers), answers


def _says(answer: str, message: str) -> bool:
    """The server puts the kind of error and the value in front of a rule's message."""
    return answer == message or answer.endswith(f": {message}")


def _contains(stored: Any, written: Any) -> bool:
    if isinstance(written, dict):
        return isinstance(stored, dict) and all(k in stored and _contains(stored[k], v) for k, v in written.items())
    if isinstance(written, list):
        return len(stored) == len(written) and all(map(_contains, stored, written))
    return bool(stored == written)


def test_given_only_what_is_required_when_created_then_the_documented_defaults_appear(objects: Objects) -> None:
    spec = {**good.ROLLOUT, "gates": [good.HTTP_GATE], "metrics": {"scrape": {}}}

    stored = objects.create(KIND["Rollout"], spec, dry_run=True)["spec"]

    assert stored["replicas"] == 1
    assert stored["paused"] is False
    assert stored["progressDeadline"] == "10m"
    assert stored["strategy"] == {"canary": {"steps": [{"weight": 50, "minDuration": "1m"}], "bake": "1m"}}
    assert stored["rollback"] == {"keepFor": "10m", "drain": "5s", "historyLimit": 2, "onStableUnhealthy": "Hold"}
    assert stored["metrics"]["scrape"] == {"path": "/metrics", "interval": "2s"}
    assert stored["metrics"]["names"]["requests"] == "http_requests_total"
    assert stored["gates"][0]["minSamples"] == 50


def test_given_no_metrics_and_an_empty_blue_green_when_created_then_nested_defaults_appear(objects: Objects) -> None:
    stored = objects.create(KIND["Rollout"], good.ROLLOUT_BLUE_GREEN_EMPTY, dry_run=True)["spec"]

    assert stored["strategy"] == {
        "blueGreen": {"bake": "1m", "preview": {"minDuration": "30s", "requestsPerSecond": 10}}
    }
    assert stored["metrics"]["names"]["duration"] == "http_request_duration_seconds"


@pytest.mark.parametrize(("kind", "spec"), [pytest.param(k, s, id=f"{k}: {i}") for k, i, s in good.GOOD])
def test_given_a_good_object_when_defaulted_by_the_server_then_the_models_read_the_same_as_before(
    objects: Objects, kind: str, spec: dict[str, Any]
) -> None:
    model = KIND[kind].spec

    stored = objects.create(KIND[kind], spec, dry_run=True)["spec"]

    assert model.model_validate(stored) == model.model_validate(spec)


def test_given_a_sealed_record_when_stored_then_nothing_is_added_to_it(objects: Objects) -> None:
    assert objects.create(KIND["RolloutRecord"], good.RECORD, dry_run=True)["spec"] == good.RECORD


def test_given_a_contract_document_when_stored_then_it_comes_back_verbatim(objects: Objects) -> None:
    assert objects.create(KIND["DataContract"], good.CONTRACT, dry_run=True)["spec"]["odcs"] == good.ODCS


def test_given_a_mistyped_field_when_created_strictly_then_it_is_refused(objects: Objects) -> None:
    with pytest.raises(ApiException, match=r"unknown field.*spec\.versionReff"):
        objects.create(KIND["Rollout"], {**good.ROLLOUT, "versionReff": {"name": "x"}}, dry_run=True)


def test_given_a_gate_without_a_name_when_created_then_nothing_is_missing(objects: Objects) -> None:
    gates = [{"template": "http-errors"}, {"template": "http-latency"}]

    stored = objects.create(KIND["Rollout"], {**good.ROLLOUT, "gates": gates}, dry_run=True)["spec"]["gates"]

    assert [(gate["template"], "name" in gate) for gate in stored] == [("http-errors", False), ("http-latency", False)]


def test_given_one_subject_twice_when_created_then_the_duplicate_is_named(objects: Objects) -> None:
    with pytest.raises(Refused) as refused:
        objects.create(KIND["AgentPolicy"], {**good.POLICY, "subjects": good.POLICY["subjects"] * 2}, dry_run=True)

    assert any(at == "spec.subjects[1]" and "Duplicate" in text for at, text in refused.value.causes)


def test_given_a_number_with_an_exponent_when_created_then_it_is_accepted(objects: Objects) -> None:
    gate = {**good.THRESHOLD_GATE, "min": "1E-9", "max": "1.5e+2"}

    stored = objects.create(KIND["Rollout"], {**good.ROLLOUT_GATEWAY, "gates": [gate]}, dry_run=True)

    assert stored["spec"]["gates"][0]["max"] == "1.5e+2"


@pytest.mark.parametrize("weight", [0, 101, -1])
def test_given_a_weight_outside_1_to_100_when_created_then_it_is_refused(objects: Objects, weight: int) -> None:
    with pytest.raises(Refused) as refused:
        objects.create(KIND["Rollout"], edited(good.ROLLOUT, {"strategy.canary.steps.0.weight": weight}), dry_run=True)

    assert refused.value.causes[0][0] == "spec.strategy.canary.steps[0].weight"


def test_given_a_stored_version_when_only_support_changes_then_it_is_accepted(objects: Objects) -> None:
    kind = KIND["ModelVersion"]
    stored = objects.create(kind, good.MODEL_VERSION_FULL)

    changed = objects.replace(kind, stored, edited(stored["spec"], {"support": {"replacedBy": "digits-9"}}))
    removed = objects.replace(kind, changed, edited(changed["spec"], {"support": DELETE}))

    assert changed["spec"]["support"] == {"replacedBy": "digits-9"}
    assert "support" not in removed["spec"]


def test_given_a_stored_contract_when_content_and_version_change_together_then_it_is_accepted(
    objects: Objects,
) -> None:
    kind = KIND["DataContract"]
    stored = objects.create(kind, good.CONTRACT)
    changes = {"odcs.version": "1.1.0", "odcs.schema.0.properties.0.logicalType": "integer"}

    changed = objects.replace(kind, stored, edited(stored["spec"], changes))

    assert changed["spec"]["odcs"]["version"] == "1.1.0"
