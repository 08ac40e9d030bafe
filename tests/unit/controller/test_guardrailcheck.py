"""The admission policies that bound agents are compared with the chart's, and what the API server adds is no change."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.runtime.fakes import FakeClock
from weir.controller.guardrailcheck import EVERY, LASTS, GuardrailCheck, difference, read_expected
from weir.runtime.errors import ApiError, Forbidden, NotFound, Unavailable
from weir.runtime.resources import KubeObject, Resource

GROUP = "admissionregistration.k8s.io/v1"
RULE = {"apiGroups": ["weir.dev"], "apiVersions": ["v1alpha1"], "operations": ["CREATE"], "resources": ["x"]}
POLICY = {
    "apiVersion": GROUP,
    "kind": "ValidatingAdmissionPolicy",
    "metadata": {"name": "weir-permits"},
    "spec": {
        "failurePolicy": "Fail",
        "paramKind": {"apiVersion": "weir.dev/v1alpha1", "kind": "AgentPolicy"},
        "matchConstraints": {"resourceRules": [RULE]},
        "validations": [{"expression": "true", "message": "said"}],
    },
}
BINDING = {
    "apiVersion": GROUP,
    "kind": "ValidatingAdmissionPolicyBinding",
    "metadata": {"name": "weir-permits"},
    "spec": {
        "policyName": "weir-permits",
        "validationActions": ["Deny", "Audit"],
        "paramRef": {"name": "agents", "parameterNotFoundAction": "Deny"},
    },
}


def defaulted(document: KubeObject) -> KubeObject:
    """As the API server stores it."""
    stored = copy.deepcopy(document)
    constraints = stored["spec"].get("matchConstraints")
    if constraints is not None:
        constraints |= {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}}
        for rule in constraints["resourceRules"]:
            rule["scope"] = "*"
    if "matchResources" in stored["spec"]:
        stored["spec"]["matchResources"] |= {"matchPolicy": "Equivalent", "objectSelector": {}}
    return stored


@dataclass
class Server:
    """Has what the chart installs."""

    stored: dict[str, KubeObject] = field(
        default_factory=lambda: {document["kind"]: defaulted(document) for document in (POLICY, BINDING)}
    )
    outage: ApiError | None = None

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> KubeObject:
        assert (name, namespace) == ("weir-permits", None)
        assert resource.path(None, name).startswith(f"/apis/{GROUP}/{resource.kind.lower()[:20]}")
        if self.outage is not None:
            raise self.outage
        if resource.kind not in self.stored:
            raise NotFound(name, status=404)
        return self.stored[resource.kind]


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@dataclass
class Made:
    """A check and what it told."""

    check: GuardrailCheck
    shown: list[bool]
    woken: list[str | None]

    @property
    def gauge(self) -> bool:
        return self.shown[-1]


Make = Callable[..., Made]


@pytest.fixture
def made(server: Server, clock: FakeClock, tmp_path: Path) -> Make:
    def make(*documents: Any, namespaces: tuple[str, ...] = (), expected: Path | None = None) -> Made:
        path = expected or tmp_path / "guardrails.yaml"
        if expected is None:
            path.write_text(yaml.safe_dump_all(documents or (POLICY, BINDING)))
        shown: list[bool] = []
        woken: list[str | None] = []

        def wake() -> None:
            woken.append(check.problem)

        check = GuardrailCheck(server, path, wake, shown=shown.append, namespaces=namespaces, clock=clock)
        return Made(check, shown, woken)

    return make


async def test_given_what_the_chart_installs_then_nothing_is_wrong_whatever_the_api_server_added(made: Make) -> None:
    it = made()
    assert "being checked" in str(it.check.problem)
    assert not it.check.settled

    assert await it.check.look() == EVERY

    assert it.check.settled

    assert it.check.problem is None
    assert it.gauge == 1
    assert it.woken == [None]
    await it.check.look()
    assert it.woken == [None]


@pytest.mark.parametrize("kind", ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"])
async def test_given_one_that_is_missing_then_it_is_named_and_its_return_is_seen(
    made: Make, server: Server, kind: str
) -> None:
    it = made()
    await it.check.look()
    kept = server.stored.pop(kind)

    await it.check.look()

    assert f"{kind} weir-permits is missing" in str(it.check.problem)
    assert it.gauge == 0
    server.stored[kind] = kept
    await it.check.look()
    assert (it.check.problem, it.gauge) == (None, 1)
    assert len(it.woken) == 3


LABELS = {"objectSelector": {"matchLabels": {"a": "b"}}}


def change(document: KubeObject, path: str, value: Any) -> None:
    *way, last = path.split(".")
    for step in way:
        document = document[int(step)] if isinstance(document, list) else document[step]
    document[last] = value


@pytest.mark.parametrize(
    ("kind", "path", "value", "told"),
    [
        ("ValidatingAdmissionPolicy", "spec.failurePolicy", "Ignore", "spec.failurePolicy"),
        ("ValidatingAdmissionPolicy", "spec.validations.0.expression", "1 == 1", "spec.validations[0].expression"),
        ("ValidatingAdmissionPolicy", "spec.validations", [], "spec.validations"),
        ("ValidatingAdmissionPolicy", "spec.matchConditions", [{"name": "a", "expression": "false"}], "matchCond"),
        ("ValidatingAdmissionPolicy", "spec.matchConstraints.namespaceSelector", {"matchLabels": {"a": "b"}}, "nam"),
        ("ValidatingAdmissionPolicy", "spec.matchConstraints.matchPolicy", "Exact", "spec.matchConstraints.matchPol"),
        ("ValidatingAdmissionPolicy", "spec.matchConstraints.excludeResourceRules", [RULE], "excludeResourceRules"),
        ("ValidatingAdmissionPolicyBinding", "spec.validationActions", ["Audit"], "spec.validationActions"),
        ("ValidatingAdmissionPolicyBinding", "spec.paramRef.parameterNotFoundAction", "Allow", "spec.paramRef.par"),
        ("ValidatingAdmissionPolicyBinding", "spec.policyName", "other", "spec.policyName"),
        ("ValidatingAdmissionPolicyBinding", "spec.matchResources", LABELS, "objectSelector.matchLabels.a"),
    ],
)
async def test_given_an_alteration_then_its_field_is_named(
    made: Make, server: Server, kind: str, path: str, value: Any, told: str
) -> None:
    change(server.stored[kind], path, value)
    it = made()

    await it.check.look()

    assert f"{kind} weir-permits was altered at spec." in str(it.check.problem)
    assert told in str(it.check.problem)
    assert it.gauge == 0


ONE = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "models"}}}
TWO = {
    "namespaceSelector": {
        "matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["models", "more"]}]
    }
}
LABELLED = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "models", "team": "a"}}}
NOT_IN = {
    "namespaceSelector": {
        "matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["models"]}]
    }
}


@pytest.mark.parametrize(
    ("limited", "namespaces", "right"),
    [
        (ONE, ("models",), True),
        (TWO, ("models",), True),
        (TWO, ("models", "more"), True),
        (ONE, ("models", "more"), False),
        (ONE, (), False),
        (LABELLED, ("models",), False),
        (NOT_IN, ("models",), False),
    ],
)
async def test_given_a_binding_for_some_namespaces_then_it_must_be_for_all_that_are_served(
    made: Make, server: Server, limited: Any, namespaces: tuple[str, ...], right: bool
) -> None:
    server.stored["ValidatingAdmissionPolicyBinding"]["spec"]["matchResources"] = limited
    it = made(namespaces=namespaces)

    await it.check.look()

    assert (it.check.problem is None) is right, it.check.problem


async def test_given_several_problems_then_the_first_is_told_and_the_others_are_counted(
    made: Make, server: Server
) -> None:
    server.stored.clear()
    it = made()
    await it.check.look()
    assert "and 1 more" in str(it.check.problem)
    assert "install the chart again" in str(it.check.problem)


async def test_given_policies_for_agents_that_are_switched_off_then_agents_are_stopped_and_nothing_is_missing(
    made: Make,
) -> None:
    none = made(None)
    await none.check.look()
    assert "admission.agents" in str(none.check.problem)
    assert none.gauge == 1


async def test_given_no_right_to_read_one_then_that_is_the_problem(made: Make, server: Server) -> None:
    server.outage = Forbidden("GET /x: no", status=403)
    it = made()
    await it.check.look()
    assert "role does not allow" in str(it.check.problem)


async def test_given_an_api_server_that_is_away_then_the_last_answer_holds_for_a_while_and_then_nobody_is_trusted(
    made: Make, server: Server, clock: FakeClock
) -> None:
    it = made()
    await it.check.look()
    server.outage = Unavailable("GET /x: no answer")

    assert await it.check.look() < EVERY
    assert it.check.problem is None

    await clock.advance(LASTS)
    await it.check.look()
    assert "no answer" in str(it.check.problem)


async def test_given_no_answer_at_the_start_then_it_is_waited_for_a_little_and_then_taken_for_missing(
    made: Make, server: Server
) -> None:
    it = made()
    server.outage = Unavailable("GET /x: no answer")
    for _ in range(2):
        await it.check.look()
        assert not it.check.settled
    await it.check.look()
    assert it.check.settled
    assert "no answer" in str(it.check.problem)


@pytest.mark.parametrize("text", ["a: [", "kind: Pod\napiVersion: v1\n"])
async def test_given_a_file_that_cannot_be_read_then_that_is_the_problem(made: Make, tmp_path: Path, text: str) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text(text)
    for path in (broken, tmp_path / "absent.yaml"):
        it = made(expected=path)
        await it.check.look()
        assert "cannot be read" in str(it.check.problem)
        assert it.gauge == 0


async def test_given_no_file_then_the_way_out_is_told(server: Server) -> None:
    check = GuardrailCheck(server, None, lambda: None)
    await check.look()
    assert "WEIR_GUARDRAILS" in str(check.problem)


def test_given_documents_then_kind_and_path_are_known() -> None:
    policy, binding = read_expected(yaml.safe_dump_all((POLICY, None, BINDING)))
    assert str(policy) == "ValidatingAdmissionPolicy weir-permits"
    assert binding.resource.path(None, binding.name).endswith("/validatingadmissionpolicybindings/weir-permits")


@pytest.mark.parametrize(
    ("wanted", "live", "where"),
    [
        ({"a": {}}, {}, None),
        ({"a": []}, {"a": None}, None),
        ({"a": {"b": {}}}, {"a": {}}, None),
        ({"a": 1}, {"a": 2}, "spec.a"),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1, "scope": "*"}]}, None),
        ({"a": [{"b": 1}]}, {"a": [{"b": 1, "scope": "Namespaced"}]}, "spec.a[0].scope"),
        ({"a": False}, {}, "spec.a"),
        ({}, {"a": "x"}, "spec.a"),
    ],
)
def test_what_counts_as_a_difference(wanted: Any, live: Any, where: str | None) -> None:
    assert difference(wanted, live) == where
