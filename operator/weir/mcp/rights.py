"""What the credentials may do that no agent should: with such rights the guardrails hold nobody."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from weir.runtime.client import KubeClient
from weir.runtime.resources import WEIR_GROUP, Resource

_REVIEWS = Resource(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False
)
_ADMISSION = "admissionregistration.k8s.io"
_RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True)
class Right:
    """A verb on a resource, as RBAC knows it."""

    verb: str
    resource: str
    group: str = WEIR_GROUP
    subresource: str = ""
    clusterwide: bool = False

    def __str__(self) -> str:
        part = f"/{self.subresource}" if self.subresource else ""
        group = f".{self.group}" if self.group else ""
        return f"{self.verb} {self.resource}{part}{group}"


EXCESSIVE: tuple[Right, ...] = (
    # To answer one's own requests, or to act without a permit.
    *(Right(verb, "rollouts") for verb in ("approve", "override")),
    *(Right(verb, "rollouts") for verb in ("release", "promote", "retry", "resume", "skip", "shifttraffic")),
    # To change what only Weir or people may change.
    *(Right(verb, "rollouts") for verb in ("create", "update", "patch", "delete")),
    *(Right(verb, "agentpolicies") for verb in ("create", "update", "patch", "delete")),
    *(Right(verb, "clusteragentpolicies", clusterwide=True) for verb in ("update", "patch", "delete")),
    *(Right("patch", kind, subresource="status") for kind in ("rollouts", "agentpolicies", "actionrequests")),
    # A deleted request gives its place in the budget back.
    *(Right(verb, "actionrequests") for verb in ("delete", "deletecollection")),
    # To remove the guardrails, to become somebody else, or to give oneself more.
    *(
        Right(verb, kind, _ADMISSION, clusterwide=True)
        for kind in ("validatingadmissionpolicies", "validatingadmissionpolicybindings")
        for verb in ("update", "patch", "delete")
    ),
    Right("impersonate", "users", "", clusterwide=True),
    Right("impersonate", "serviceaccounts", ""),
    Right("create", "serviceaccounts", "", "token"),
    *(Right(verb, "rolebindings", _RBAC) for verb in ("create", "patch")),
)


async def excessive(client: KubeClient, namespace: str) -> tuple[Right, ...]:
    """Which of the EXCESSIVE rights the credentials have in that namespace, or in the cluster.

    Raises:
        ApiError: the API server does not say.
    """
    held = await asyncio.gather(*(_may(client, right, namespace) for right in EXCESSIVE))
    return tuple(right for right, may in zip(EXCESSIVE, held, strict=True) if may)


async def _may(client: KubeClient, right: Right, namespace: str) -> bool:
    asked = {
        "verb": right.verb,
        "group": right.group,
        "resource": right.resource,
        "subresource": right.subresource,
        "namespace": "" if right.clusterwide else namespace,
    }
    body = {
        "apiVersion": _REVIEWS.api_version,
        "kind": _REVIEWS.kind,
        "metadata": {},
        "spec": {"resourceAttributes": {key: value for key, value in asked.items() if value}},
    }
    answer = await client.create(_REVIEWS, body)
    return bool((answer.get("status") or {}).get("allowed"))
