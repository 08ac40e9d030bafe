"""Certificates, keys and kubeconfigs, made with the openssl command."""

import base64
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml

from devcluster.command import run

DAYS = 730
"""Days that a certificate is valid; every fresh start of a cluster makes new ones."""


@dataclass(frozen=True)
class Leaf:
    """A certificate: file name, subject, and the names it serves (none: a client certificate)."""

    name: str
    subject: str
    alternative_names: tuple[str, ...] = ()

    def extensions(self) -> tuple[str, ...]:
        """X.509 extensions in openssl's notation."""
        usage = "serverAuth" if self.alternative_names else "clientAuth"
        fixed = (
            "basicConstraints=critical,CA:FALSE",
            "keyUsage=critical,digitalSignature,keyEncipherment",
            f"extendedKeyUsage={usage}",
        )
        names = (f"subjectAltName={','.join(self.alternative_names)}",) if self.alternative_names else ()
        return fixed + names


ADMIN = Leaf("admin", "/O=system:masters/CN=admin")
CONTROLLER_MANAGER = Leaf("controller-manager", "/CN=system:kube-controller-manager")
SCHEDULER = Leaf("scheduler", "/CN=system:kube-scheduler")
PROXY = Leaf("proxy", "/CN=system:kube-proxy")
KUBELET_CLIENT = Leaf("apiserver-kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client")
FRONT_PROXY = Leaf("front-proxy-client", "/CN=front-proxy-client")


def apiserver(addresses: Sequence[str]) -> Leaf:
    """The API server's certificate for these IP addresses and its in-cluster names."""
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    return Leaf(
        "apiserver",
        "/CN=kube-apiserver",
        tuple([f"DNS:{name}" for name in [*names, "localhost"]] + [f"IP:{address}" for address in addresses]),
    )


def kubelet_server(node: str, address: str) -> Leaf:
    """The certificate that a kubelet serves logs, exec and port-forward with."""
    return Leaf("kubelet-server", f"/CN={node}", (f"DNS:{node}", f"IP:{address}", "IP:127.0.0.1"))


def kubelet_client(node: str) -> Leaf:
    """The certificate that a kubelet talks to the API server with."""
    return Leaf("kubelet", f"/O=system:nodes/CN=system:node:{node}")


def create(directory: Path, leaves: Sequence[Leaf]) -> None:
    """Make a new CA, all the leaves, and the key pair that signs service account tokens."""
    directory.mkdir(parents=True, exist_ok=True)
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", str(DAYS)]
    ca_usage = "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"
    ca = ["-subj", "/CN=weir-devcluster-ca", "-addext", ca_usage, "-keyout", "ca.key", "-out", "ca.crt"]
    run(["openssl", "req", "-x509", *new_key, *ca], cwd=directory)

    def issue(leaf: Leaf) -> None:
        extensions = [word for extension in leaf.extensions() for word in ("-addext", extension)]
        signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-subj", leaf.subject, *extensions]
        files = ["-keyout", f"{leaf.name}.key", "-out", f"{leaf.name}.crt"]
        run(["openssl", "req", "-x509", *new_key, *signed, *files], cwd=directory)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(issue, leaves))
    run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "sa.key"], cwd=directory)
    run(["openssl", "ec", "-in", "sa.key", "-pubout", "-out", "sa.pub"], cwd=directory)


def kubeconfig(directory: Path, leaf: Leaf, server: str) -> str:
    """A self-contained kubeconfig (certificates inlined) for the leaf's user at that API server URL."""

    def inline(name: str) -> str:
        return base64.b64encode((directory / name).read_bytes()).decode()

    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "weir", "cluster": {"server": server, "certificate-authority-data": inline("ca.crt")}}],
        "users": [
            {
                "name": leaf.name,
                "user": {
                    "client-certificate-data": inline(f"{leaf.name}.crt"),
                    "client-key-data": inline(f"{leaf.name}.key"),
                },
            }
        ],
        "contexts": [{"name": "weir", "context": {"cluster": "weir", "user": leaf.name}}],
        "current-context": "weir",
    }
    return yaml.safe_dump(document, sort_keys=False)


def write_kubeconfig(directory: Path, leaf: Leaf, server: str, target: Path | None = None) -> Path:
    """Write the leaf's kubeconfig, readable by this user alone, and return its path."""
    path = target or directory / f"{leaf.name}.kubeconfig"
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(kubeconfig(directory, leaf, server))
    return path
