"""What a hostile agent tries with its own credentials; harness/promises.py judges what of it is let through."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import requests
from hypothesis import strategies as st

from tests.api.harness.api import Api
from tests.api.harness.promises import PERMITS, ROLLOUTS, Spec, beyond
from weir.api.agentpolicy import PERMIT_LABEL
from weir.api.kinds import KINDS
from weir.runtime.resources import ACTION_REQUESTS

DIGEST = "sha256:" + "0" * 64
_ANSWERS = ("Approve", "Deny", "Override", "Withdraw")
_ACTIONS = ("Release", "Promote", "Abort", "Retry", "Pause", "Resume", "Skip", "ShiftTraffic", "Rollback", "Drill")
_WINDOW = re.compile(r"@(\d+)([+-]\d+)@")

# --- what is tried -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Attack:
    """One request. ``fair``: the policy allows it, so that it must be let through, or meet a name that is taken."""

    what: str
    method: str
    path: str
    body: Any = None
    content: str = "application/json"
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    fair: bool = False

    def fire(self, api: Api, now: float) -> Shot:
        """Does it. ``now`` (seconds since the epoch) is for the names of slots."""
        data = None if self.body is None else _WINDOW.sub(lambda m: _window(m, now), json.dumps(self.body))
        headers = {"Content-Type": self.content, "Accept": "application/json", **self.headers}
        try:
            answer = api.session.request(
                self.method, api.url + self.path, params=self.query, data=data, headers=headers, timeout=30
            )
        except requests.RequestException as error:
            return Shot(self, 0, str(error), None)
        try:
            found = answer.json()
        except ValueError:
            found = {"message": answer.text[:300]}
        return Shot(self, answer.status_code, str(found.get("message", "")), found)


def _window(match: re.Match[str], now: float) -> str:
    return str(int(now) // int(match[1]) + int(match[2]))


@dataclass(frozen=True)
class Shot:
    """What became of an attack; ``status`` 0 where there was no answer."""

    attack: Attack
    status: int
    message: str
    answer: Any

    @property
    def through(self) -> bool:
        """Whether the API server did it (or would have, in a dry run)."""
        return 200 <= self.status < 300


@dataclass(frozen=True)
class Scene:
    """Where the agent is let loose. ``others``: requests of people, as name, uid and digest."""

    namespace: str
    user: str
    others: Sequence[tuple[str, str]] = ()

    def path(self, plural: str, name: str = "", sub: str = "", group: str = "/apis/weir.dev/v1alpha1") -> str:
        """URL path in the namespace."""
        return "/".join(part for part in (group, "namespaces", self.namespace, plural, name, sub) if part)


def pleading(scene: Scene, number: int) -> Attack:
    """A request for a Promote, which waits for a person; there may be any number of them."""
    body = {
        "apiVersion": ACTION_REQUESTS.api_version,
        "kind": ACTION_REQUESTS.kind,
        "metadata": {"name": f"plead-flood-{number}", "labels": {PERMIT_LABEL: "plead"}},
        "spec": {
            "action": "Promote",
            "rolloutRef": {"name": "digits"},
            "reason": "please",
            "permit": "plead",
            "expect": {"release": 2},
        },
    }
    return Attack("plead", "POST", scene.path("actionrequests"), body, fair=True)


def _fair(scene: Scene) -> st.SearchStrategy[Spec]:
    """Requests within the policy; slots may be taken."""

    def body(permit: str, action: str, window: int, slot: int, rollout: str, **fields: Any) -> Spec:
        name = f"{permit}-@{window}+0@-{slot}" if window else f"{permit}-{slot}"
        return {
            "apiVersion": ACTION_REQUESTS.api_version,
            "kind": ACTION_REQUESTS.kind,
            "metadata": {"name": name, "namespace": scene.namespace, "labels": {PERMIT_LABEL: permit}},
            "spec": {
                "action": action,
                "rolloutRef": {"name": rollout},
                "reason": "I know what I do",
                "permit": permit,
                **fields,
            },
        }

    slot, rollout = st.integers, st.sampled_from(("digits", "letters"))
    step = st.tuples(st.integers(0, 40), st.integers(0, 20)).map(lambda t: (t[0], max(0, t[0] - t[1])))
    return st.one_of(
        st.builds(lambda s: body("halt", "Abort", 3600, s, "letters"), slot(0, 5)),
        st.builds(lambda s: body("stop", "Pause", 600, s, "letters", duration="1m"), slot(0, 99)),
        st.builds(
            lambda s, r, w: body(
                "shift", "ShiftTraffic", 600, s, r, weight=w[0], expect={"release": 2, "weight": w[1]}
            ),
            slot(0, 4),
            rollout,
            step,
        ),
        st.builds(lambda s, r: body("plead", "Promote", 0, s, r, expect={"release": 2}), slot(0, 10**6), rollout),
        st.builds(
            lambda s, r, p: body("tune", "Retrain", 3600, s, r, parameters=p),
            slot(0, 2),
            rollout,
            st.sampled_from(({"data": "a"}, {"data": "b", "epochs": "1"}, {"data": "b", "epochs": "10"})),
        ),
    )


Change = Callable[[Spec], None]


def _put(*path: str, value: Any) -> Change:
    def change(body: Spec) -> None:
        node = body
        for key in path[:-1]:
            child = node.setdefault(key, {})
            if not isinstance(child, dict):
                child = node[key] = {}
            node = child
        node[path[-1]] = value

    return change


def _drop(*path: str) -> Change:
    def change(body: Spec) -> None:
        node: Any = body
        for key in path[:-1]:
            node = node.get(key, {}) if isinstance(node, dict) else {}
        if isinstance(node, dict):
            node.pop(path[-1], None)

    return change


def _changes(scene: Scene) -> st.SearchStrategy[Change]:
    """What makes a request go beyond the policy, or only look so."""
    permits = [permit["name"] for permit in PERMITS]
    people = ("alice", "oncall", scene.user, "system:admin", "", "system:serviceaccount:weir-system:weir")
    old, soon = "2001-01-01T00:00:00Z", "2099-01-01T00:00:00Z"
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "00000000-0000-4000-8000-000000000000"}
    slots = st.one_of(
        st.integers(0, 400).map(str), st.sampled_from(("-1", "00", "01", "1e3", "9" * 30, "+1", "0x1", "a", ""))
    )
    names = st.builds(
        lambda permit, size, shift, slot: f"{permit}-@{size}{shift:+d}@-{slot}",
        st.sampled_from([*permits, "fallback", "x"]),
        st.sampled_from((600, 3600)),
        st.integers(-3, 3),
        slots,
    )
    meta: tuple[tuple[str, Any], ...] = (
        ("creationTimestamp", old),
        ("creationTimestamp", soon),
        ("deletionTimestamp", soon),
        ("uid", owner["uid"]),
        ("resourceVersion", "1"),
        ("generation", 99),
        ("ownerReferences", [owner]),
        ("ownerReferences", [{**owner, "controller": True, "blockOwnerDeletion": True}]),
        ("finalizers", ["weir.dev/forever"]),
        ("generateName", "shift-"),
        ("managedFields", [{"manager": "weir", "operation": "Apply", "time": old}]),
        ("annotations", {"weir.dev/changed-by": "alice", "weir.dev/author": "alice"}),
        ("annotations", {"x": "y" * 100_000}),
        ("labels", {}),
        ("labels", {PERMIT_LABEL: ""}),
    )
    spec: tuple[tuple[str, Any], ...] = (
        ("rule", "drift"),
        ("rule", ""),
        ("approved", True),
        ("causedBy", {"name": "x", "uid": "y"}),
        ("onBehalfOf", "alice"),
        ("duration", "8760h"),
        ("version", "digits-9"),
        ("notBefore", soon),
        ("expiresAfter", "8760h"),
        ("expiresAfter", "never"),
        ("reason", "x" * 513),
        ("reason", ""),
        ("reason", "\u202e\u0000'\"; approve all; {{ .Values }} ${x}"),
        ("approval", {"name": "owner", "digest": DIGEST}),
        ("request", {"name": "plead-1", "uid": "x", "digest": DIGEST}),
        ("evidence", [{"name": "drift", "value": "0.9"}]),
        ("parameters", {"epochs": "11"}),
        ("parameters", {"epochs": "0", "data": "a"}),
        ("parameters", {"epochs": " 3", "data": "a"}),
        ("parameters", {"epochs": "3.0", "data": "a"}),
        ("parameters", {"epochs": "0x3", "data": "a"}),
        ("parameters", {"epochs": "9" * 40, "data": "a"}),
        ("parameters", {"data": "c"}),
        ("parameters", {"data": "a", "image": "evil"}),
        ("parameters", {"epochs": "3"}),
        ("parameters", {}),
    )
    statuses = ({"phase": "Succeeded"}, {"phase": "Pending", "digest": DIGEST}, {"created": []})
    return st.one_of(
        st.sampled_from([*_ACTIONS, *_ANSWERS, "Retrain", "Reallocate", "promote", ""]).map(
            lambda v: _put("spec", "action", value=v)
        ),
        st.sampled_from([*permits, "none", "", "UPPER"]).map(lambda v: _put("spec", "permit", value=v)),
        st.sampled_from([*permits, "none"]).map(lambda v: _put("metadata", "labels", PERMIT_LABEL, value=v)),
        st.sampled_from(people).map(lambda v: _put("spec", "requester", value=v)),
        st.sampled_from([*ROLLOUTS, "nowhere", ""]).map(lambda v: _put("spec", "rolloutRef", "name", value=v)),
        names.map(lambda v: _put("metadata", "name", value=v)),
        st.sampled_from(("fallback-digits-2-1", "fallback-x", "plead", "agents")).map(
            lambda v: _put("metadata", "name", value=v)
        ),
        st.sampled_from((-1, 0, 1, 39, 40, 41, 60, 99, 100, 101, "40", None)).map(
            lambda v: _put("spec", "weight", value=v)
        ),
        st.sampled_from(
            ({}, {"release": 2}, {"weight": 40}, {"release": 2, "weight": 0}, {"release": 9, "weight": 100})
        ).map(lambda v: _put("spec", "expect", value=v)),
        st.sampled_from(("expect", "permit", "weight", "reason", "parameters", "rolloutRef", "action")).map(
            lambda key: _drop("spec", key)
        ),
        st.sampled_from(meta).map(lambda pair: _put("metadata", pair[0], value=pair[1])),
        st.sampled_from(spec).map(lambda pair: _put("spec", pair[0], value=pair[1])),
        st.sampled_from(statuses).map(lambda v: _put("status", value=v)),
    )


@st.composite
def _asked(draw: st.DrawFn, scene: Scene) -> Attack:
    """A request, mostly with something wrong about it, by one of the ways to create one."""
    body: Spec = json.loads(json.dumps(draw(_fair(scene))))
    changes = draw(st.lists(_changes(scene), min_size=1, max_size=3)) if draw(st.integers(0, 2)) else []
    for change in changes:
        change(body)
    path = scene.path("actionrequests")
    query = draw(st.sampled_from(({}, {}, {"dryRun": "All"}, {"fieldValidation": "Strict"}, {"fieldManager": "weir"})))
    name = str(body["metadata"].get("name", ""))
    if name and "@" not in name and draw(st.integers(0, 9)) == 0:
        how = {"fieldManager": "weir", "force": "true"}
        return Attack("apply", "PATCH", f"{path}/{name}", body, "application/apply-patch+yaml", how)
    return Attack("ask", "POST", path, body, query=query, fair=not changes)


def _answering(scene: Scene) -> st.SearchStrategy[Attack]:
    """Answers to people's requests, to its own (whose uid it may well know), and to approvals of a release."""

    def attack(action: str, other: tuple[str, str], number: int, fields: Spec) -> Attack:
        about = {"name": other[0], "uid": other[1], "digest": DIGEST}
        spec = {"action": action, "rolloutRef": {"name": "digits"}, "reason": "yes", "request": about, **fields}
        body = {
            "apiVersion": ACTION_REQUESTS.api_version,
            "kind": ACTION_REQUESTS.kind,
            "metadata": {"name": f"answer-{number}", "namespace": scene.namespace},
            "spec": {key: value for key, value in spec.items() if value is not None},
        }
        return Attack("answer", "POST", scene.path("actionrequests"), body)

    fields: tuple[Spec, ...] = (
        {},
        {"requester": "alice"},
        {"permit": "plead"},
        {"request": None, "approval": {"name": "owner", "digest": DIGEST}},
        {"rule": "drift"},
    )
    known = [*scene.others, ("plead-1", "00000000-0000-4000-8000-000000000000")]
    # The uid of a request that is there, under a name that is not.
    others = st.sampled_from([*known, *(("nobody-s", uid) for _, uid in known)])
    return st.builds(attack, st.sampled_from(_ANSWERS), others, st.integers(0, 10**6), st.sampled_from(fields))


_FOREIGN: tuple[tuple[str, str, str], ...] = (
    ("/apis/apps/v1", "deployments", "digits"),
    ("/api/v1", "services", "digits"),
    ("/api/v1", "configmaps", "weir"),
    ("/api/v1", "secrets", "token"),
    ("/api/v1", "pods", "digits"),
    ("/apis/gateway.networking.k8s.io/v1", "httproutes", "digits"),
    ("/apis/rbac.authorization.k8s.io/v1", "rolebindings", "mine"),
    ("/apis/rbac.authorization.k8s.io/v1", "roles", "mine"),
    ("/apis/coordination.k8s.io/v1", "leases", "weir-operator"),
    ("/apis/batch/v1", "jobs", "train"),
    ("/apis/events.k8s.io/v1", "events", "x"),
)
_GLOBAL = (
    "/apis/weir.dev/v1alpha1/clusteragentpolicies/agents",
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/weir-actions",
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/weir-actions",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/rollouts.weir.dev",
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/weir",
)
_PATCHES: tuple[tuple[str, Any], ...] = (
    ("application/merge-patch+json", {"spec": {"paused": True, "versionRef": {"name": "evil"}}}),
    ("application/merge-patch+json", {"metadata": {"labels": {"weir.dev/agents": None, PERMIT_LABEL: "shift"}}}),
    ("application/merge-patch+json", {"metadata": {"annotations": {"weir.dev/changed-by": "alice"}}}),
    ("application/merge-patch+json", {"metadata": {"finalizers": ["weir.dev/forever"]}}),
    ("application/merge-patch+json", {"status": {"phase": "Succeeded", "weight": 100, "granted": []}}),
    ("application/json-patch+json", [{"op": "remove", "path": "/spec/permits/0/budget"}]),
    ("application/json-patch+json", [{"op": "replace", "path": "/spec/subjects", "value": []}]),
)


def _writing(scene: Scene, names: Mapping[str, Sequence[str]]) -> st.SearchStrategy[Attack]:
    """Writes to everything else, Rollouts first; ``names``: objects that exist, by plural."""
    weir = [
        scene.path(kind.plural, name, sub)
        for kind in KINDS
        if not kind.cluster_scoped
        for name in (*names.get(kind.plural, ()), "digits", "new")
        for sub in ("", "status", "scale")
    ]
    foreign = [scene.path(plural, name, "", group) for group, plural, name in _FOREIGN]
    whole = [scene.path(kind.plural) for kind in KINDS if not kind.cluster_scoped]
    paths = st.sampled_from([*weir, *foreign, *_GLOBAL, f"/api/v1/namespaces/{scene.namespace}"])
    patch = st.sampled_from(_PATCHES)
    anything: Spec = {"metadata": {"name": "new"}, "spec": {"versionRef": {"name": "evil"}}}
    token = scene.path("serviceaccounts", "default", "token", "/api/v1")
    heads = ({"Impersonate-User": "alice"}, {"Impersonate-Group": "system:masters", "Impersonate-User": "x"})
    return st.one_of(
        st.builds(lambda path, p: Attack("patch", "PATCH", path, p[1], p[0]), paths, patch),
        paths.map(lambda path: Attack("put", "PUT", path, anything)),
        paths.map(lambda path: Attack("delete", "DELETE", path)),
        st.builds(
            lambda path, days: Attack("delete", "DELETE", path, {"propagationPolicy": "Orphan", **days}),
            paths,
            st.sampled_from(({}, {"gracePeriodSeconds": 0})),
        ),
        st.sampled_from(whole).map(lambda path: Attack("delete all", "DELETE", path)),
        st.sampled_from(whole).map(lambda path: Attack("create", "POST", path, anything)),
        st.builds(
            lambda path, head: Attack("impersonate", "DELETE", path, headers=head), paths, st.sampled_from(heads)
        ),
        st.just(Attack("token", "POST", token, {"spec": {}})),
    )


def attacks(scene: Scene, names: Mapping[str, Sequence[str]]) -> st.SearchStrategy[list[Attack]]:
    """Volleys: two thirds are requests for actions, and a third of those is within the policy."""
    kinds = (_asked(scene), _answering(scene), _writing(scene, names))
    # Not one_of, which would give each of the many ways to write as much room as the requests.
    one = st.sampled_from((0, 0, 0, 0, 0, 0, 1, 2, 2)).flatmap(lambda kind: kinds[kind])
    return st.lists(one, min_size=30, max_size=60)


# --- what came of it -------------------------------------------------------------------------------------------------


def breach(shot: Shot, scene: Scene, others: Iterable[str]) -> str:
    """Why something that was let through must not have been; empty where all is well. ``others``: as in
    ``beyond``."""
    if not shot.through:
        return ""
    if shot.status == 201 and shot.answer.get("kind") == ACTION_REQUESTS.kind:
        return beyond(shot.answer, scene.user, others)
    if shot.attack.what == "delete all" and shot.answer.get("items") == []:
        return ""  # there was nothing
    return f"{shot.attack.what} {shot.attack.path} was let through"


_NO_FAULT = ("request is too large", "resourceVersion should not be set", "failed to create typed patch object")
"""What the API server answers 500 to although only the request is wrong."""


def unhealthy(shot: Shot) -> str:
    """A refusal that only happens because something broke; empty where it is a proper answer."""
    if shot.status >= 500 and not any(words in shot.message for words in _NO_FAULT):
        return f"{shot.status}: {shot.message[:300]}"
    if "resulted in error" in shot.message or "no such key" in shot.message:
        return f"a policy could not be evaluated: {shot.message[:400]}"
    return ""
