"""A namespace whose users have the chart's roles; the API server alone guards it, for no operator runs."""

from __future__ import annotations

import itertools
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from tests.api import objects as good
from tests.api.harness.api import Api, Failure, eventually
from tests.api.harness.lab import Lab
from weir.api.approval import CHANGED_BY, Approval, ApprovalStatus, Consent
from weir.api.rolloutstatus import RolloutStatus
from weir.runtime.resources import ACTION_REQUESTS, ROLLOUTS, KubeObject

GROUP = "sre"
BEFORE_25: Mapping[str, Any] = {"before": "Traffic(25)", "from": {"group": GROUP}}
OWNER: Mapping[str, Any] = {"name": "owner", "before": "Promote", "from": {"verb": "sign"}}

_TELLING = {"edit": "promote", "admin": "override", "weir-actor": "rollback", "weir-approver": "approve"}
"""A verb on Rollouts that comes with the role."""


@dataclass
class Guarded:
    """Rollouts and their users in one namespace."""

    lab: Lab
    namespace: str = ""
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False)

    def __post_init__(self) -> None:
        self.namespace = self.namespace or self.lab.make_namespace()
        self.witness = self.user("witness", "weir-approver", group=GROUP)

    # --- people ----------------------------------------------------------------------------------------------------

    def user(self, name: str, *roles: str, group: str = "") -> Api:
        """A user with these ClusterRoles in the namespace."""
        api = self.lab.api.acting_as(name, group)
        for role in roles:
            self.bind(name, {"kind": "ClusterRole", "name": role})
            eventually(partial(self.may, api, _TELLING[role]), f"role {role} of {name}")
        return api

    def grant(self, name: str, rules: Sequence[Mapping[str, Any]], telling: str, rollout: str = "") -> Api:
        """A user with a Role of their own; ``telling`` is a verb on Rollouts that it gives."""
        role = f"own-{next(self._numbers)}"
        meta = {"name": role, "namespace": self.namespace}
        api = self.lab.api.acting_as(name)
        self._rbac("roles", {"metadata": meta, "rules": rules})
        self.bind(name, {"kind": "Role", "name": role})
        eventually(lambda: self.may(api, telling, rollout), f"own role of {name}")
        return api

    def bind(self, name: str, role: Mapping[str, str]) -> None:
        """Gives a user a role."""
        group = "rbac.authorization.k8s.io"
        body = {
            "metadata": {"name": f"binding-{next(self._numbers)}", "namespace": self.namespace},
            "roleRef": {"apiGroup": group, **role},
            "subjects": [{"apiGroup": group, "kind": "User", "name": name}],
        }
        self._rbac("rolebindings", body)

    def _rbac(self, plural: str, body: Mapping[str, Any]) -> None:
        self.lab.api.call("POST", f"/apis/rbac.authorization.k8s.io/v1/namespaces/{self.namespace}/{plural}", body)

    def may(self, api: Api, verb: str, rollout: str = "") -> bool:
        """Whether RBAC allows a user a verb on Rollouts."""
        asked = {"group": "weir.dev", "resource": "rollouts", "verb": verb, "namespace": self.namespace}
        body = {"spec": {"resourceAttributes": {**asked, "name": rollout}}}
        return bool(
            api.call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)["status"]["allowed"]
        )

    # --- Rollouts --------------------------------------------------------------------------------------------------

    def manifest(
        self, name: str = "digits", annotations: Mapping[str, str] | None = None, **changes: Any
    ) -> dict[str, Any]:
        """A Rollout with two approvals, as a user would write it; ``None`` leaves a field of spec out."""
        meta = {"name": name, "namespace": self.namespace, **({"annotations": annotations} if annotations else {})}
        spec = {**good.ROLLOUT, "approvals": [BEFORE_25, OWNER], **changes}
        return {
            "apiVersion": ROLLOUTS.api_version,
            "kind": ROLLOUTS.kind,
            "metadata": meta,
            "spec": {key: value for key, value in spec.items() if value is not None},
        }

    def create(self, by: Api, name: str = "digits", **changes: Any) -> KubeObject:
        """Creates a Rollout; raises Failure."""
        return by.create(ROLLOUTS, self.manifest(name, **changes))

    def edit(self, by: Api, name: str = "digits", **changes: Any) -> str:
        """Changes spec and returns who changed it then; raises Failure."""
        return changed_by(by.merge(ROLLOUTS, self.namespace, name, {"spec": changes}))

    def annotate(self, by: Api, name: str = "digits", **annotations: str | None) -> str:
        """Changes annotations of ours and returns who changed the Rollout then; raises Failure."""
        named = {f"weir.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
        return changed_by(by.merge(ROLLOUTS, self.namespace, name, {"metadata": {"annotations": named}}))

    def changed_by(self, name: str = "digits") -> str:
        """Who changed it, as the API server has written down."""
        return changed_by(self.lab.api.get(ROLLOUTS, self.namespace, name))

    def release(self, name: str = "digits", *, requested_by: str = "", consents: Sequence[str] = ()) -> dict[str, str]:
        """As ``tell``, and returns once the API server's policies know it: what they read is a copy that lags behind."""
        digests = self.tell(name, requested_by=requested_by, consents=consents)
        eventually(lambda: self._known(name, digests), f"the policies know the status of {name}")
        return digests

    def tell(self, name: str = "digits", *, requested_by: str = "", consents: Sequence[str] = ()) -> dict[str, str]:
        """Writes the status of a running release, as the operator would; the digest of each approval by its name."""
        spec = self.lab.api.get(ROLLOUTS, self.namespace, name)["spec"]
        given = [Consent(by=user, at=0.0, request="earlier") for user in consents]
        approvals = [
            ApprovalStatus(
                name=approval.key,
                before=approval.before,
                approvers=str(approval.approvers),
                digest=f"sha256:{uuid.uuid4().hex}{uuid.uuid4().hex}",
                consents=given,
            )
            for approval in map(Approval.model_validate, spec["approvals"])
        ]
        status = RolloutStatus(approvals=approvals, requested_by=requested_by).to_dict()
        self.lab.api.merge(ROLLOUTS, self.namespace, name, {"status": status}, status=True)
        return {approval.name: approval.digest for approval in approvals}

    def _known(self, name: str, digests: Mapping[str, str]) -> bool:
        approval = next(iter(digests))
        return self.refusal(self.witness, approval, digests[approval], name) == ""

    # --- requests --------------------------------------------------------------------------------------------------

    def ask(self, by: Api, action: str, name: str = "digits", *, dry_run: bool = False, **fields: Any) -> KubeObject:
        """Creates an ActionRequest; raises Failure."""
        body = {
            "apiVersion": ACTION_REQUESTS.api_version,
            "kind": ACTION_REQUESTS.kind,
            "metadata": {"name": f"ask-{next(self._numbers)}", "namespace": self.namespace},
            "spec": {"action": action, "rolloutRef": {"name": name}, "reason": "test", **fields},
        }
        query = {"dryRun": "All"} if dry_run else {}
        return by.call("POST", ACTION_REQUESTS.path(self.namespace), body, fieldValidation="Strict", **query)

    def approve(self, by: Api, approval: str, digest: str, name: str = "digits", **fields: Any) -> KubeObject:
        """Creates an Approve; raises Failure."""
        return self.ask(by, "Approve", name, approval={"name": approval, "digest": digest}, **fields)

    def refusal(self, by: Api, approval: str, digest: str, name: str = "digits", **fields: Any) -> str:
        """What an Approve would be refused with; empty where it would be admitted."""
        try:
            self.approve(by, approval, digest, name, dry_run=True, **fields)
        except Failure as failure:
            return failure.message
        return ""


def refused(status: int, *words: str) -> AbstractContextManager[object]:
    """Expects a refusal that says all of these words, in order."""
    return pytest.raises(Failure, match=f"(?s)^{status}: .*" + ".*".join(map(re.escape, words)))


def changed_by(rollout: KubeObject) -> str:
    """What the annotation of a Rollout says; empty where it is not there."""
    annotations: Mapping[str, str] = rollout["metadata"].get("annotations") or {}
    return annotations.get(CHANGED_BY, "")
