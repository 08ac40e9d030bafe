"""What people see: ``kubectl get``, ``explain``, field selectors; and statuses as the models write them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest

from tests.api import objects as good
from tests.api.conftest import KIND, Objects, Server
from weir.api.actionrequest import ActionRequestStatus
from weir.api.agentpolicy import POLICY_NAME, AgentPolicyStatus
from weir.api.base import ApiModel, Condition
from weir.api.clusteragentpolicy import ClusterAgentPolicyStatus
from weir.api.contractcheck import ContractCheckStatus
from weir.api.datacontractstatus import DataContractStatus
from weir.api.evidencestatus import Counts
from weir.api.modelversion import ModelVersionStatus
from weir.api.rolloutstatus import (
    DecisionEntry,
    GateStatus,
    Measurement,
    Phase,
    RolloutStatus,
    StageStatus,
    Verdict,
    VersionStatus,
)

pytestmark = pytest.mark.api
NOW = 1767323045.678


def _condition(kind: str, status: str = "True") -> Condition:
    return Condition.model_validate(
        {"type": kind, "status": status, "lastTransitionTime": NOW, "reason": "Tested", "message": "as a test says"}
    )


def _version(name: str, label: str) -> VersionStatus:
    return VersionStatus(version=name, label=label, digest=good.DIGEST, revision="r1", pool=f"{name}-r1")


ROLLOUT_STATUS = RolloutStatus(
    observed_generation=1,
    phase=Phase.SHIFTING,
    message="waiting for gate errors",
    release=2,
    stable=_version("digits-1", "v1"),
    candidate=_version("digits-2", "v2"),
    stage=StageStatus(index=1, name="Traffic(25)", weight=25, started_at=NOW),
    weight=25,
    verdict=Verdict.INSUFFICIENT,
    gates=[GateStatus(name="errors", value=Decimal("1E-9"), stable_value=Decimal(1) / Decimal(3), window_end=NOW)],
    decisions=[
        DecisionEntry(
            at=NOW,
            phase=Phase.SHIFTING,
            reason="StageEntered",
            message="25 percent",
            evidence=[Measurement(gate="errors", verdict=Verdict.PASS, candidate=Counts(bad=1, total=9))],
        )
    ],
    conditions=[_condition("Ready", "False"), _condition("Reconciling")],
)


def _table(text: str) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Columns and rows of kubectl's output, cut where the header's columns begin."""
    lines = text.splitlines()
    starts = [i for i, c in enumerate(lines[0]) if c != " " and (i == 0 or lines[0][i - 2 : i] == "  ")]
    ends = [*starts[1:], None]
    rows = [[line[a:b].strip() for a, b in zip(starts, ends, strict=True)] for line in lines]
    return rows[0], rows[1:]


def _store(objects: Objects, kind: str, name: str, spec: good.Spec, status: ApiModel | None = None) -> None:
    stored = objects.create(KIND[kind], spec, name)
    if status is not None:
        written = objects.set_status(KIND[kind], stored, status.to_dict())
        assert written["status"] == status.to_dict()


def test_given_a_rollout_in_a_release_when_listed_then_the_row_tells_where_it_is(
    objects: Objects, api_server: Server
) -> None:
    _store(objects, "Rollout", "columns", good.ROLLOUT, ROLLOUT_STATUS)

    header, rows = _table(api_server.kubectl("get", "rollouts.weir.dev", "columns", "-n", objects.namespace))

    assert header == ["NAME", "STABLE", "CANDIDATE", "WEIGHT", "STAGE", "VERDICT", "PHASE", "AGE"]
    assert rows[0][:-1] == ["columns", "v1", "v2", "25", "Traffic(25)", "Insufficient", "Shifting"]
    header, rows = _table(api_server.kubectl("get", "wro", "columns", "-n", objects.namespace, "-o", "wide"))
    assert dict(zip(header, rows[0], strict=True))["MESSAGE"] == "waiting for gate errors"


def test_given_a_version_in_use_when_listed_then_the_row_tells_by_whom(objects: Objects, api_server: Server) -> None:
    status = ModelVersionStatus(
        digest=good.DIGEST, stage="Serving", served_by=["digits", "letters"], conditions=[_condition("Ready")]
    )
    _store(objects, "ModelVersion", "columns", good.MODEL_VERSION, status)

    header, rows = _table(api_server.kubectl("get", "mver", "columns", "-n", objects.namespace))

    assert header == ["NAME", "MODEL", "VERSION", "STAGE", "SERVED BY", "READY", "AGE"]
    assert rows[0][:-1] == ["columns", "digits", "1.0.0", "Serving", '["digits","letters"]', "True"]
    header, rows = _table(api_server.kubectl("get", "mver", "columns", "-n", objects.namespace, "-o", "wide"))
    assert dict(zip(header, rows[0], strict=True))["DIGEST"] == good.DIGEST


def test_given_the_other_kinds_when_listed_then_their_columns_read_well(objects: Objects, api_server: Server) -> None:
    told = AgentPolicyStatus(conditions=[_condition("Ready"), _condition("GuardrailsInstalled")], message="2 waiting")
    _store(objects, "RolloutRecord", "columns", good.RECORD)
    _store(objects, "ActionRequest", "columns", good.ACTION, ActionRequestStatus(phase="Succeeded"))
    _store(objects, "AgentPolicy", POLICY_NAME, good.POLICY, told)
    _store(objects, "ClusterAgentPolicy", POLICY_NAME, good.CLUSTER_POLICY, ClusterAgentPolicyStatus(namespaces=3))

    def row(kind: str, name: str = "columns") -> dict[str, str]:
        header, rows = _table(api_server.kubectl("get", kind, name, "-n", objects.namespace))
        return dict(zip(header, rows[0], strict=True))

    record = row("wrec")
    assert (record["ROLLOUT"], record["RELEASE"], record["CANDIDATE"], record["OUTCOME"]) == (
        *("digits", "3", "2.0.0", "RolledBack"),
    )
    assert record["FINISHED"]
    action = row("areq")
    assert (action["ACTION"], action["ROLLOUT"], action["PHASE"]) == ("Abort", "digits", "Succeeded")
    policy = row("agp", POLICY_NAME)
    assert (policy["MODE"], policy["PAUSED"], policy["READY"], policy["GUARDRAILS"], policy["MESSAGE"]) == (
        *("Enforce", "false", "True", "True", "2 waiting"),
    )
    outer = row("cagp", POLICY_NAME)
    assert (outer["PAUSED"], outer["NAMESPACES"]) == ("false", "3")


def test_given_a_contract_and_its_check_when_listed_then_the_rows_tell_the_verdict_and_why(
    objects: Objects, api_server: Server
) -> None:
    contract = DataContractStatus(
        digest=good.DIGEST,
        contract_id="orders",
        version="1.0.0",
        verdict="Fail",
        conditions=[_condition("Ready", "False"), _condition("Compatible"), _condition("DriftFree", "Unknown")],
    )
    check = ContractCheckStatus(
        digest=good.DIGEST, verdict="Fail", message="orders.amount: 3 nulls", started_at=NOW, finished_at=NOW + 2
    )
    _store(objects, "DataContract", "columns", good.CONTRACT_FULL, contract)
    _store(objects, "ContractCheck", "columns", good.CHECK_FULL, check)

    header, rows = _table(api_server.kubectl("get", "dcon", "columns", "-n", objects.namespace, "-o", "wide"))
    assert header == [
        *("NAME", "CONTRACT", "VERSION", "VERDICT", "COMPATIBLE", "DRIFT FREE", "READY", "REASON", "DIGEST", "AGE"),
    ]
    assert rows[0][:-1] == [
        *("columns", "orders", "1.0.0", "Fail", "True", "Unknown", "False", "Tested", good.DIGEST),
    ]
    header, rows = _table(api_server.kubectl("get", "ccheck", "columns", "-n", objects.namespace))
    assert header == ["NAME", "CONTRACT", "PURPOSE", "VERDICT", "MESSAGE", "AGE"]
    assert rows[0][:-1] == ["columns", "orders", "Release", "Fail", "orders.amount: 3 nulls"]


def test_given_checks_of_several_contracts_when_selected_by_field_then_only_matching_ones_are_listed(
    objects: Objects, api_server: Server
) -> None:
    objects.create(KIND["ContractCheck"], {"contractRef": {"name": "chosen"}}, "selected")
    objects.create(KIND["ContractCheck"], {"contractRef": {"name": "other"}}, "not-selected")

    options = ("-n", objects.namespace, "--field-selector=spec.contractRef.name=chosen", "-o", "name")
    found = api_server.kubectl("get", "contractchecks.weir.dev", *options).split()

    assert found == ["contractcheck.weir.dev/selected"]


def test_given_the_category_when_listed_then_every_kind_is_in_it(objects: Objects, api_server: Server) -> None:
    listed = api_server.kubectl("api-resources", "--categories=weir", "-o", "name").split()

    assert sorted(listed) == sorted(kind.crd_name for kind in KIND.values())


def test_given_rollouts_of_several_versions_when_selected_by_field_then_only_matching_ones_are_listed(
    objects: Objects, api_server: Server
) -> None:
    objects.create(KIND["Rollout"], {**good.ROLLOUT, "versionRef": {"name": "chosen"}}, "selected")
    objects.create(KIND["Rollout"], {**good.ROLLOUT, "versionRef": {"name": "other"}}, "not-selected")

    options = ("-n", objects.namespace, "--field-selector=spec.versionRef.name=chosen", "-o", "name")
    found = api_server.kubectl("get", "rollouts.weir.dev", *options).split()

    assert found == ["rollout.weir.dev/selected"]


def test_given_the_schema_when_explained_then_the_models_descriptions_appear(
    objects: Objects, api_server: Server
) -> None:
    text = api_server.kubectl("explain", "rollouts.weir.dev.spec.strategy")

    assert "canary: shares of traffic in steps." in text
    assert "blueGreen: preview, then one switch." in text


def test_given_a_status_when_written_through_the_object_then_it_is_ignored_and_the_generation_stays(
    objects: Objects,
) -> None:
    kind = KIND["Rollout"]
    stored = objects.create(kind, good.ROLLOUT)

    unchanged = objects.replace(kind, {**stored, "status": {"phase": "Promoted"}}, stored["spec"])
    written = objects.set_status(kind, unchanged, ROLLOUT_STATUS.to_dict())

    assert "status" not in unchanged
    assert written["metadata"]["generation"] == stored["metadata"]["generation"]
