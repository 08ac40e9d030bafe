"""The kinds that the operator reads or writes: group, version, plural name and path of each."""

from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

KubeObject = dict[str, Any]
"""A Kubernetes object as the API server sends it. Objects that come from the cache are shared: never change them."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource type of the API server; `group` is empty for the core group."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """`group/version`, or `version` alone for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_path(self) -> str:
        """The discovery path of this group and version."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def qualified_name(self) -> str:
        """`plural.group`, as error messages of the API server write it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path of the collection, or of one object, or of its subresource.

        Raises:
            ValueError: a namespaced object was named without its namespace.
        """
        if self.namespaced and name is not None and not namespace:
            raise ValueError(f"{self.kind} {name!r} needs a namespace")
        parts = [self.group_path]
        if self.namespaced and namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name is not None:
            parts.append(quote(name, safe=""))
        if subresource is not None:
            parts.append(subresource)
        return "/".join(parts)


class ObjectKey(NamedTuple):
    """What identifies an object over time; `namespace` is empty for cluster-scoped kinds."""

    resource: Resource
    namespace: str
    name: str


def key_of(resource: Resource, obj: KubeObject) -> ObjectKey:
    """The key of `obj`."""
    meta = obj["metadata"]
    return ObjectKey(resource, meta.get("namespace") or "", meta["name"])


WEIR_GROUP = "weir.dev"
_GATEWAY_GROUP = "gateway.networking.k8s.io"

MODEL_VERSIONS = Resource(WEIR_GROUP, "v1alpha1", "modelversions", "ModelVersion")
ROLLOUTS = Resource(WEIR_GROUP, "v1alpha1", "rollouts", "Rollout")
ROLLOUT_RECORDS = Resource(WEIR_GROUP, "v1alpha1", "rolloutrecords", "RolloutRecord")
ACTION_REQUESTS = Resource(WEIR_GROUP, "v1alpha1", "actionrequests", "ActionRequest")
DATA_CONTRACTS = Resource(WEIR_GROUP, "v1alpha1", "datacontracts", "DataContract")
CONTRACT_CHECKS = Resource(WEIR_GROUP, "v1alpha1", "contractchecks", "ContractCheck")
AGENT_POLICIES = Resource(WEIR_GROUP, "v1alpha1", "agentpolicies", "AgentPolicy")
CLUSTER_AGENT_POLICIES = Resource(
    WEIR_GROUP, "v1alpha1", "clusteragentpolicies", "ClusterAgentPolicy", namespaced=False
)

DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
SERVICES = Resource("", "v1", "services", "Service")
PODS = Resource("", "v1", "pods", "Pod")
CONTROLLER_REVISIONS = Resource("apps", "v1", "controllerrevisions", "ControllerRevision")
JOBS = Resource("batch", "v1", "jobs", "Job")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
HTTP_ROUTES = Resource(_GATEWAY_GROUP, "v1", "httproutes", "HTTPRoute")
GATEWAYS = Resource(_GATEWAY_GROUP, "v1", "gateways", "Gateway")
GATEWAY_CLASSES = Resource(_GATEWAY_GROUP, "v1", "gatewayclasses", "GatewayClass", namespaced=False)
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
SELF_SUBJECT_REVIEWS = Resource(
    "authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False
)
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
OPERATOR_LEASE = "weir-operator"
"""Name of the Lease by which one process leads, in the operator's namespace."""
EVENTS = Resource("events.k8s.io", "v1", "events", "Event")
