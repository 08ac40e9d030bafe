"""What every development cluster has beside Kubernetes: DNS, Gateway API, Traefik, Prometheus.

The manifests beside this file name the embedded cluster's images; for kind they get the public ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devcluster import wheels
from devcluster.archive import SmallImage
from devcluster.command import run
from devcluster.errors import ClusterError
from devcluster.paths import Cache
from devcluster.progress import Progress
from devcluster.tools import GoTools

GATEWAY_API = ("sigs.k8s.io/gateway-api", "v1.6.1", "h1:mock6phZbI6rvZerwrVNk7hVNymQgHo+6sJ81Ia7ftY=")
"""Module, version and checksum of the Gateway API release whose standard CRDs are installed."""

COREDNS_IMAGE = "localhost/coredns:1"
TRAEFIK_IMAGE = "localhost/traefik:3.7"
PROMETHEUS_IMAGE = "localhost/prometheus:3"

PUBLIC_IMAGES: Mapping[str, str] = {TRAEFIK_IMAGE: "traefik:v3.7.15", PROMETHEUS_IMAGE: "prom/prometheus:v3.15.0"}

_MANIFESTS = Path(__file__).parent


@dataclass(frozen=True)
class Workload:
    """A Deployment that an add-on runs."""

    namespace: str
    name: str


COREDNS = Workload("kube-system", "coredns")
WORKLOADS = (Workload("weir-gateway", "traefik"), Workload("monitoring", "prometheus"))


def embedded_images(cache: Cache, progress: Progress) -> tuple[SmallImage, ...]:
    """The images of all add-ons, from the programs in the cache."""

    def single(reference: str, program: Path) -> SmallImage:
        return SmallImage(reference, [f"/usr/local/bin/{program.name}"], {f"usr/local/bin/{program.name}": program})

    return (
        single(COREDNS_IMAGE, cache.bin / "coredns"),
        single(TRAEFIK_IMAGE, wheels.traefik(cache, progress)),
        single(PROMETHEUS_IMAGE, cache.bin / "prometheus"),
    )


def manifests(names: Sequence[str], images: Mapping[str, str]) -> str:
    """The named manifests as one YAML stream, with other images in place of the embedded ones."""
    text = "\n---\n".join((_MANIFESTS / f"{name}.yaml").read_text() for name in names)
    for embedded, other in images.items():
        text = text.replace(f"image: {embedded}\n", f"image: {other}\n")
    return text


class Addons:
    """Installs the add-ons through a kubectl command (a prefix of words) and says whether they run."""

    def __init__(self, kubectl: Sequence[str], tools: GoTools, with_dns: bool) -> None:
        self._kubectl = list(kubectl)
        self._tools = tools
        self._with_dns = with_dns

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """The Deployments to wait for."""
        return (COREDNS, *WORKLOADS) if self._with_dns else WORKLOADS

    def gateway_crds(self) -> Path:
        """The directory of the standard CRDs."""
        return self._tools.module_directory(*GATEWAY_API) / "config" / "crd" / "standard"

    def apply_gateway_api(self) -> None:
        """Apply the standard CRDs and return when their kinds can be used."""
        self._apply("--filename", str(self.gateway_crds()))
        run([*self._kubectl, "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"])

    def apply(self, images: Mapping[str, str]) -> None:
        """Apply everything, server-side; idempotent."""
        self.apply_gateway_api()
        names = ["traefik", "prometheus", *(["coredns"] if self._with_dns else [])]
        self._apply("--filename", "-", stdin=manifests(names, images))

    def wait(self, timeout: float) -> None:
        """Return when every Deployment is available and the Gateway is programmed; `timeout` in seconds each."""
        for workload in self.workloads:
            self._wait("Available", f"deployment/{workload.name}", workload.namespace, timeout)
        self._wait("Programmed", "gateway/weir", "weir-gateway", timeout)

    def ready(self) -> dict[str, bool]:
        """Whether each Deployment has a ready pod, by `namespace/name`."""
        template = "{.status.readyReplicas}"
        answer = {}
        for workload in self.workloads:
            argv = [*self._kubectl, "-n", workload.namespace, "get", "deployment", workload.name, "-o"]
            try:
                ready = run([*argv, f"jsonpath={template}"], timeout=10).strip() not in {"", "0"}
            except ClusterError:
                ready = False
            answer[f"{workload.namespace}/{workload.name}"] = ready
        return answer

    def _wait(self, condition: str, target: str, namespace: str, timeout: float) -> None:
        argv = [*self._kubectl, "-n", namespace, "wait", f"--for=condition={condition}", f"--timeout={timeout:.0f}s"]
        try:
            run([*argv, target], timeout=timeout + 10)
        except ClusterError as error:
            pods = [*self._kubectl, "-n", namespace, "get", "pods,events"]
            raise ClusterError(f"{target} in {namespace} is not {condition}", f"{error}\n{run(pods)}") from error

    def _apply(self, *arguments: str, stdin: str | None = None) -> None:
        argv = [*self._kubectl, "apply", "--server-side", "--force-conflicts", "--field-manager=weir-devcluster"]
        run([*argv, *arguments], stdin=stdin)
