"""The operator compares the live admission policies with the very text that the chart installs."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from weir.controller.guardrailcheck import for_agents, read_expected

from .conftest import Loader, Render, Rendered

MUTATING = ("--api-versions", "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy")


def text(rendered: Rendered, release: str = "weir") -> str:
    data: dict[str, str] = rendered.one("ConfigMap", f"{release}-guardrails")["data"]
    return data["guardrails.yaml"]


def installed(rendered: Rendered) -> list[dict[str, Any]]:
    """The policies and bindings, without what nobody compares."""
    found = [obj for obj in rendered.objects if "AdmissionPolicy" in obj["kind"]]
    return [{**obj, "metadata": {"name": obj["metadata"]["name"]}} for obj in found]


def ordered(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(documents, key=lambda document: (document["kind"], document["metadata"]["name"]))


@pytest.mark.parametrize(
    "values",
    [
        (),
        ('namespaces=["ml","fraud"]',),
        ("admission.actions=false",),
        ("admission.agents.enabled=false",),
        ("admission.checks=false", "protectVersionsInUse=false"),
    ],
    ids=str,
)
@pytest.mark.parametrize("more", [(), MUTATING], ids=["before 1.36", "from 1.36 on"])
def test_everything_that_is_installed_is_expected_word_by_word(
    render: Render, values: tuple[str, ...], more: tuple[str, ...]
) -> None:
    rendered = render(*values, more=more)

    documents = [document for document in yaml.load_all(text(rendered), Loader) if document]

    assert ordered(documents) == ordered(installed(rendered))
    assert len(read_expected(text(rendered))) == len(documents)


@pytest.mark.parametrize(("values", "wanted"), [((), True), (("admission.agents.enabled=false",), False)])
def test_whether_agents_are_held_to_their_policy_is_seen(render: Render, values: tuple[str, ...], wanted: bool) -> None:
    assert for_agents(read_expected(text(render(*values)))) is wanted


def test_the_operator_is_told_where_they_are(render: Render) -> None:
    pod = render(release="other").one("Deployment", "other-weir")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    path = next(env["value"] for env in container["env"] if env["name"] == "WEIR_GUARDRAILS")
    mount = next(mount for mount in container["volumeMounts"] if path.startswith(mount["mountPath"] + "/"))
    volume = next(volume for volume in pod["volumes"] if volume["name"] == mount["name"])
    config = render(release="other").one("ConfigMap", volume["configMap"]["name"])
    assert path.removeprefix(mount["mountPath"] + "/") in config["data"]


@pytest.mark.parametrize("wanted", ["true", "false"])
def test_whether_outer_bounds_are_required_is_handed_on(render: Render, wanted: str) -> None:
    rendered = render(f"admission.agents.requireClusterPolicy={wanted}")
    env = rendered.one("Deployment")["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "WEIR_REQUIRE_CLUSTER_POLICY", "value": wanted} in env


def test_kinds_of_templates_are_handed_on(render: Render) -> None:
    rendered = render('agents.templateKinds=["jobs.batch","workflows.argoproj.io"]')
    env = rendered.one("Deployment")["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "WEIR_TEMPLATE_KINDS", "value": "jobs.batch,workflows.argoproj.io"} in env
