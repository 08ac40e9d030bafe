"""What the chart renders, and which values it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import CHART, NAMESPACE, ROOT, Helm, HelmError, Object, Render

FEATURES = [
    "replicas=2",
    'namespaces=["models","more"]',
    "admission.agents.requireClusterPolicy=true",
    'agents.templateKinds=["jobs.batch","workflows.argoproj.io"]',
    "metrics.serviceMonitor.enabled=true",
    "metrics.podMonitor.enabled=true",
    "metrics.prometheusRule.enabled=true",
    "metrics.dashboard.enabled=true",
    "networkPolicy.enabled=true",
    'priorityClassName="system-cluster-critical"',
    'imagePullSecrets=[{"name":"registry"}]',
    'tracing.endpoint="http://collector:4318"',
    'extraEnv=[{"name":"X","value":"y"}]',
    'extraVolumes=[{"name":"ca","configMap":{"name":"ca"}}]',
    'extraVolumeMounts=[{"name":"ca","mountPath":"/ca"}]',
    'podLabels={"team":"ml"}',
    'podAnnotations={"note":"n"}',
    'tolerations=[{"operator":"Exists"}]',
    'nodeSelector={"kubernetes.io/os":"linux"}',
    'affinity={"podAntiAffinity":{}}',
    'topologySpreadConstraints=[{"maxSkew":1,"topologyKey":"zone","whenUnsatisfiable":"ScheduleAnyway"}]',
]


def pod_specs(objects: tuple[Object, ...]) -> list[dict[str, Any]]:
    pods = [obj["spec"] for obj in objects if obj["kind"] == "Pod"]
    return pods + [obj["spec"]["template"]["spec"] for obj in objects if obj["kind"] == "Deployment"]


def operator_container(objects: tuple[Object, ...]) -> dict[str, Any]:
    (deployment,) = [obj for obj in objects if obj["kind"] == "Deployment"]
    container: dict[str, Any]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return container


def env(container: dict[str, Any]) -> dict[str, Any]:
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container["env"]}


@pytest.mark.parametrize("values", [[], FEATURES], ids=["defaults", "everything on"])
def test_lint_finds_nothing(helm: Helm, values: list[str]) -> None:
    words = [word for value in values for word in ("--set-json", value)]
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART), *words)


def test_defaults_are_written_down_in_the_schema() -> None:
    def holes(values: Any, schema: Any, path: str = "") -> list[str]:
        if not isinstance(values, dict) or "properties" not in schema:
            return []
        open_ended = [path or "."] if schema.get("additionalProperties", True) else []
        missing = [f"{path}.{name}" for name in values if name not in schema["properties"]]
        nested = [holes(v, schema["properties"].get(k, {}), f"{path}.{k}") for k, v in values.items()]
        return open_ended + missing + [hole for found in nested for hole in found]

    schema = json.loads((CHART / "values.schema.json").read_text())
    assert holes(yaml.safe_load((CHART / "values.yaml").read_text()), schema) == []


@pytest.mark.parametrize(
    "value",
    [
        "replica=2",
        "image.tags=1",
        "metrics.serviceMonitor.enable=true",
        'replicas="2"',
        'image.digest="sha256:12"',
        'logLevel="debug"',
        'namespaces="models"',
        'namespaces=["Models"]',
        'tracing.endpoint="collector:4318"',
        'crds.keep="yes"',
    ],
)
def test_a_value_that_is_unknown_or_wrong_is_refused(render: Render, value: str) -> None:
    with pytest.raises(HelmError, match="values don't meet the specifications"):
        render(value)


@pytest.mark.parametrize("values", [[], FEATURES], ids=["defaults", "everything on"])
def test_every_pod_meets_the_restricted_standard_with_a_read_only_root(render: Render, values: list[str]) -> None:
    specs = pod_specs(render(*values).objects)
    assert len(specs) == 2
    for spec in specs:
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] != 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert all("hostPath" not in volume for volume in spec.get("volumes", []))
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "memory" in container["resources"]["limits"]
            assert "cpu" not in container["resources"]["limits"]


def test_the_operator_gets_its_environment_probes_and_a_place_to_write(render: Render) -> None:
    rendered = render(
        'image={"repository":"registry.example/weir","tag":"1"}', 'namespaces=["a","b"]', 'logLevel="DEBUG"'
    )
    container = operator_container(rendered.objects)
    found = env(container)
    assert container["args"] == ["operator"]
    assert found["WEIR_IMAGE"] == container["image"] == "registry.example/weir:1"
    assert (found["WEIR_NAMESPACES"], found["WEIR_LOG_LEVEL"], found["WEIR_HTTP_PORT"]) == ("a,b", "DEBUG", "8080")
    assert found["WEIR_ACTION_REQUESTS_KEEP_FOR"] == "168h"
    assert found["POD_NAME"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert found["POD_NAMESPACE"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" not in found
    assert container["ports"] == [{"name": "http", "containerPort": 8080}]
    paths = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths["livenessProbe"] == paths["startupProbe"] == {"path": "/healthz", "port": "http"}
    assert paths["readinessProbe"] == {"path": "/readyz", "port": "http"}
    assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]


def test_a_digest_wins_over_a_tag_and_reaches_the_fetching_containers(render: Render) -> None:
    digest = "sha256:" + "a" * 64
    container = operator_container(render(f'image={{"repository":"r/weir","tag":"1","digest":"{digest}"}}').objects)
    assert container["image"] == env(container)["WEIR_IMAGE"] == f"r/weir@{digest}"


def test_all_that_can_be_switched_on_is_rendered(render: Render) -> None:
    rendered = render(*FEATURES)
    kinds = {obj["kind"] for obj in rendered.objects}
    assert {"ServiceMonitor", "PodMonitor", "PrometheusRule", "NetworkPolicy", "PodDisruptionBudget"} <= kinds
    deployment = rendered.one("Deployment")
    pod = deployment["spec"]["template"]
    assert deployment["spec"]["replicas"] == 2
    assert pod["metadata"]["labels"]["team"] == "ml"
    assert pod["metadata"]["annotations"]["note"] == "n"
    assert pod["spec"]["priorityClassName"] == "system-cluster-critical"
    assert pod["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["spec"]["topologySpreadConstraints"][0]["topologyKey"] == "zone"
    assert env(operator_container(rendered.objects))["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector:4318"
    assert json.loads(rendered.one("ConfigMap", "weir-dashboard")["data"]["weir.json"])["uid"] == "weir"


def test_whatever_selects_the_operators_pods_finds_them(render: Render) -> None:
    rendered = render(*FEATURES, release="other")
    deployment = rendered.one("Deployment", "other-weir")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        rendered.one("Service", "other-weir")["spec"]["selector"],
        rendered.one("PodDisruptionBudget", "other-weir")["spec"]["selector"]["matchLabels"],
        rendered.one("NetworkPolicy", "other-weir")["spec"]["podSelector"]["matchLabels"],
        rendered.one("PodMonitor", "other-weir")["spec"]["selector"]["matchLabels"],
    ]
    assert all(selector.items() <= labels.items() for selector in selectors)
    monitored = rendered.one("ServiceMonitor", "other-weir")["spec"]["selector"]["matchLabels"]
    assert monitored.items() <= rendered.one("Service", "other-weir")["metadata"]["labels"].items()
    test_pod = rendered.one("Pod", "other-weir-test-ready")
    assert not selectors[0].items() <= test_pod["metadata"]["labels"].items()


def test_the_test_pod_asks_the_operators_own_service(render: Render) -> None:
    pod = render().one("Pod", "weir-test-ready")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert pod["spec"]["containers"][0]["image"] == operator_container(render().objects)["image"]
    assert pod["spec"]["containers"][0]["command"][-1] == f"http://weir.{NAMESPACE}:8080/readyz"


def crd_files() -> dict[str, Object]:
    found = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "crds").glob("*.yaml"))]
    assert found
    return {crd["metadata"]["name"]: crd for crd in found}


def test_the_charts_crds_are_the_generated_ones(render: Render) -> None:
    rendered = {crd["metadata"]["name"]: crd for crd in render().all("CustomResourceDefinition")}
    wanted = crd_files()
    assert rendered.keys() == wanted.keys()
    for name, crd in wanted.items():
        assert rendered[name]["spec"] == crd["spec"]
        assert crd["metadata"]["labels"].items() <= rendered[name]["metadata"]["labels"].items()


def test_crds_survive_an_uninstall_unless_told_otherwise(render: Render) -> None:
    kept = render().all("CustomResourceDefinition")
    assert all(crd["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"} for crd in kept)
    assert all("annotations" not in c["metadata"] for c in render("crds.keep=false").all("CustomResourceDefinition"))
    assert render("crds.enabled=false").all("CustomResourceDefinition") == []


def test_the_notes_name_the_next_command(helm: Helm) -> None:
    arguments = ("install", "weir", str(CHART), "--namespace", "ns", "--dry-run=client")
    notes = helm(*arguments).partition("NOTES:")[2]
    assert "kubectl --namespace ns rollout status deployment/weir" in notes
    assert "WARNING" not in notes
    assert "WARNING: crds.keep is off" in helm(*arguments, "--set", "crds.keep=false").partition("NOTES:")[2]


def test_alerts_and_dashboard_use_metrics_that_the_operator_has() -> None:
    known = "".join(path.read_text() for path in (ROOT / "operator" / "weir").rglob("*metrics.py"))
    alerts = (CHART / "files" / "monitoring" / "alerts.yaml").read_text()
    dashboard: Path = CHART / "files" / "monitoring" / "dashboard.json"
    expressions = [rule["expr"] for group in yaml.safe_load(alerts) for rule in group["rules"]]
    panels = json.loads(dashboard.read_text())["panels"]
    expressions += [target["expr"] for panel in panels for target in panel["targets"]]
    assert len(expressions) > 8
    for expression in expressions:
        names = {word for word in _words(expression) if word.startswith(("weir_", "controller_", "rest_", "leader_"))}
        assert names
        assert all(f'"{name}"' in known for name in names), names


def _words(expression: str) -> set[str]:
    return set("".join(c if c.isalnum() or c == "_" else " " for c in expression).split())
