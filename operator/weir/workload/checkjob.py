"""The objects of a contract check: the ContractCheck, its plan, the account it runs under, and the locked-down Job."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weir.api.base import format_time, seconds
from weir.api.contractcheck import ContractCheckSpec
from weir.api.datacontract import DataContractSpec, Server
from weir.runtime.resources import (
    CONFIG_MAPS,
    CONTRACT_CHECKS,
    CONTROLLER_REVISIONS,
    DATA_CONTRACTS,
    JOBS,
    ROLE_BINDINGS,
    SERVICE_ACCOUNTS,
    KubeObject,
    Resource,
)
from weir.workload.compare import quantity
from weir.workload.identity import label_value

LABEL_CONTRACT = "weir.dev/contract"
LABEL_CHECK = "weir.dev/check"
ANNOTATION_DIGEST = "weir.dev/digest"
PLAN_KEY = "plan.json"
PROFILE_KEY = "profile.json"
CHECK_ACCOUNT = "weir-check"
"""ServiceAccount of the pods that check, in each namespace; and the ClusterRole that lets them write their result."""

MAX_CHECK_NAME = 57
"""Characters of a check's name: with more, Kubernetes would cut it in the name of its pod, by which the pod is told."""
_MAX_OBJECT_NAME = 253
_DEFAULT_MEMORY = "1Gi"
_LEAST_MEMORY = 64 << 20
_SCRATCH = "4Gi"
_PLAN_DIR = "/plan"
_DATA_DIR = "/data"
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")

_POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def check_name(contract: str, suffix: str) -> str:
    """``<contract>-<suffix>`` as the name of a ContractCheck and its Job; a long contract's name gets a hash."""
    return _named(contract, suffix, MAX_CHECK_NAME)


def kept_name(contract: str, suffix: str) -> str:
    """``<contract>-<suffix>`` as the name of a ControllerRevision or ConfigMap."""
    name = f"{contract}-{suffix}"
    return name if len(name) <= _MAX_OBJECT_NAME else _named(contract, suffix, _MAX_OBJECT_NAME)


def _named(contract: str, suffix: str, limit: int) -> str:
    name = f"{contract}-{suffix}"
    if len(name) <= limit and _LABEL.fullmatch(contract):
        return name
    digits = hashlib.sha256(contract.encode()).hexdigest()[:8]
    room = limit - len(suffix) - len(digits) - 2
    base = re.sub(r"[^a-z0-9-]", "-", contract)[:room].strip("-")
    return f"{base}-{digits}-{suffix}"


def owner_reference(resource: Resource, owner: KubeObject) -> dict[str, Any]:
    """The reference by which an object goes when its owner goes; it does not hold the owner's deletion up."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": False,
    }


def owned(obj: KubeObject, owner: KubeObject) -> bool:
    """Whether this very owner (not a namesake that existed before) controls the object."""
    references = obj["metadata"].get("ownerReferences") or []
    return any(r.get("uid") == owner["metadata"]["uid"] and r.get("controller") for r in references)


def contract_labels(contract: str) -> dict[str, str]:
    """Labels of every object that Weir makes for a DataContract."""
    return {"app.kubernetes.io/managed-by": "weir", LABEL_CONTRACT: label_value(contract)}


def contract_check(contract: KubeObject, name: str, spec: ContractCheckSpec) -> KubeObject:
    """A ContractCheck that the operator asks for; it goes with its DataContract."""
    meta = contract["metadata"]
    return {
        "apiVersion": CONTRACT_CHECKS.api_version,
        "kind": CONTRACT_CHECKS.kind,
        "metadata": {
            "name": name,
            "namespace": meta["namespace"],
            "labels": contract_labels(meta["name"]),
            "ownerReferences": [owner_reference(DATA_CONTRACTS, contract)],
        },
        "spec": spec.to_dict(),
    }


@dataclass(frozen=True)
class CheckJob:
    """One check to run: the object, what it checks, and what runs it.

    ``odcs``: the accepted document of the revision with this ``digest``. ``servers``: those to check. ``reference``:
    the reference profile as JSON text, empty without one. ``image``: where the contract names none. ``now``: seconds
    since the epoch.
    """

    check: KubeObject
    spec: DataContractSpec
    odcs: Mapping[str, Any]
    digest: str
    servers: tuple[Server, ...]
    reference: str
    image: str
    now: float

    @property
    def name(self) -> str:
        """Name of the check, and of everything that is its own."""
        return str(self.check["metadata"]["name"])

    @property
    def contract(self) -> str:
        """Name of the DataContract."""
        return str(self.check["spec"]["contractRef"]["name"])

    @property
    def account(self) -> str:
        """ServiceAccount of the pod."""
        return self.spec.engine.service_account_name or CHECK_ACCOUNT

    def manifests(self, role: str) -> tuple[tuple[Resource, KubeObject], ...]:
        """Everything to create, in order; the Job last. ``role``: ClusterRole that lets a pod write its result."""
        own = () if self.spec.engine.service_account_name else ((SERVICE_ACCOUNTS, self._service_account()),)
        return (
            *own,
            (ROLE_BINDINGS, self._role_binding(role)),
            (CONFIG_MAPS, self._plan()),
            (JOBS, self._job()),
        )

    def _metadata(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "namespace": self.check["metadata"]["namespace"],
            "labels": {**contract_labels(self.contract), LABEL_CHECK: label_value(self.name)},
            "ownerReferences": [owner_reference(CONTRACT_CHECKS, self.check)],
        }

    def _shared(self, name: str) -> dict[str, Any]:
        labels = {"app.kubernetes.io/managed-by": "weir"}
        return {"name": name, "namespace": self.check["metadata"]["namespace"], "labels": labels}

    def _service_account(self) -> KubeObject:
        return {**_kind(SERVICE_ACCOUNTS), "metadata": self._shared(CHECK_ACCOUNT)}

    def _role_binding(self, role: str) -> KubeObject:
        name = CHECK_ACCOUNT if self.account == CHECK_ACCOUNT else kept_name(CHECK_ACCOUNT, self.account)
        api = ROLE_BINDINGS.group
        return {
            **_kind(ROLE_BINDINGS),
            "metadata": self._shared(name),
            "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": role},
            "subjects": [
                {"kind": "ServiceAccount", "name": self.account, "namespace": self.check["metadata"]["namespace"]}
            ],
        }

    def _plan(self) -> KubeObject:
        text = json.dumps(self.plan(), ensure_ascii=False, separators=(",", ":"))
        return {**_kind(CONFIG_MAPS), "metadata": self._metadata(), "immutable": True, "data": {PLAN_KEY: text}}

    def plan(self) -> dict[str, Any]:
        """What the pod reads: the fields of ``weir.jobs.plan.Plan``, which the operator itself must not import."""
        spec = {name: value for name, value in self.spec.to_dict().items() if name not in ("odcs", "source")}
        plan = {
            "check": self.name,
            "namespace": self.check["metadata"]["namespace"],
            "contract": self.contract,
            "digest": self.digest,
            "odcs": self.odcs,
            "spec": spec,
            "servers": [server.name for server in self.servers],
            "purpose": self.check["spec"].get("purpose", "Request"),
            "now": format_time(self.now),
            "memoryLimit": self._memory_limit(),
            "dataRoot": _DATA_DIR,
        }
        return plan | ({"reference": json.loads(self.reference)} if self.reference else {})

    def _resources(self) -> dict[str, Any]:
        given = self.spec.engine.resources or {}
        limits = {"memory": _DEFAULT_MEMORY, **(given.get("limits") or {})}
        requests = given.get("requests") or ({} if given else {"cpu": "100m", "memory": "256Mi"})
        return {**given, "limits": limits, **({"requests": requests} if requests else {})}

    def _memory_limit(self) -> int:
        """Bytes that the container may use; what the API server would refuse as a quantity counts as the default."""
        stated = quantity(self._resources()["limits"]["memory"]) or quantity(_DEFAULT_MEMORY) or 0
        return max(int(stated), _LEAST_MEMORY)

    def _job(self) -> KubeObject:
        metadata = {**self._metadata(), "annotations": {ANNOTATION_DIGEST: self.digest}}
        template = {"metadata": {"labels": metadata["labels"]}, "spec": self._pod()}
        spec = {
            "backoffLimit": 1,
            "activeDeadlineSeconds": max(1, int(seconds(self.spec.engine.timeout))),
            "template": template,
        }
        return {**_kind(JOBS), "metadata": metadata, "spec": spec}

    def _pod(self) -> dict[str, Any]:
        mounts, volumes = self._volumes()
        secrets = dict.fromkeys(server.secret_ref.name for server in self.servers if server.secret_ref is not None)
        container = {
            "name": "check",
            "image": self.spec.engine.image or self.image,
            "args": ["contract", "run", "--plan", f"{_PLAN_DIR}/{PLAN_KEY}"],
            "env": [{"name": "HOME", "value": "/tmp"}],
            "envFrom": [{"secretRef": {"name": name}} for name in secrets],
            "resources": self._resources(),
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "securityContext": _CONTAINER_SECURITY,
            "volumeMounts": mounts,
        }
        return {
            "serviceAccountName": self.account,
            # The result is written with the pod's own token, by which the API server knows which pod it is.
            "automountServiceAccountToken": True,
            "enableServiceLinks": False,
            "restartPolicy": "Never",
            "securityContext": _POD_SECURITY,
            "containers": [container],
            "volumes": volumes,
        }

    def _volumes(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        mounts: list[dict[str, Any]] = [
            {"name": "plan", "mountPath": _PLAN_DIR, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
        ]
        volumes: list[dict[str, Any]] = [
            {"name": "plan", "configMap": {"name": self.name}},
            {"name": "tmp", "emptyDir": {"sizeLimit": _SCRATCH}},
        ]
        for number, server in enumerate(self.servers):
            if server.volume is not None:
                claim = {"claimName": server.volume.claim_name, "readOnly": True}
                volumes.append({"name": f"data-{number}", "persistentVolumeClaim": claim})
                mount = {"name": f"data-{number}", "mountPath": f"{_DATA_DIR}/{server.name}", "readOnly": True}
                mounts.append(mount)
        return mounts, volumes


def reference_map(revision: KubeObject, contract: str, profile: str, digest: str) -> KubeObject:
    """The ConfigMap that keeps a reference profile (JSON text with this ``digest``), for checks and model servers.

    It goes with the ControllerRevision whose data it describes.
    """
    return {
        **_kind(CONFIG_MAPS),
        "metadata": {
            "name": kept_name(contract, f"reference-{digest.removeprefix('sha256:')[:10]}"),
            "namespace": revision["metadata"]["namespace"],
            "labels": contract_labels(contract),
            "ownerReferences": [owner_reference(CONTROLLER_REVISIONS, revision)],
        },
        "immutable": True,
        "data": {PROFILE_KEY: profile},
    }


def named_servers(spec: DataContractSpec, names: Sequence[str] | None) -> tuple[Server, ...]:
    """The servers of these names, all without any; raises KeyError for a name that the contract does not have."""
    known = {server.name: server for server in spec.servers or ()}
    return tuple(known[name] for name in names) if names else tuple(known.values())


def _kind(resource: Resource) -> dict[str, str]:
    return {"apiVersion": resource.api_version, "kind": resource.kind}
