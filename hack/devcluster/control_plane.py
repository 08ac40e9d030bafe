"""Command lines of etcd and of the Kubernetes control plane, the same for a node and for the API-only mode."""

from dataclasses import dataclass
from pathlib import Path

import yaml

from devcluster import pki
from devcluster.pki import Leaf

SERVICE_RANGE = "10.96.0.0/16"
SERVICE_ADDRESS = "10.96.0.1"

_WEIR_GROUPS = ("weir.dev", "gateway.networking.k8s.io")
_WRITTEN_GROUPS = ("", "apps", *_WEIR_GROUPS)


def audit_policy() -> str:
    """Who wrote what, without bodies: writes of the groups that a rollout touches, and reads of Weir's own kinds."""
    rules = [
        {
            "level": "Metadata",
            "verbs": ["create", "update", "patch", "delete", "deletecollection"],
            "resources": [{"group": group} for group in _WRITTEN_GROUPS],
        },
        {"level": "Metadata", "verbs": ["get", "list"], "resources": [{"group": group} for group in _WEIR_GROUPS]},
        {"level": "None"},
    ]
    document = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": rules}
    return yaml.safe_dump(document, sort_keys=False)


@dataclass(frozen=True)
class ControlPlane:
    """Where a control plane keeps its files and listens."""

    bin: Path
    pki: Path
    data: Path
    audit_log: Path
    audit_policy: Path
    address: str
    bind_address: str
    port: int = 6443
    etcd_port: int = 2379
    etcd_peer_port: int = 2380

    @property
    def url(self) -> str:
        """The API server's URL on the loopback interface."""
        return f"https://127.0.0.1:{self.port}"

    def etcd(self) -> list[str]:
        """etcd without fsync: a development cluster need not survive a power cut."""
        client = f"http://127.0.0.1:{self.etcd_port}"
        peer = f"http://127.0.0.1:{self.etcd_peer_port}"
        return [
            str(self.bin / "etcd"),
            f"--data-dir={self.data}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            f"--quota-backend-bytes={2 * 1024**3}",
            "--log-level=warn",
        ]

    def apiserver(self, *extra: str) -> list[str]:
        """kube-apiserver with RBAC, service account tokens and an audit log."""
        file = self.pki
        return [
            str(self.bin / "kube-apiserver"),
            f"--etcd-servers=http://127.0.0.1:{self.etcd_port}",
            f"--advertise-address={self.address}",
            f"--bind-address={self.bind_address}",
            f"--secure-port={self.port}",
            f"--client-ca-file={file / 'ca.crt'}",
            f"--tls-cert-file={file / 'apiserver.crt'}",
            f"--tls-private-key-file={file / 'apiserver.key'}",
            f"--service-account-key-file={file / 'sa.pub'}",
            f"--service-account-signing-key-file={file / 'sa.key'}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            "--allow-privileged=true",
            f"--audit-log-path={self.audit_log}",
            f"--audit-policy-file={self.audit_policy}",
            "--audit-log-maxsize=200",
            "--audit-log-maxbackup=1",
            *extra,
        ]

    def node_access(self) -> list[str]:
        """API server flags for talking to kubelets (logs, exec, port-forward) and to aggregated API servers."""
        file = self.pki
        return [
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--kubelet-client-certificate={file / f'{pki.KUBELET_CLIENT.name}.crt'}",
            f"--kubelet-client-key={file / f'{pki.KUBELET_CLIENT.name}.key'}",
            f"--kubelet-certificate-authority={file / 'ca.crt'}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--requestheader-client-ca-file={file / 'ca.crt'}",
            f"--requestheader-allowed-names={pki.FRONT_PROXY.name}",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={file / f'{pki.FRONT_PROXY.name}.crt'}",
            f"--proxy-client-key-file={file / f'{pki.FRONT_PROXY.name}.key'}",
        ]

    def controller_manager(self, *extra: str) -> list[str]:
        """kube-controller-manager, the only one (no leader election), with a client that starts it fast."""
        file = self.pki
        return [
            str(self.bin / "kube-controller-manager"),
            *self._client(pki.CONTROLLER_MANAGER),
            f"--service-account-private-key-file={file / 'sa.key'}",
            f"--root-ca-file={file / 'ca.crt'}",
            "--use-service-account-credentials=true",
            f"--cluster-signing-cert-file={file / 'ca.crt'}",
            f"--cluster-signing-key-file={file / 'ca.key'}",
            "--concurrent-deployment-syncs=20",
            "--concurrent-replicaset-syncs=20",
            "--node-monitor-period=1s",
            # Its default is made below /usr/libexec.
            f"--flex-volume-plugin-dir={self.data / 'volume-plugins'}",
            *extra,
        ]

    def scheduler(self, *extra: str) -> list[str]:
        """kube-scheduler, the only one."""
        return [str(self.bin / "kube-scheduler"), *self._client(pki.SCHEDULER), *extra]

    def _client(self, leaf: Leaf) -> list[str]:
        kubeconfig = self.pki / f"{leaf.name}.kubeconfig"
        return [
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
            "--kube-api-qps=300",
            "--kube-api-burst=600",
        ]
