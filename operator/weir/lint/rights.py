"""What RBAC in the files gives to the subjects of an AgentPolicy: too little to act, or too much to be held."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from weir.agent.permits import user_name
from weir.api import GROUP
from weir.api.agentpolicy import AgentPolicySpec, Subject
from weir.lint.document import Document
from weir.lint.finding import Path
from weir.lint.objects import LintedObject
from weir.view.read import Node

_RBAC = "rbac.authorization.k8s.io/"
_BINDINGS, _ROLES = ("RoleBinding", "ClusterRoleBinding"), ("Role", "ClusterRole")
_READ = ("get", "list", "watch")
_POWERFUL = ("cluster-admin", "admin", "edit")
"""Roles of Kubernetes that may write Rollouts, Deployments or Services."""

_POWERFUL_HERE = ("-edit", "-admin", "-actor", "-approver")
"""Ends of the names of the chart's roles that may do more than look."""

Roles = Mapping[tuple[str, str], Node]


def is_rbac(value: Any) -> bool:
    """Whether it is a role or a binding."""
    node = Node(value)
    return node.text("apiVersion").startswith(_RBAC) and node.text("kind") in (*_BINDINGS, *_ROLES)


def check_rights(objects: Sequence[LintedObject], documents: Sequence[Document]) -> None:
    """Adds warnings about subjects. ``documents``: roles and bindings of all files."""
    nodes = [(document.file, Node(document.value)) for document in documents]
    roles = {(node.text("kind"), node.text("metadata", "name")): node for _, node in nodes}
    bindings = [(file, node) for file, node in nodes if node.text("kind") in _BINDINGS]
    for linted in objects:
        spec = linted.model
        if not isinstance(spec, AgentPolicySpec):
            continue
        beside = any(file == linted.document.file for file, _ in bindings)
        for index, subject in enumerate(spec.subjects):
            path: Path = ("spec", "subjects", index)
            mine = [binding for _, binding in bindings if _binds(binding, subject)]
            if beside and not mine:
                message = f"no RoleBinding in this file gives {_named(subject)} the right to create actionrequests"
                linted.warn("no-rights", path, message, "bind it to the ClusterRole weir-agent")
            for binding in mine:
                _check_binding(linted, subject, binding, roles, path)


def _check_binding(linted: LintedObject, subject: Subject, binding: Node, roles: Roles, path: Path) -> None:
    kind, name = binding.text("roleRef", "kind"), binding.text("roleRef", "name")
    role = roles.get((kind, name))
    if role is not None:
        too_much = ", ".join(dict.fromkeys(_too_much(role)))
    else:
        ours = name.startswith("weir") and name.endswith(_POWERFUL_HERE)
        too_much = f"all of {name}" if ours or name in _POWERFUL else ""
    if too_much:
        bound = f"{binding.text('kind')} {binding.text('metadata', 'name') or '?'}"
        message = f"{bound} gives {_named(subject)} more than an agent needs: {too_much}"
        hint = "agents need get, list and watch, and create on actionrequests"
        linted.warn("wide-rights", path, message, hint)


def _too_much(role: Node) -> Iterator[str]:
    """Rights in Weir's group beyond looking and asking."""
    for rule in role.items("rules"):
        if not {GROUP, "*"}.intersection(rule.texts("apiGroups")):
            continue
        for resource in rule.texts("resources"):
            allowed = (*_READ, "create") if resource == "actionrequests" else _READ
            yield from (f"{verb} {resource}" for verb in rule.texts("verbs") if verb not in allowed)


def _binds(binding: Node, subject: Subject) -> bool:
    home = binding.text("metadata", "namespace")
    for bound in binding.items("subjects"):
        kind, name = bound.text("kind"), bound.text("name")
        if kind == "User" and name == user_name(subject):
            return True
        if (kind, name) == (subject.kind, subject.name):
            namespace = bound.text("namespace") or home
            if kind != "ServiceAccount" or namespace in ("", subject.namespace):
                return True
    return False


def _named(subject: Subject) -> str:
    return (
        f"{subject.kind} {subject.namespace}/{subject.name}" if subject.namespace else f"{subject.kind} {subject.name}"
    )
