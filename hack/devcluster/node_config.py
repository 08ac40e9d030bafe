"""Configuration files of the embedded node: containerd, CNI, kubelet and kube-proxy. Pure text, no I/O."""

import json
from dataclasses import dataclass
from pathlib import Path

import yaml

from devcluster.system import CNI_PLUGINS

NODE_ADDRESS = "10.1.0.2"
NODE_PREFIX = 24
NODE_GATEWAY = "10.1.0.1"
POD_RANGE = "10.244.0.0/16"
DNS_ADDRESS = "10.96.0.10"
PAUSE_IMAGE = "localhost/pause:1"


@dataclass(frozen=True)
class NodeConfig:
    """Names and files that the configuration of a node is made of."""

    cluster: str
    root: Path
    pki: Path
    runc: str

    @property
    def node(self) -> str:
        """The Node object's name."""
        return f"{self.cluster}-node"

    @property
    def cgroup(self) -> str:
        """The cgroup above all pods; a name of its own lets clusters live side by side."""
        return f"weir-{self.cluster}"

    @property
    def socket(self) -> Path:
        """containerd's socket."""
        return self.root / "containerd.sock"

    def containerd(self) -> str:
        """containerd's configuration (version 2 of the format: containerd 1.6 and later)."""
        disabled = [f"io.containerd.snapshotter.v1.{name}" for name in ("aufs", "btrfs", "devmapper", "zfs")]
        disabled.append("io.containerd.internal.v1.opt")  # it would make /opt/containerd
        return f"""\
version = 2
root = "{self.root / "containerd"}"
state = "/run/containerd/state"
disabled_plugins = {json.dumps(disabled)}

[grpc]
  address = "{self.socket}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{self.runc}"

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = "{self.root / "cni"}"
"""

    def cni(self) -> str:
        """Pods on one bridge; addresses are kept in the private /var/lib, so they are free again after a crash."""
        bridge = {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipMasq": False,
            "hairpinMode": True,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": POD_RANGE}]], "routes": [{"dst": "0.0.0.0/0"}]},
        }
        portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
        return json.dumps({"cniVersion": "1.0.0", "name": "weir", "plugins": [bridge, portmap]}, indent=1)

    def kubelet(self) -> str:
        """KubeletConfiguration: cgroup version 1 or 2, no swap rule, no eviction for a full disk."""
        return yaml.safe_dump(
            {
                "apiVersion": "kubelet.config.k8s.io/v1beta1",
                "kind": "KubeletConfiguration",
                "failCgroupV1": False,
                "cgroupDriver": "cgroupfs",
                "cgroupRoot": f"/{self.cgroup}",
                "enforceNodeAllocatable": [],
                "oomScoreAdj": 0,
                "failSwapOn": False,
                "containerRuntimeEndpoint": f"unix://{self.socket}",
                "authentication": {
                    "anonymous": {"enabled": False},
                    "webhook": {"enabled": True},
                    "x509": {"clientCAFile": str(self.pki / "ca.crt")},
                },
                "authorization": {"mode": "Webhook"},
                "tlsCertFile": str(self.pki / "kubelet-server.crt"),
                "tlsPrivateKeyFile": str(self.pki / "kubelet-server.key"),
                "clusterDomain": "cluster.local",
                "clusterDNS": [DNS_ADDRESS],
                "resolvConf": "",
                "volumePluginDir": str(self.root / "kubelet" / "volume-plugins"),
                "evictionHard": {"nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
                "imageGCHighThresholdPercent": 100,
                "maxPods": 200,
                "nodeStatusUpdateFrequency": "4s",
                "serializeImagePulls": False,
            },
            sort_keys=False,
        )

    def kube_proxy(self) -> str:
        """KubeProxyConfiguration: nftables, no host-wide settings."""
        return yaml.safe_dump(
            {
                "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                "kind": "KubeProxyConfiguration",
                "clientConnection": {"kubeconfig": str(self.pki / "proxy.kubeconfig")},
                "mode": "nftables",
                "clusterCIDR": POD_RANGE,
                "hostnameOverride": self.node,
                "conntrack": {"maxPerCore": 0, "min": 0},
            },
            sort_keys=False,
        )
