import copy
from typing import Any

import pytest

from tests.unit.workload.builders import DIGEST, owned, pool_request, rollout, version_spec
from weir.workload.manifests import RENDERING, deployment, pool_service, pool_writes, removal_writes, scale_write

ARTIFACT = {"uri": "https://example.test/m.bin", "digest": DIGEST}


def model_container(**kwargs: Any) -> dict[str, Any]:
    return deployment(pool_request(**kwargs))["spec"]["template"]["spec"]["containers"][0]


def as_live(obj: dict[str, Any], replicas: int = 1) -> dict[str, Any]:
    """As the API server would answer: with identity and defaults."""
    live = copy.deepcopy(obj)
    live["metadata"] |= {"uid": "u", "resourceVersion": "1", "generation": 1}
    live["spec"]["progressDeadlineSeconds"] = 600
    if "template" in live["spec"]:
        live["spec"]["replicas"] = replicas
        live["spec"]["template"]["spec"]["dnsPolicy"] = "ClusterFirst"
    return live


def test_given_a_plain_version_when_rendered_then_the_deployment_is_exactly_this() -> None:
    labels = {
        "app.kubernetes.io/managed-by": "weir",
        "app.kubernetes.io/part-of": "digits",
        "app.kubernetes.io/name": "digits",
        "weir.dev/rollout": "digits",
        "weir.dev/pool": "digits-0123abcd",
        "weir.dev/model": "digits",
        "weir.dev/version": "1.0",
        "weir.dev/revision": "bbbbbbbbbbbb",
    }
    probe = {"httpGet": {"path": "/v2/health/ready", "port": "http"}, "periodSeconds": 2, "timeoutSeconds": 2}
    assert deployment(pool_request()) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "digits-0123abcd",
            "namespace": "ml",
            "labels": labels,
            "annotations": {"weir.dev/rendering": RENDERING},
            "ownerReferences": [
                {
                    "apiVersion": "weir.dev/v1alpha1",
                    "kind": "Rollout",
                    "name": "digits",
                    "uid": "uid-digits",
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "spec": {
            "selector": {"matchLabels": {"weir.dev/pool": "digits-0123abcd"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": {
                        "prometheus.io/scrape": "true",
                        "prometheus.io/port": "8080",
                        "prometheus.io/path": "/metrics",
                    },
                },
                "spec": {
                    "terminationGracePeriodSeconds": 30,
                    "automountServiceAccountToken": False,
                    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                    "containers": [
                        {
                            "name": "model",
                            "image": "example.test/digits:1",
                            "env": [
                                {"name": "MODEL_NAME", "value": "digits"},
                                {"name": "MODEL_VERSION", "value": "1.0"},
                                {"name": "PORT", "value": "8080"},
                            ],
                            "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                            "terminationMessagePolicy": "FallbackToLogsOnError",
                            "readinessProbe": {**probe, "failureThreshold": 3},
                            "startupProbe": {**probe, "failureThreshold": 300},
                            "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
                            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                        }
                    ],
                },
            },
        },
    }


def test_given_an_artifact_when_rendered_then_it_is_fetched_before_the_server_starts() -> None:
    content = version_spec(artifact={**ARTIFACT, "credentials": {"name": "keys"}})
    spec = deployment(pool_request(content=content))["spec"]["template"]["spec"]
    assert spec["volumes"] == [{"name": "weir-model", "emptyDir": {}}]
    fetch = spec["initContainers"][0]
    assert fetch["image"] == "example.test/weir:1"
    assert fetch["args"] == ["fetch", "--uri", ARTIFACT["uri"], "--digest", DIGEST, "--dest", "/mnt/models"]
    assert fetch["envFrom"] == [{"secretRef": {"name": "keys"}}]
    assert fetch["securityContext"]["readOnlyRootFilesystem"] is True
    assert fetch["volumeMounts"] == [{"name": "weir-model", "mountPath": "/mnt/models"}]
    model = spec["containers"][0]
    assert {"name": "MODEL_PATH", "value": "/mnt/models"} in model["env"]
    assert model["volumeMounts"] == [{"name": "weir-model", "mountPath": "/mnt/models", "readOnly": True}]


def test_given_an_artifact_on_a_claim_when_rendered_then_the_claim_is_mounted_read_only() -> None:
    content = version_spec(artifact={"uri": "pvc://weights/digits/1", "digest": DIGEST})
    spec = deployment(pool_request(content=content))["spec"]["template"]["spec"]
    source = {"name": "weir-source", "mountPath": "/mnt/source", "readOnly": True}
    assert {"name": "weir-source", "persistentVolumeClaim": {"claimName": "weights", "readOnly": True}} in spec[
        "volumes"
    ]
    assert source in spec["initContainers"][0]["volumeMounts"]
    assert source in spec["containers"][0]["volumeMounts"]


def test_given_a_template_when_merged_then_the_users_fields_win_but_identity_stays() -> None:
    template = {
        "metadata": {"labels": {"team": "ml", "weir.dev/pool": "evil"}, "annotations": {"prometheus.io/port": "9"}},
        "spec": {
            "terminationGracePeriodSeconds": 3,
            "securityContext": {"runAsNonRoot": False},
            "containers": [
                {"name": "log", "image": "example.test/log:1"},
                {
                    "name": "model",
                    "image": "example.test/evil:1",
                    "readinessProbe": {"tcpSocket": {"port": 1}},
                    "resources": {"limits": {"cpu": "2"}},
                    "env": [{"name": "MODEL_VERSION", "value": "9"}, {"name": "T", "value": "1"}],
                },
            ],
        },
    }
    content = version_spec(runtime={"env": [{"name": "T", "value": "0"}, {"name": "V", "value": "v"}]})
    result = deployment(pool_request(rollout(template=template), content))["spec"]["template"]
    model, log = result["spec"]["containers"]
    assert log["name"] == "log"
    assert result["metadata"]["labels"]["team"] == "ml"
    assert result["metadata"]["labels"]["weir.dev/pool"] == "digits-0123abcd"
    assert result["metadata"]["annotations"]["prometheus.io/port"] == "9"
    assert result["spec"]["securityContext"]["runAsNonRoot"] is False
    assert model["image"] == "example.test/digits:1"
    assert model["readinessProbe"] == {"tcpSocket": {"port": 1}}
    assert model["resources"] == {"limits": {"cpu": "2"}}
    assert model["lifecycle"]["preStop"]["sleep"]["seconds"] == 2, "must be shorter than the grace period"
    env = {var["name"]: var["value"] for var in model["env"]}
    assert env == {"MODEL_NAME": "digits", "MODEL_VERSION": "1.0", "PORT": "8080", "T": "1", "V": "v"}
    assert template["spec"]["containers"][1]["image"] == "example.test/evil:1", "the spec itself must not change"


@pytest.mark.parametrize(
    ("protocol", "probe"),
    [
        ("OpenAI", {"httpGet": {"path": "/health", "port": "http"}}),
        ("HTTP", {"tcpSocket": {"port": "http"}}),
    ],
)
def test_given_a_protocol_when_rendered_then_readiness_fits_it(protocol: str, probe: dict[str, Any]) -> None:
    rendered = model_container(content=version_spec(runtime={"protocol": protocol}))["readinessProbe"]
    assert {name: rendered[name] for name in probe} == probe


def test_given_nothing_exists_when_written_then_service_deployment_and_replicas_in_this_order() -> None:
    request = pool_request()
    writes = pool_writes(request, 3, render=True, live_deployment=None, live_service=None)
    assert [(w.resource.kind, w.manager) for w in writes] == [
        ("Service", "weir-workload"),
        ("Deployment", "weir-workload"),
        ("Deployment", "weir-scale"),
    ]
    assert "replicas" not in writes[1].body["spec"]
    assert writes[2].body["spec"] == {"replicas": 3}


def test_given_a_converged_pool_when_written_then_nothing_is() -> None:
    request = pool_request(content=version_spec(artifact=ARTIFACT, runtime={"resources": {"limits": {"cpu": "1000m"}}}))
    live, service = as_live(deployment(request), 3), as_live(pool_service(request))
    live["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"] = "1"
    assert pool_writes(request, 3, render=True, live_deployment=live, live_service=service) == ()


def test_given_an_upgraded_weir_when_written_then_no_running_pod_is_replaced() -> None:
    request = pool_request(content=version_spec(artifact=ARTIFACT))
    live, service = as_live(deployment(request)), as_live(pool_service(request))
    live["spec"]["template"]["spec"]["initContainers"][0]["image"] = "example.test/weir:0"
    assert pool_writes(request, 1, render=True, live_deployment=live, live_service=service) == ()
    live["metadata"]["annotations"]["weir.dev/rendering"] = "0"
    live["spec"]["template"]["spec"]["containers"][0]["lifecycle"] = {}
    assert pool_writes(request, 1, render=True, live_deployment=live, live_service=service) == ()


def test_given_somebody_changed_the_image_when_written_then_it_is_put_back() -> None:
    request = pool_request()
    live, service = as_live(deployment(request)), as_live(pool_service(request))
    live["spec"]["template"]["spec"]["containers"][0]["image"] = "example.test/other:1"
    (write,) = pool_writes(request, 1, render=True, live_deployment=live, live_service=service)
    assert (write.resource.kind, write.manager) == ("Deployment", "weir-workload")


def test_given_no_leave_to_render_when_written_then_only_replicas_of_what_exists() -> None:
    request = pool_request()
    assert pool_writes(request, 2, render=False, live_deployment=None, live_service=None) == ()
    live = as_live(deployment(request), 4)
    (write,) = pool_writes(request, 0, render=False, live_deployment=live, live_service=None)
    assert write == scale_write(request.rollout, request.pool, 0, live)
    assert write.body["metadata"]["uid"] == "u"


def test_given_a_user_run_pool_when_written_then_nothing_is() -> None:
    content = version_spec().model_copy(
        update={"runtime": version_spec().runtime.model_validate({"serviceRef": {"name": "mine"}})}
    )
    request = pool_request(content=content)
    assert pool_writes(request, 4, render=True, live_deployment=None, live_service=None) == ()


def test_given_objects_of_others_when_removed_then_only_ours_go() -> None:
    view = rollout()
    ours, theirs = owned("Deployment", "p", view), owned("Service", "p", rollout("other"))
    (write,) = removal_writes(view, ours, theirs)
    assert (write.verb, write.resource.kind, write.uid) == ("delete", "Deployment", "uid-Deployment-p")
    ours["metadata"]["deletionTimestamp"] = "x"
    assert removal_writes(view, ours, None) == ()
