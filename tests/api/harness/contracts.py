"""DataContracts in one namespace, and checks whose pods the test plays: it writes their results and ends them."""

from __future__ import annotations

import copy
import itertools
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.api import objects as good
from tests.api.harness.api import Api, eventually
from tests.api.harness.lab import Lab
from weir.api.base import format_time
from weir.contract.profile import ColumnProfile, Profile, TableProfile
from weir.runtime.resources import (
    CONFIG_MAPS,
    CONTRACT_CHECKS,
    CONTROLLER_REVISIONS,
    DATA_CONTRACTS,
    EVENTS,
    JOBS,
    MODEL_VERSIONS,
    PODS,
    KubeObject,
    Resource,
)
from weir.workload.checkjob import CHECK_ACCOUNT

LAKE: Mapping[str, Any] = {"name": "lake", "odcsServer": "lake"}


def document(version: str = "1.0.0", **amount: Any) -> dict[str, Any]:
    """An ODCS document with one table and one server; ``amount``: further fields of its number."""
    odcs = copy.deepcopy(good.ODCS)
    del odcs["customProperties"]  # its null would be lost in a merge patch
    odcs["version"] = version
    odcs["schema"][0]["properties"][1] |= amount
    return odcs


def profile(*counts: int) -> str:
    """The profile of `orders.amount` as JSON: rows in four bins."""
    column = ColumnProfile(nulls=0, edges=("10", "20", "30"), counts=counts)
    return Profile({"orders": TableProfile(sum(counts), {"amount": column})}).to_json()


@dataclass
class Contracts:
    """The objects of one namespace."""

    lab: Lab
    namespace: str = ""
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False)

    def __post_init__(self) -> None:
        self.namespace = self.namespace or self.lab.make_namespace()

    # --- writing ---------------------------------------------------------------------------------------------------

    def create(self, name: str = "orders", **spec: Any) -> KubeObject:
        """Creates a DataContract with one server."""
        made = {"odcs": document(), "roles": ["Features"], "servers": [LAKE], **spec}
        made = {key: value for key, value in made.items() if value is not None}
        return self._create(DATA_CONTRACTS, name, made)

    def edit(self, name: str = "orders", **spec: Any) -> None:
        """Changes fields of spec."""
        self.lab.api.merge(DATA_CONTRACTS, self.namespace, name, {"spec": spec})

    def version(self, name: str, **contracts: Any) -> None:
        """Creates a ModelVersion that names contracts."""
        self._create(MODEL_VERSIONS, name, {**good.MODEL_VERSION, "version": name, "contracts": contracts})

    def ask(self, name: str = "", contract: str = "orders", by: Api | None = None, **spec: Any) -> str:
        """Asks for a check as a person does; returns its name."""
        name = name or f"asked-{next(self._numbers)}"
        self._create(CONTRACT_CHECKS, name, {"contractRef": {"name": contract}, **spec}, by)
        return name

    def config_map(self, name: str, **data: str) -> None:
        """Creates a ConfigMap."""
        body = {"metadata": {"name": name, "namespace": self.namespace}, "data": data}
        self.lab.api.create(CONFIG_MAPS, body)

    def _create(self, resource: Resource, name: str, spec: Mapping[str, Any], by: Api | None = None) -> KubeObject:
        metadata = {"name": name, "namespace": self.namespace}
        return (by or self.lab.api).create(resource, {"metadata": metadata, "spec": spec})

    # --- reading ---------------------------------------------------------------------------------------------------

    def status(self, name: str = "orders") -> KubeObject:
        """Status of a DataContract now."""
        found: KubeObject = self.lab.api.get(DATA_CONTRACTS, self.namespace, name).get("status") or {}
        return found

    def condition(self, kind: str, name: str = "orders", resource: Resource = DATA_CONTRACTS) -> KubeObject:
        """A condition now, empty where there is none."""
        status = self.lab.api.get(resource, self.namespace, name).get("status") or {}
        return next((c for c in status.get("conditions") or [] if c["type"] == kind), {})

    def wait(
        self, kind: str, reason: str, name: str = "orders", resource: Resource = DATA_CONTRACTS, within: float = 30.0
    ) -> KubeObject:
        """A condition once it has the reason, for the object as it is now."""
        generation = self.lab.api.get(resource, self.namespace, name)["metadata"]["generation"]

        def look() -> KubeObject | None:
            found = self.condition(kind, name, resource)
            current = found.get("observedGeneration", 0) >= generation
            return found if current and found.get("reason") == reason else None

        try:
            return eventually(look, f"{kind} of {name} says {reason}", within=within) or {}
        except AssertionError as error:
            raise AssertionError(f"{error}; now: {self.condition(kind, name, resource)}") from None

    def accepted(self, name: str = "orders") -> KubeObject:
        """The status once the contract is accepted as it is now."""
        self.wait("Accepted", "Accepted", name)
        return self.status(name)

    def revisions(self) -> list[KubeObject]:
        """Revisions that are kept, by number."""
        found = self.lab.api.list(CONTROLLER_REVISIONS, self.namespace, "weir.dev/contract")
        return sorted(found, key=lambda revision: int(revision["revision"]))

    def checks(self) -> dict[str, KubeObject]:
        """ContractChecks by name."""
        return {c["metadata"]["name"]: c for c in self.lab.api.list(CONTRACT_CHECKS, self.namespace)}

    def jobs(self) -> dict[str, KubeObject]:
        """Jobs by name."""
        return {j["metadata"]["name"]: j for j in self.lab.api.list(JOBS, self.namespace)}

    def events(self, name: str) -> list[KubeObject]:
        """Events about an object."""
        return [e for e in self.lab.api.list(EVENTS, self.namespace) if e["regarding"]["name"] == name]

    # --- playing the pod -------------------------------------------------------------------------------------------

    def pod(self, check: str) -> str:
        """Name of a pod of the check, once there is one that runs."""

        def look() -> str:
            found = self.lab.api.list(PODS, self.namespace, f"batch.kubernetes.io/job-name={check}")
            running = [p for p in found if (p.get("status") or {}).get("phase") == "Running"]
            return str(running[-1]["metadata"]["name"]) if running else ""

        return eventually(look, f"a pod of check {check}")

    def as_pod(self, pod: str, account: str = CHECK_ACCOUNT, namespace: str = "") -> Api:
        """The API server as a pod with this name sees it, by its token."""
        api = self.lab.api.acting_as(f"system:serviceaccount:{namespace or self.namespace}:{account}")
        api.session.headers["Impersonate-Extra-authentication.kubernetes.io%2Fpod-name"] = pod
        return api

    def result(self, check: str, verdict: str = "Pass", at: float | None = None, **fields: Any) -> dict[str, Any]:
        """A result on server lake, of the digest that the plan of the check has."""
        plan = json.loads(self.lab.api.get(CONFIG_MAPS, self.namespace, check)["data"]["plan.json"])
        at = at if at is not None else time.time()
        totals = {"name": "lake", "verdict": verdict, "passed": 3 if verdict == "Pass" else 2, "rows": 100}
        results = []
        if verdict != "Pass":
            totals["failed"] = 1
            rule = {"server": "lake", "table": "orders", "column": "amount", "rule": "minimum", "verdict": verdict}
            results = [{**rule, "expected": "0.5", "observed": "0.1", "message": "orders.amount: 3 rows below 0.5"}]
        return {
            "digest": plan["digest"],
            "verdict": verdict,
            "message": "all rules hold" if verdict == "Pass" else "orders.amount: 3 rows below 0.5",
            "startedAt": format_time(at - 2),
            "finishedAt": format_time(at),
            "servers": [totals],
            "results": results,
            **fields,
        }

    def finish(self, check: str, verdict: str = "Pass", **fields: Any) -> None:
        """The pod of the check writes its result and ends."""
        pod = self.pod(check)
        status = self.result(check, verdict, **fields)
        self.as_pod(pod).merge(CONTRACT_CHECKS, self.namespace, check, {"status": status}, status=True)
        self.end(pod)

    def end(self, pod: str, phase: str = "Succeeded", **terminated: Any) -> None:
        """Ends a pod; ``terminated``: what its container says."""
        state = {"terminated": {"exitCode": 0 if phase == "Succeeded" else 1, "reason": "Completed", **terminated}}
        container = {"name": "check", "image": "x", "imageID": "", "ready": False, "restartCount": 0, "state": state}
        ended = {"phase": phase, "containerStatuses": [container]}
        self.lab.api.merge(PODS, self.namespace, pod, {"status": ended}, status=True)
