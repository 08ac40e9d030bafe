"""The objects of a check: locked down, named for ever the same, and a plan that the pod can read."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api import objects as good
from weir.api.datacontract import DataContractSpec
from weir.jobs.plan import Plan
from weir.runtime.resources import CONFIG_MAPS, JOBS, ROLE_BINDINGS, SERVICE_ACCOUNTS, KubeObject, Resource
from weir.workload.checkjob import MAX_CHECK_NAME, CheckJob, check_name, kept_name, named_servers

NOW = 1_800_000_000.0
DIGEST = "sha256:" + "d" * 64
SERVERS = [
    {"name": "lake", "odcsServer": "lake", "secretRef": {"name": "lake-read"}},
    {"name": "feed", "odcsServer": "feed", "volume": {"claimName": "orders"}},
]


def job(check: dict[str, Any] | None = None, profile: str = "", **spec: Any) -> CheckJob:
    made = DataContractSpec.model_validate({**good.CONTRACT, "servers": SERVERS, **spec})
    return CheckJob(
        check={
            "metadata": {"name": "orders-1", "namespace": "ml", "uid": "u"},
            "spec": {"contractRef": {"name": "orders"}, **(check or {})},
        },
        spec=made,
        odcs=good.ODCS,
        digest=DIGEST,
        servers=named_servers(made, None),
        reference=profile,
        image="weir-check:1",
        now=NOW,
    )


def of(made: CheckJob, resource: Resource) -> KubeObject:
    (found,) = [body for kind, body in made.manifests("weir-check") if kind is resource]
    return found


def pod(made: CheckJob) -> dict[str, Any]:
    spec: dict[str, Any] = of(made, JOBS)["spec"]["template"]["spec"]
    return spec


def test_given_a_check_then_its_pod_can_do_nothing_but_check() -> None:
    found = pod(job())

    (container,) = found["containers"]
    assert found["securityContext"]["runAsNonRoot"]
    assert found["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert found["serviceAccountName"] == "weir-check"
    assert container["resources"]["limits"]["memory"] == "1Gi"
    # An fsGroup would make the kubelet change the owner of the files on a claim.
    assert "fsGroup" not in found["securityContext"]
    writable = [mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")]
    assert writable == ["tmp"]
    (tmp,) = [volume for volume in found["volumes"] if volume["name"] == "tmp"]
    assert tmp["emptyDir"]["sizeLimit"]


def test_given_servers_then_their_secrets_and_claims_are_there_read_only() -> None:
    (container,) = pod(job())["containers"]

    assert container["envFrom"] == [{"secretRef": {"name": "lake-read"}}]
    assert {"name": "data-1", "mountPath": "/data/feed", "readOnly": True} in container["volumeMounts"]
    (claim,) = [v["persistentVolumeClaim"] for v in pod(job())["volumes"] if "persistentVolumeClaim" in v]
    assert claim == {"claimName": "orders", "readOnly": True}


def test_given_an_engine_then_its_image_limits_time_and_account_count() -> None:
    made = job(
        engine={
            "image": "own:2",
            "timeout": "90s",
            "serviceAccountName": "reader",
            "resources": {"limits": {"memory": "512Mi"}},
        }
    )

    assert of(made, JOBS)["spec"]["activeDeadlineSeconds"] == 90
    assert pod(made)["containers"][0]["image"] == "own:2"
    assert pod(made)["serviceAccountName"] == "reader"
    assert made.plan()["memoryLimit"] == 512 << 20
    assert SERVICE_ACCOUNTS not in [resource for resource, _ in made.manifests("weir-check")]
    binding = of(made, ROLE_BINDINGS)
    assert binding["metadata"]["name"] == "weir-check-reader"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "reader", "namespace": "ml"}]


def test_given_a_check_then_the_pod_can_read_its_plan_and_it_never_changes() -> None:
    made = job({"purpose": "Release"}, '{"version": 1, "tables": {}}')

    stored = of(made, CONFIG_MAPS)
    plan = Plan.model_validate_json(stored["data"]["plan.json"])

    assert stored["immutable"]
    assert (plan.check, plan.namespace, plan.contract, plan.digest) == ("orders-1", "ml", "orders", DIGEST)
    assert (plan.servers, plan.purpose, plan.now) == (["lake", "feed"], "Release", NOW)
    assert plan.odcs == good.ODCS
    assert plan.reference == {"version": 1, "tables": {}}
    assert (plan.spec.odcs, plan.spec.roles) == (None, ["Features"])
    assert [server.name for server in plan.spec.servers or ()] == ["lake", "feed"]
    assert (plan.memory_limit, plan.data_root) == (1 << 30, "/data")


def test_given_the_full_contract_then_its_plan_can_be_read() -> None:
    plan = Plan.model_validate(job(**{k: v for k, v in good.CONTRACT_FULL.items() if k != "odcs"}).plan())

    assert plan.spec.metric_rules is not None
    assert plan.spec.metric_rules[0].name == "few-nulls"


def test_given_the_job_comes_last_then_everything_that_its_pod_needs_is_there_first() -> None:
    made = [resource.kind for resource, _ in job().manifests("weir-check")]

    assert made == ["ServiceAccount", "RoleBinding", "ConfigMap", "Job"]


def test_given_the_check_goes_then_plan_and_job_go_and_the_account_stays() -> None:
    owners = {kind.kind: body["metadata"].get("ownerReferences") for kind, body in job().manifests("weir-check")}

    assert owners["ServiceAccount"] is owners["RoleBinding"] is None
    assert [o[0]["uid"] for o in (owners["ConfigMap"], owners["Job"]) if o] == ["u", "u"]


@pytest.mark.parametrize("contract", ["orders", "o" * 253, "orders.of.eu", "o" * 46, "1st"])
def test_given_any_contract_then_names_fit_and_differ(contract: str) -> None:
    name = check_name(contract, "r-0123456789")
    assert len(name) <= MAX_CHECK_NAME
    assert name != check_name(contract + "x", "r-0123456789")
    assert name.endswith("-r-0123456789")
    assert "." not in name
    assert len(kept_name(contract, "0123456789")) <= 253
    assert kept_name(contract, "0123456789") != kept_name(contract[:-1] + "x", "0123456789")


def test_given_a_server_that_is_not_there_then_it_is_named() -> None:
    spec = DataContractSpec.model_validate({**good.CONTRACT, "servers": SERVERS})
    assert [server.name for server in named_servers(spec, ["feed"])] == ["feed"]
    with pytest.raises(KeyError, match="sea"):
        named_servers(spec, ["sea"])
