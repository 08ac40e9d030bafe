"""A cluster without nodes, with the chart's permissions, a gateway and a Prometheus: all that the operator needs."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, get_args

import yaml

from devcluster.api import ApiServer
from devcluster.command import run
from devcluster.paths import Cache
from tests.api.harness import gateway
from tests.api.harness.api import Api, Failure, eventually
from tests.api.harness.gateway import FakeGateway
from tests.api.harness.history import History
from tests.api.harness.process import ROOT, Operator
from tests.api.harness.prometheus import FakePrometheus, Traffic
from weir.api.action import Action
from weir.api.crds import crd
from weir.api.kinds import KINDS
from weir.runtime.resources import (
    ACTION_REQUESTS,
    AGENT_POLICIES,
    CLUSTER_AGENT_POLICIES,
    CONTRACT_CHECKS,
    DATA_CONTRACTS,
    LEASES,
    ROLLOUTS,
    KubeObject,
)

SYSTEM = "weir-system"
ACCOUNT = "weir"
USER = f"system:serviceaccount:{SYSTEM}:{ACCOUNT}"
_PERMISSIONS = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
_POLICIES = tuple(f"{kind}AdmissionPolicy{what}" for kind in ("Validating", "Mutating") for what in ("", "Binding"))
_SERVED = "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"


@cache
def _rendered() -> list[KubeObject]:
    helm = Cache.default().bin / "helm"
    chart = str(ROOT / "charts" / "weir")
    text = run([str(helm), "template", "weir", chart, "--namespace", SYSTEM, "--api-versions", _SERVED])
    return [document for document in yaml.safe_load_all(text) if document]


def chart_objects() -> list[KubeObject]:
    """ServiceAccount, roles, bindings and admission policies, exactly as the chart renders them."""
    return [document for document in _rendered() if document["kind"] in (*_PERMISSIONS, *_POLICIES)]


def chart_guardrails() -> str:
    """What the chart tells the operator of the admission policies."""
    [found] = [d for d in _rendered() if d["kind"] == "ConfigMap" and d["metadata"]["name"] == "weir-guardrails"]
    text: str = found["data"]["guardrails.yaml"]
    return text


def admission_in_force(api: Api, namespace: str = "default") -> bool:
    """Whether a new ActionRequest gets its requester, and a forged one is refused: both kinds of policy work."""
    asked = {"action": "Abort", "rolloutRef": {"name": "none"}, "reason": "is admission in force?"}
    body = {
        "apiVersion": ACTION_REQUESTS.api_version,
        "kind": ACTION_REQUESTS.kind,
        "metadata": {"name": "in-force", "namespace": namespace},
        "spec": asked,
    }
    path = ACTION_REQUESTS.path(namespace)
    filled = False
    try:
        filled = "requester" in api.call("POST", path, body, dryRun="All")["spec"]
        api.call("POST", path, {**body, "spec": {**asked, "requester": "nobody"}}, dryRun="All")
    except Failure as failure:
        # While policies are being loaded, requests are refused for other reasons.
        return "spec.requester must be your own user name" in failure.message and filled
    return False


class Lab:
    """Runs while its ``with`` block does; operators that it started end with it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.guardrails = directory / "guardrails.yaml"
        self.server = ApiServer(directory)
        self._numbers = itertools.count(1)
        self._local = threading.local()
        self._operators: list[Operator] = []

    @property
    def api(self) -> Api:
        """The API server, as administrator; one connection for each thread."""
        if not hasattr(self._local, "api"):
            self._local.api = Api(self.server.kubeconfig)
        api: Api = self._local.api
        return api

    def __enter__(self) -> Lab:
        self.server.__enter__()
        try:
            self._furnish()
        except BaseException:
            self.server.__exit__(None, None, None)
            raise
        return self

    def _furnish(self) -> None:
        self.server.install_gateway_api()
        definitions = "---\n".join(json.dumps(crd(kind)) + "\n" for kind in KINDS)
        self.server.kubectl("apply", "--server-side", "--filename", "-", stdin=definitions)
        names = [f"crd/{kind.crd_name}" for kind in KINDS]
        self.server.kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)
        self.make_namespace(SYSTEM)
        self.apply(*chart_objects())
        self.guardrails.write_text(chart_guardrails())
        eventually(lambda: admission_in_force(self.api), "admission policies in force")
        self.kubeconfig = self.kubeconfig_for(SYSTEM, ACCOUNT)
        gateway.install(self.api)
        self.gateway = FakeGateway(self.server.kubeconfig)
        self.history = History(self.server.kubeconfig)
        self.traffic = Traffic(self.gateway, self.server.kubeconfig)
        self.prometheus = FakePrometheus(self.traffic)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for operator in self._operators:
            operator.kill()
        self.prometheus.stop()
        self.server.__exit__(kind, error, trace)
        self.traffic.stop()
        self.history.stop()
        self.gateway.stop()

    def clear(self) -> None:
        """Deletes what operators act on, wherever it is: deadlines, schedules and outer bounds must not reach others."""
        for resource in (
            CLUSTER_AGENT_POLICIES,
            AGENT_POLICIES,
            ACTION_REQUESTS,
            ROLLOUTS,
            CONTRACT_CHECKS,
            DATA_CONTRACTS,
        ):
            for obj in self.api.list(resource):
                meta = obj["metadata"]
                namespace, name = meta.get("namespace"), meta["name"]
                self.api.delete(resource, namespace, name)
                if meta.get("finalizers") and self.api.find(resource, namespace, name) is not None:
                    self.api.merge(resource, namespace, name, {"metadata": {"finalizers": None}})

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """kubectl apply."""
        self.server.kubectl("apply", "--server-side", "--filename", "-", stdin=yaml.safe_dump_all(objects))

    def make_namespace(self, name: str = "") -> str:
        """A new namespace that takes pods; returns its name."""
        name = name or f"n{next(self._numbers)}"
        self.api.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        eventually(lambda: self._there(account), f"service account of namespace {name}")
        return name

    def _there(self, path: str) -> bool:
        try:
            self.api.call("GET", path)
        except Failure as failure:
            if failure.status == 404:
                return False
            raise
        return True

    def kubeconfig_for(self, namespace: str, account: str, server: str | None = None) -> Path:
        """A kubeconfig with a token of a ServiceAccount; ``server``: another way to the API server."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        token = self.api.call("POST", path, {"spec": {"expirationSeconds": 7200}})["status"]["token"]
        document = yaml.safe_load(self.server.kubeconfig.read_text())
        if server is not None:
            document["clusters"][0]["cluster"] = {"server": server}
        document["users"][0]["user"] = {"token": token}
        target = self.directory / f"{namespace}-{account}-{next(self._numbers)}.kubeconfig"
        target.write_text(yaml.safe_dump(document))
        return target

    def operator(
        self,
        name: str = "weir-0",
        *,
        kubeconfig: Path | None = None,
        environment: Mapping[str, str] | None = None,
        **settings: str,
    ) -> Operator:
        """Starts an operator, of the cluster or of ``namespace`` alone (its Lease then is there, too).

        Fails while another with another Lease serves the same namespace: both would write, and a test would see
        either's work for the other's.
        """
        environment = {"WEIR_GUARDRAILS": str(self.guardrails), **(environment or {})}
        if "namespace" in settings:
            environment["WEIR_NAMESPACES"] = settings["namespace"]
        lease_namespace = settings.get("lease_namespace", settings.get("namespace", SYSTEM))
        served = environment.get("WEIR_NAMESPACES", "")
        others = [other for other in self._operators if other.running and other.lease_namespace != lease_namespace]
        rival = next((other for other in others if not served or other.serves in ("", served)), None)
        assert rival is None, f"{rival.name} of {rival.serves or 'the whole cluster'} still runs" if rival else ""
        log = self.directory / f"operator-{lease_namespace}-{name}.log"
        made = Operator(kubeconfig or self.kubeconfig, log, name, environment, lease_namespace)
        self._operators.append(made)
        return made

    def allow_leases(self, namespace: str) -> None:
        """Lets operators that serve one namespace keep their Lease there: the chart's rules for it, once more."""
        rules = [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "patch"]}]
        api, meta = "rbac.authorization.k8s.io", {"name": "weir-leader", "namespace": namespace}
        self.apply(
            {"apiVersion": f"{api}/v1", "kind": "Role", "metadata": meta, "rules": rules},
            {
                "apiVersion": f"{api}/v1",
                "kind": "RoleBinding",
                "metadata": meta,
                "roleRef": {"apiGroup": api, "kind": "Role", "name": meta["name"]},
                "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": SYSTEM}],
            },
        )

    def allow_actions(self, *groups: str) -> None:
        """Lets groups of users ask every Rollout for everything."""
        api, name = "rbac.authorization.k8s.io", "actions"
        verbs = [action.lower() for action in get_args(Action)]
        rules = [
            {"apiGroups": ["weir.dev"], "resources": ["actionrequests"], "verbs": ["create", "get"]},
            {"apiGroups": ["weir.dev"], "resources": ["rollouts"], "verbs": ["get", *verbs]},
        ]
        subjects = [{"apiGroup": api, "kind": "Group", "name": group} for group in groups]
        meta = {"apiVersion": f"{api}/v1", "metadata": {"name": name}}
        reference = {"apiGroup": api, "kind": "ClusterRole", "name": name}
        self.apply(
            {**meta, "kind": "ClusterRole", "rules": rules},
            {**meta, "kind": "ClusterRoleBinding", "roleRef": reference, "subjects": subjects},
        )

    def free_lease(self, namespace: str = SYSTEM) -> None:
        """Removes the operator's Lease, so that the next one need not wait for it to expire."""
        if self.api.find(LEASES, namespace, "weir-operator") is not None:
            self.api.delete(LEASES, namespace, "weir-operator")

    def audit(self, user: str = USER) -> list[dict[str, Any]]:
        """The audited requests of a user so far, in order."""
        lines = self.server.audit_log.read_text(errors="replace").splitlines()
        found = []
        for line in lines:
            if user in line:
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if entry["user"]["username"] == user:
                    found.append(entry)
        return found
