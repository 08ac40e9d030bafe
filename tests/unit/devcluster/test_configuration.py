"""What the cluster's programs are told, and where files go."""

from pathlib import Path

import pytest
import yaml

from devcluster import fake_node, pki
from devcluster.control_plane import ControlPlane, audit_policy
from devcluster.errors import ClusterError
from devcluster.node_config import NodeConfig
from devcluster.paths import Cache


@pytest.fixture
def node() -> NodeConfig:
    return NodeConfig("blue", Path("/cache/clusters/blue"), Path("/cache/clusters/blue/pki"), "/usr/sbin/runc")


@pytest.fixture
def control_plane() -> ControlPlane:
    return ControlPlane(
        bin=Path("/bin"),
        pki=Path("/pki"),
        data=Path("/etcd"),
        audit_log=Path("/audit.log"),
        audit_policy=Path("/policy.yaml"),
        address="10.1.0.2",
        bind_address="0.0.0.0",
        port=7443,
        etcd_port=7379,
    )


def test_given_two_clusters_when_configured_then_they_share_no_cgroup_socket_or_node_name(node: NodeConfig) -> None:
    other = NodeConfig("green", Path("/cache/clusters/green"), node.pki, node.runc)

    assert node.cgroup != other.cgroup
    assert node.socket != other.socket
    assert node.node != other.node


def test_given_a_node_when_the_kubelet_is_configured_then_its_pods_stay_below_the_clusters_cgroup(
    node: NodeConfig,
) -> None:
    kubelet = yaml.safe_load(node.kubelet())

    assert kubelet["cgroupRoot"] == "/weir-blue"
    assert kubelet["containerRuntimeEndpoint"] == "unix:///cache/clusters/blue/containerd.sock"
    assert kubelet["authentication"]["anonymous"] == {"enabled": False}


def test_given_a_node_when_containerd_is_configured_then_all_its_files_are_the_clusters_own(node: NodeConfig) -> None:
    import tomllib

    containerd = tomllib.loads(node.containerd())

    assert containerd["root"] == "/cache/clusters/blue/containerd"
    assert containerd["grpc"]["address"] == "/cache/clusters/blue/containerd.sock"
    cri = containerd["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["sandbox_image"] == "localhost/pause:1"
    assert cri["containerd"]["runtimes"]["runc"]["options"]["BinaryName"] == "/usr/sbin/runc"


def test_given_a_control_plane_when_its_programs_are_started_then_all_meet_at_the_same_ports(
    control_plane: ControlPlane,
) -> None:
    assert "--listen-client-urls=http://127.0.0.1:7379" in control_plane.etcd()
    assert "--etcd-servers=http://127.0.0.1:7379" in control_plane.apiserver()
    assert "--secure-port=7443" in control_plane.apiserver()
    assert control_plane.url == "https://127.0.0.1:7443"


def test_given_the_audit_policy_when_read_then_writes_of_rollouts_are_logged_and_lease_renewals_are_not() -> None:
    *rules, rest = yaml.safe_load(audit_policy())["rules"]
    written = {entry["group"] for rule in rules if "patch" in rule["verbs"] for entry in rule["resources"]}

    assert written == {"", "apps", "weir.dev", "gateway.networking.k8s.io"}
    assert rest == {"level": "None"}


def test_given_a_server_certificate_when_described_then_it_serves_and_names_every_address() -> None:
    leaf = pki.apiserver(["10.96.0.1", "127.0.0.1"])

    assert "extendedKeyUsage=serverAuth" in leaf.extensions()
    assert "IP:10.96.0.1" in leaf.alternative_names
    assert "DNS:kubernetes.default.svc" in leaf.alternative_names


def test_given_a_client_certificate_when_described_then_it_serves_nothing() -> None:
    extensions = pki.ADMIN.extensions()

    assert "extendedKeyUsage=clientAuth" in extensions
    assert not any(extension.startswith("subjectAltName") for extension in extensions)


def test_given_the_pod_stages_when_read_then_exactly_one_fits_each_value_of_the_annotation() -> None:
    stages = {stage["metadata"]["name"]: stage for stage in yaml.safe_load_all(fake_node.stages())}

    def operator(name: str) -> str:
        expressions = stages[name]["spec"]["selector"]["matchExpressions"]
        (found,) = [item for item in expressions if fake_node.READY_ANNOTATION in item["key"]]
        assert found["values"] == ["false"]
        return str(found["operator"])

    assert (operator("pod-ready"), operator("pod-not-ready")) == ("NotIn", "In")
    assert "ready: true" in stages["pod-ready"]["spec"]["next"]["statusTemplate"].split("containerStatuses")[1]
    assert "ready: false" in stages["pod-not-ready"]["spec"]["next"]["statusTemplate"].split("containerStatuses")[1]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"WEIR_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/weir"),
        ({"WEIR_CACHE": "", "XDG_CACHE_HOME": "/b"}, "/b/weir"),
        ({}, str(Path.home() / ".cache" / "weir")),
    ],
)
def test_given_the_environment_when_the_cache_is_asked_for_then_the_first_setting_counts(
    environment: dict[str, str], expected: str
) -> None:
    assert str(Cache.default(environment).root) == expected


@pytest.mark.parametrize("name", ["", "Weir", "-a", "a-", "a/b", "..", "a" * 31, "1a"])
def test_given_a_name_that_cannot_be_one_when_used_then_it_is_refused(name: str) -> None:
    with pytest.raises(ClusterError, match="no cluster name"):
        Cache(Path("/cache")).cluster(name)


def test_given_a_name_when_used_then_all_its_files_are_below_its_directory() -> None:
    paths = Cache(Path("/cache")).cluster("weir-2")

    assert paths.kubeconfig == Path("/cache/clusters/weir-2/kubeconfig")
    assert paths.lock.parent == paths.root.parent
