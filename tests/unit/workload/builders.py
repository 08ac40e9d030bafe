"""Objects for the tests of workload and traffic."""

from typing import Any

from weir.api.modelversion import ModelVersionSpec
from weir.api.rollout import RolloutSpec
from weir.release.observation import RolloutView
from weir.workload.manifests import PoolRequest, owner_reference, rollout_labels

DIGEST = "sha256:" + "a" * 64


def rollout_spec(**changes: Any) -> RolloutSpec:
    spec: dict[str, Any] = {
        "versionRef": {"name": "digits-v1"},
        "replicas": 4,
        "traffic": {
            "gateway": {"parentRefs": [{"name": "web", "namespace": "infra"}], "hostnames": ["digits.example"]}
        },
        "strategy": {"canary": {"steps": [{"weight": 25}]}},
    }
    return RolloutSpec.model_validate({**spec, **changes})


def rollout(name: str = "digits", **changes: Any) -> RolloutView:
    return RolloutView(name=name, namespace="ml", uid=f"uid-{name}", generation=1, spec=rollout_spec(**changes))


def version_spec(runtime: dict[str, Any] | None = None, **changes: Any) -> ModelVersionSpec:
    spec: dict[str, Any] = {
        "model": "digits",
        "version": "1.0",
        "runtime": {"image": "example.test/digits:1", **(runtime or {})},
    }
    return ModelVersionSpec.model_validate({**spec, **changes})


def model_version(name: str = "digits-v1", **changes: Any) -> dict[str, Any]:
    spec = version_spec(**changes)
    return {"metadata": {"name": name, "namespace": "ml"}, "spec": spec.to_dict()}


def pool_request(view: RolloutView | None = None, content: ModelVersionSpec | None = None) -> PoolRequest:
    return PoolRequest(
        rollout=view or rollout(),
        pool="digits-0123abcd",
        revision="sha256:" + "b" * 64,
        content=content or version_spec(),
        fetch_image="example.test/weir:1",
    )


def owned(kind: str, name: str, view: RolloutView, **content: Any) -> dict[str, Any]:
    metadata = {
        "name": name,
        "namespace": view.namespace,
        "uid": f"uid-{kind}-{name}",
        "resourceVersion": "7",
        "labels": rollout_labels(view),
        "ownerReferences": [owner_reference(view)],
    }
    return {"kind": kind, "metadata": metadata, **content}


def pod(name: str, pool: str = "digits-0123abcd", *, deleting: bool = False, **status: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "labels": {"weir.dev/pool": pool, "weir.dev/rollout": "digits"}}
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"metadata": metadata, "status": status}


def endpoint_slice(service: str, *pods: str, ready: bool | None = True, addresses: dict[str, str] | None = None) -> Any:
    return {
        "metadata": {"name": f"{service}-x", "labels": {"kubernetes.io/service-name": service}},
        "endpoints": [
            {
                "addresses": [(addresses or {}).get(name, f"10.0.0.{sum(name.encode()) % 250}-{name}")],
                "conditions": {} if ready is None else {"ready": ready},
                "targetRef": {"kind": "Pod", "name": name},
            }
            for name in pods
        ],
    }
