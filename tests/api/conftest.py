"""A real API server with the CRDs of this checkout, one for the whole run."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
from kubernetes import client, config

from tests.api.harness.case import SLOW, Case
from tests.api.harness.lab import Lab
from tests.api.harness.process import Operator
from weir.api import API_VERSION, GROUP, VERSION
from weir.api.agentpolicy import POLICY_NAME
from weir.api.crds import crd
from weir.api.kinds import KINDS, Kind

ROOT = Path(__file__).parents[2]

KIND = {kind.name: kind for kind in KINDS}


class Server(Protocol):
    """What the tests need of an API server."""

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig of an administrator."""

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Output of kubectl, run as administrator; raises when it fails."""


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real API server without our CRDs."""
    from devcluster.api import ApiServer

    with ApiServer(tmp_path_factory.mktemp("api-server")) as server:
        yield server


@dataclass
class Refused(Exception):
    """The server's answer to a bad object: pairs of field and message."""

    causes: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Objects:
    """Creates and changes objects of our kinds in one namespace; every field is checked strictly."""

    api: client.CustomObjectsApi
    namespace: str

    def manifest(self, kind: Kind, spec: dict[str, Any], name: str | None = None) -> dict[str, Any]:
        """The object as a user would write it."""
        usual = POLICY_NAME if kind.name in ("AgentPolicy", "ClusterAgentPolicy") else f"t-{uuid.uuid4().hex[:12]}"
        metadata = {"name": name or usual, **({} if kind.cluster_scoped else {"namespace": self.namespace})}
        return {"apiVersion": API_VERSION, "kind": kind.name, "metadata": metadata, "spec": spec}

    def create(self, kind: Kind, spec: dict[str, Any], name: str | None = None, dry_run: bool = False) -> Any:
        """Creates an object and returns what was stored; raises Refused."""
        options = {"dry_run": "All"} if dry_run else {}
        return self._call(
            "create_{}_custom_object",
            kind,
            body=self.manifest(kind, spec, name),
            field_validation="Strict",
            **options,
        )

    def replace(self, kind: Kind, stored: dict[str, Any], spec: dict[str, Any]) -> Any:
        """Replaces the spec of a stored object; raises Refused."""
        body = {**stored, "spec": spec}
        name = stored["metadata"]["name"]
        return self._call("replace_{}_custom_object", kind, name=name, body=body, field_validation="Strict")

    def set_status(self, kind: Kind, stored: dict[str, Any], status: dict[str, Any]) -> Any:
        """Writes the status of a stored object; raises Refused."""
        name = stored["metadata"]["name"]
        body = {**stored, "status": status}
        return self._call("replace_{}_custom_object_status", kind, name=name, body=body)

    def _call(self, method: str, kind: Kind, **arguments: Any) -> Any:
        call = getattr(self.api, method.format("cluster" if kind.cluster_scoped else "namespaced"))
        scope = {} if kind.cluster_scoped else {"namespace": self.namespace}
        try:
            return call(group=GROUP, version=VERSION, plural=kind.plural, **scope, **arguments)
        except client.ApiException as error:
            if error.status != 422:
                raise
            causes = json.loads(error.body)["details"].get("causes", ())
            raise Refused(tuple((c.get("field", ""), c["message"]) for c in causes)) from error


@pytest.fixture(scope="session")
def served(api_server: Server) -> client.ApiClient:
    """Our kinds, served."""
    configuration = client.Configuration()
    config.load_kube_config(str(api_server.kubeconfig), client_configuration=configuration)
    definitions = "---\n".join(json.dumps(crd(kind)) + "\n" for kind in KINDS)
    api_server.kubectl("apply", "--server-side", "--force-conflicts", "--validate=strict", "-f", "-", stdin=definitions)
    names = [f"crd/{kind.crd_name}" for kind in KINDS]
    api_server.kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)
    return client.ApiClient(configuration)


@pytest.fixture(scope="module")
def objects(served: client.ApiClient) -> Iterator[Objects]:
    """A namespace for the tests of one file; what is in no namespace ends with them: some kinds have but one name."""
    namespace = f"weir-{uuid.uuid4().hex[:8]}"
    client.CoreV1Api(served).create_namespace({"metadata": {"name": namespace}})
    api = client.CustomObjectsApi(served)
    yield Objects(api, namespace)
    for kind in KINDS:
        if kind.cluster_scoped:
            api.delete_collection_cluster_custom_object(group=GROUP, version=VERSION, plural=kind.plural)


_LAB = pytest.StashKey[Lab]()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Lab]:
    """A cluster of its own for tests that run the operator: no other test's objects are in its way."""
    with Lab(tmp_path_factory.mktemp("lab")) as made:
        pytestconfig.stash[_LAB] = made
        yield made


@pytest.fixture(scope="module", autouse=True)
def cleared(pytestconfig: pytest.Config) -> Iterator[None]:
    """Nothing that an operator acts on outlives the tests of a file."""
    yield
    used = pytestconfig.stash.get(_LAB, None)
    if used is not None:
        used.clear()


@pytest.fixture
def slow(lab: Lab) -> Case:
    """v1 serves; v2 has 20 % of the traffic, and keeps it for ten minutes."""
    case = Case(lab)
    case.serve_first(strategy=SLOW, gates=None)
    case.release("v2")
    case.wait_for_stage("Traffic(20)")
    return case


@pytest.fixture(scope="module")
def operator(lab: Lab) -> Iterator[Operator]:
    """An operator for the whole cluster, with exactly the chart's permissions."""
    lab.free_lease()
    running = lab.operator()
    running.wait_ready()
    yield running
    running.stop()
