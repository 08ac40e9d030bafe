"""Notifications in the chart: what the operator gets to read, and what is refused."""

from __future__ import annotations

import json
import re
import textwrap
from typing import Any

import pytest
import yaml

from weir.notify.alerts import Kind, Severity
from weir.notify.config import Files, parse, targets
from weir.notify.ledger import LEDGER
from weir.notify.templates import Templates

from .conftest import CHART, NAMESPACE, HelmError, Object, Render, Rendered

DESTINATIONS = [
    {"name": "chat", "apprise": {"urlKey": "slack"}, "minSeverity": "Warning", "rate": {"burst": 3, "perMinute": 6}},
    {
        "name": "events",
        "cloudEvents": {"url": "http://broker.events:8080/", "headers": [{"name": "Authorization", "key": "token"}]},
        "kinds": ["RolledBack"],
        "namespaces": ["team"],
        "timeout": "5s",
        "giveUpAfter": "2h",
    },
]
TEMPLATES = {"RolledBack": {"title": "{{ title }}!"}, "default": {"body": "{{ text }}\n{{ facts.message }}"}}


def values(**changes: Any) -> str:
    fields = {
        "enabled": True,
        "cluster": "prod",
        "secretName": "weir-notifications",
        "destinations": DESTINATIONS,
        "templates": TEMPLATES,
        **changes,
    }
    return f"notifications={json.dumps(fields)}"


def operator(rendered: Rendered) -> tuple[Object, dict[str, Any]]:
    pod = rendered.one("Deployment")["spec"]["template"]["spec"]
    return pod, pod["containers"][0]


def test_given_nothing_then_there_are_no_notifications(render: Render) -> None:
    rendered = render()
    pod, container = operator(rendered)

    assert not [o for o in rendered.objects if "notif" in o["metadata"]["name"]]
    assert [v["name"] for v in pod["volumes"]] == ["tmp", "guardrails"]
    assert "WEIR_NOTIFICATIONS" not in {e["name"] for e in container["env"]}


def test_given_destinations_then_the_operator_understands_the_mounted_file(render: Render) -> None:
    rendered = render(values())

    files = Files(
        rendered.one("ConfigMap", "weir-notifications")["data"]["config.yaml"].encode(),
        (("slack", b"slack://a/b/c"), ("token", b"Bearer x")),
    )
    config = parse(files)
    good, problems = targets(config, files)

    assert (config.cluster, [t.destination.name for t in good], problems) == ("prod", ["chat", "events"], [])
    assert config.templates[Kind.ROLLED_BACK].title == "{{ title }}!"
    assert config.templates["default"].body == "{{ text }}\n{{ facts.message }}"


def test_given_destinations_then_files_are_mounted_where_the_operator_looks(render: Render) -> None:
    pod, container = operator(render(values()))

    env = {e["name"]: e.get("value") for e in container["env"]}
    mounts = {m["name"]: m for m in container["volumeMounts"]}
    volumes = {v["name"]: v for v in pod["volumes"]}
    root = env["WEIR_NOTIFICATIONS"]
    assert mounts["notifications"] == {"name": "notifications", "mountPath": f"{root}/config", "readOnly": True}
    assert mounts["notification-secrets"]["mountPath"] == f"{root}/secrets"
    assert volumes["notifications"]["configMap"] == {"name": "weir-notifications"}
    # A Secret that is not there yet must not keep the operator from starting.
    assert volumes["notification-secrets"]["secret"] == {
        "secretName": "weir-notifications",
        "defaultMode": 0o440,
        "optional": True,
    }


def test_given_notifications_then_the_operator_may_keep_its_ledger_and_nothing_else(render: Render) -> None:
    rendered = render(values())

    ledger = rendered.one("ConfigMap", LEDGER)
    role = rendered.one("Role", "weir-notifications")
    binding = rendered.one("RoleBinding", "weir-notifications")
    assert "data" not in ledger  # the operator's, and no upgrade may take it away
    assert role["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": [LEDGER],
            "verbs": ["get", "patch"],
        }
    ]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "weir", "namespace": NAMESPACE}]


def test_given_no_roles_wanted_then_none_are_made(render: Render) -> None:
    assert not render(values(), "rbac.create=false").all("Role")


def test_given_no_secret_needed_then_none_is_mounted(render: Render) -> None:
    pod, _ = operator(render(values(secretName="", destinations=[{"name": "e", "cloudEvents": {"url": "http://b/"}}])))

    assert "notification-secrets" not in {v["name"] for v in pod["volumes"]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"destinations": []}, "needs at least one entry in notifications.destinations"),
        ({"secretName": ""}, "must name the Secret that holds the keys of the destination chat"),
        ({"destinations": [{"name": "x"}]}, "destinations"),
        ({"destinations": [{"name": "x", "apprise": {"url": "slack://a"}}]}, "url"),
        ({"destinations": [{"name": "x", "cloudEvents": {"url": "https://me:secret@host"}}]}, "url"),
        ({"destinations": [{**DESTINATIONS[0], "kinds": ["Promotion"]}]}, "kinds"),
        ({"destinations": [{**DESTINATIONS[0], "every": "1m"}]}, "every"),
        ({"templates": {"Promotd": {"title": "x"}}}, "Promotd"),
    ],
)
def test_given_a_mistake_then_helm_refuses_it(render: Render, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(HelmError, match=said):
        render(values(**changes))


def test_given_a_kind_or_severity_then_the_schema_knows_it() -> None:
    properties = json.loads((CHART / "values.schema.json").read_text())["properties"]["notifications"]["properties"]
    destination = properties["destinations"]["items"]["properties"]

    assert set(destination["kinds"]["items"]["enum"]) == set(Kind)
    assert set(properties["templates"]["propertyNames"]["enum"]) == {*Kind, "default"}
    assert set(destination["minSeverity"]["enum"]) == set(Severity)


def blocks() -> list[str]:
    page = (CHART.parents[1] / "docs" / "how-to" / "notifications.md").read_text()
    found = re.findall(r"^( *)```yaml\n(.*?)^ *```", page, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(body) for _, body in found]


def test_given_the_examples_of_the_page_then_chart_and_operator_take_them(render: Render) -> None:
    examples = [yaml.safe_load(block) for block in blocks() if block.startswith("notifications:")]
    assert len(examples) >= 4

    for example in examples:
        rendered = render(f"notifications={json.dumps(example['notifications'])}")
        config = parse(Files(rendered.one("ConfigMap", "weir-notifications")["data"]["config.yaml"].encode()))
        assert [d.name for d in config.destinations] == [d["name"] for d in example["notifications"]["destinations"]]
        assert Templates(config.templates).problems == ()


def test_given_the_pages_way_without_helm_then_it_says_what_the_chart_renders(render: Render) -> None:
    (config,) = [block for block in blocks() if block.startswith("# config.yaml")]
    (ledger,) = [block for block in blocks() if block.startswith("# ledger.yaml")]
    (overlay,) = [block for block in blocks() if block.startswith("# kustomization.yaml")]
    rendered = render(values())
    pod, container = operator(rendered)

    assert parse(Files(config.encode())).destinations[0].name == "ml-oncall"
    for obj in yaml.safe_load_all(ledger):
        made = rendered.one(obj["kind"], obj["metadata"]["name"])
        assert {k: v for k, v in obj.items() if k != "metadata"} == {k: v for k, v in made.items() if k != "metadata"}
    added = [entry["value"] for entry in yaml.safe_load(yaml.safe_load(overlay)["patches"][0]["patch"])]
    assert {"name": "WEIR_NOTIFICATIONS", "value": "/etc/weir/notifications"} in container["env"]
    assert all(value in container["env"] + container["volumeMounts"] + pod["volumes"] for value in added[:4])
