"""One Kubernetes node in Linux namespaces of this machine; needs root, no Docker."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from devcluster import addons, pki
from devcluster.archive import SmallImage
from devcluster.command import run, succeeds, wait_until
from devcluster.containerd import Containerd
from devcluster.control_plane import SERVICE_ADDRESS, ControlPlane, audit_policy
from devcluster.errors import ClusterError
from devcluster.images import Build, ImageArchive, ImageStore
from devcluster.namespace import Namespace, make_cgroups, remove_cgroups
from devcluster.node_config import NODE_ADDRESS, NODE_GATEWAY, NODE_PREFIX, PAUSE_IMAGE, NodeConfig
from devcluster.paths import Cache, ClusterPaths
from devcluster.progress import Progress
from devcluster.provider import Entrance, StatusLine, client_environment
from devcluster.services import NAMES, Services
from devcluster.system import NODE_PROGRAMS, ensure_packages, find_program, require_root
from devcluster.tools import GoTools

_API_STATE = ("etcd", "kubelet", "audit.log", "pki", "kubectl-cache", "log")
"""What belongs to one run of a cluster; images stay."""

_LONGEST_SOCKET_PATH = 107
"""Bytes that Linux takes as the address of a Unix socket."""


def pause_image() -> SmallImage:
    """The container that holds a pod's namespaces: the machine's own `sleep` with the libraries it needs."""
    sleep = find_program("sleep")
    assert sleep is not None
    files = {"usr/bin/sleep": Path(sleep)}
    for word in run(["ldd", sleep]).split():
        if word.startswith("/"):
            files[word.lstrip("/")] = Path(word).resolve()
    return SmallImage(PAUSE_IMAGE, ["/usr/bin/sleep", "infinity"], files)


class Embedded:
    """The embedded provider."""

    def __init__(self, cache: Cache, paths: ClusterPaths, progress: Progress) -> None:
        self._cache = cache
        self._paths = paths
        self._progress = progress
        self._tools = GoTools(cache, progress)
        self._images = ImageStore(cache, progress)
        self._namespace = Namespace(paths.root, cache.root)
        self._services = Services(paths.root, paths.logs, self._namespace)
        self._config = NodeConfig(paths.name, paths.root, paths.pki, find_program("runc") or "runc")
        self._containerd = Containerd(self._config.socket, paths / "images.json")
        self._control_plane = ControlPlane(
            bin=cache.bin,
            pki=paths.pki,
            data=paths / "etcd",
            audit_log=paths.audit_log,
            audit_policy=paths / "audit-policy.yaml",
            address=NODE_ADDRESS,
            bind_address="0.0.0.0",
        )

    def up(self, resume: bool) -> None:
        """Start the cluster; with `resume` the API objects of a run that ended without `down` are kept."""
        require_root("the embedded cluster")
        if len(f"{self._config.socket}.ttrpc") > _LONGEST_SOCKET_PATH:
            raise ClusterError(f"the path of {self._config.socket} is too long", "Set WEIR_CACHE to a shorter one.")
        ensure_packages(NODE_PROGRAMS, self._progress)
        self._config = NodeConfig(self._paths.name, self._paths.root, self._paths.pki, find_program("runc") or "runc")
        self._tools.ensure()
        if self._is_serving():
            self._progress.step("the cluster runs already")
            self._addons().apply({})
            self._addons().wait(60)
            return
        self._end()
        with ThreadPoolExecutor(4) as pool:
            prepared = pool.map(
                self._images.small, (pause_image(), *addons.embedded_images(self._cache, self._progress))
            )
            images = list(prepared)
            try:
                self._start(images, resume, pool)
            except BaseException:
                # Also for Ctrl-C: half a cluster is worth nothing, its logs are kept.
                self._end()
                raise

    def down(self, wipe: bool) -> None:
        """End every process; mounts, interfaces and firewall rules go with the namespaces."""
        if self._namespace.leader() is not None:
            require_root("ending the embedded cluster")
        self._end()
        if wipe:
            shutil.rmtree(self._paths.root, ignore_errors=True)
        else:
            (self._paths / "provider").unlink(missing_ok=True)

    def status(self) -> list[StatusLine]:
        """Every process, the API server, the node and the add-ons."""
        if self._namespace.leader() is None:
            return []
        lines = [
            StatusLine(
                service.name,
                service.state == "running",
                service.state if service.pid is None else f"{service.state}, {service.memory} MiB",
            )
            for service in self._services.status()
        ]
        serving = self._api_answers()
        lines.append(StatusLine("api", serving, self._control_plane.url))
        lines.append(StatusLine("node", serving and self._node_is_ready(), self._config.node))
        if serving:
            lines += [StatusLine(name, ready) for name, ready in self._addons().ready().items()]
        return lines

    def entrance(self) -> Entrance:
        """Commands run in the cluster's network: pod and Service addresses work, the host's files are there."""
        environment = client_environment(self._cache, self._paths, self._paths.kubeconfig)
        return Entrance(tuple(self._namespace.enter_network()), environment)

    def service(self, action: str, name: str) -> None:
        """Start or signal one process of the cluster."""
        if name not in NAMES:
            raise ClusterError(f"no service {name!r}", f"Services: {', '.join(NAMES)}")
        if action == "start":
            self._services.start(name)
        else:
            self._services.signal(name, action)

    def build_image(self, build: Build) -> None:
        """Build with buildah on the Debian base image, and load."""
        image = self._images.build(build)
        if self._namespace.leader() is not None:
            self._load(image)

    def load_image(self, reference: str) -> None:
        """Import an image of the cache into containerd."""
        self._namespace.enter()
        self._load(self._images.find(reference))

    def _load(self, image: ImageArchive) -> None:
        if self._containerd.load(image):
            self._progress.step(f"image {image.reference} imported")

    def _end(self) -> None:
        self._namespace.destroy()
        remove_cgroups(self._config.cgroup)
        self._config.socket.unlink(missing_ok=True)
        Path(f"{self._config.socket}.ttrpc").unlink(missing_ok=True)

    def _start(self, images: list[ImageArchive], resume: bool, pool: ThreadPoolExecutor) -> None:
        if not resume or not (self._paths / "etcd").is_dir():
            self._forget_api_state()
        self._write_files()
        make_cgroups(self._config.cgroup)
        self._namespace.create(self._paths.logs / "namespace.log")
        self._namespace.prepare(NODE_ADDRESS, NODE_PREFIX, NODE_GATEWAY)
        self._define_services()
        for name in ("etcd", "containerd", "apiserver"):
            self._services.start(name)
        loaded = pool.submit(self._load_all, images, not resume)
        wait_until(self._api_answers_or_died, what="API server ready", timeout=60)
        self._progress.step("API server ready")
        for name in ("kcm", "scheduler", "proxy"):
            self._services.start(name)
        applied = pool.submit(self._addons().apply, {})
        loaded.result()
        self._services.start("kubelet")
        wait_until(self._node_is_ready, what="node ready", timeout=60)
        self._progress.step("node ready")
        applied.result()
        self._addons().wait(120)
        self._services.require_running(*NAMES)
        self._progress.step("add-ons ready")

    def _forget_api_state(self) -> None:
        for name in _API_STATE:
            path = self._paths / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _load_all(self, images: list[ImageArchive], fresh: bool) -> None:
        wait_until(self._containerd.is_ready, what="containerd ready", timeout=30)
        if fresh:
            self._containerd.remove_containers()
        for image in images:
            self._load(image)

    def _write_files(self) -> None:
        paths, config = self._paths, self._config
        paths.logs.mkdir(parents=True, exist_ok=True)
        (paths / "cni").mkdir(exist_ok=True)
        if not paths.pki.is_dir():
            self._make_certificates()
        self._control_plane.audit_policy.write_text(audit_policy())
        (paths / "containerd.toml").write_text(config.containerd())
        (paths / "cni" / "10-weir.conflist").write_text(config.cni())
        (paths / "kubelet.yaml").write_text(config.kubelet())
        (paths / "kube-proxy.yaml").write_text(config.kube_proxy())

    def _make_certificates(self) -> None:
        node, directory = self._config.node, self._paths.pki
        kubelet = pki.kubelet_client(node)
        clients = (pki.ADMIN, pki.CONTROLLER_MANAGER, pki.SCHEDULER, pki.PROXY, kubelet)
        servers = (
            pki.apiserver([SERVICE_ADDRESS, NODE_ADDRESS, "127.0.0.1"]),
            pki.kubelet_server(node, NODE_ADDRESS),
        )
        pki.create(directory, [*servers, *clients, pki.KUBELET_CLIENT, pki.FRONT_PROXY])
        for leaf in clients:
            pki.write_kubeconfig(directory, leaf, self._control_plane.url)
        pki.write_kubeconfig(directory, pki.ADMIN, self._control_plane.url, self._paths.kubeconfig)

    def _define_services(self) -> None:
        plane, paths = self._control_plane, self._paths
        containerd = find_program("containerd")
        assert containerd is not None
        commands = {
            "etcd": plane.etcd(),
            "containerd": [containerd, "--config", str(paths / "containerd.toml")],
            "apiserver": plane.apiserver(*plane.node_access()),
            "kcm": plane.controller_manager(),
            "scheduler": plane.scheduler(),
            "kubelet": [
                str(self._cache.bin / "kubelet"),
                f"--config={paths / 'kubelet.yaml'}",
                f"--kubeconfig={paths.pki / 'kubelet.kubeconfig'}",
                f"--root-dir={paths / 'kubelet'}",
                f"--cert-dir={paths / 'kubelet' / 'pki'}",
                f"--hostname-override={self._config.node}",
                f"--node-ip={NODE_ADDRESS}",
            ],
            "proxy": [str(self._cache.bin / "kube-proxy"), f"--config={paths / 'kube-proxy.yaml'}"],
        }
        for name, argv in commands.items():
            self._services.define(name, argv)

    def _addons(self) -> addons.Addons:
        return addons.Addons(self._kubectl(), self._tools, with_dns=True)

    def _kubectl(self) -> list[str]:
        cache_directory = self._paths / "kubectl-cache"
        program = [str(self._cache.bin / "kubectl"), f"--kubeconfig={self._paths.kubeconfig}"]
        return [*self._namespace.enter_network(), *program, f"--cache-dir={cache_directory}"]

    def _api_answers(self) -> bool:
        return succeeds([*self._kubectl(), "get", "--raw", "/readyz", "--request-timeout=3s"], timeout=10)

    def _api_answers_or_died(self) -> bool:
        self._services.require_running("etcd", "containerd", "apiserver")
        return self._api_answers()

    def _node_is_ready(self) -> bool:
        condition = '{.status.conditions[?(@.type=="Ready")].status} {.spec.taints}'
        try:
            answer = run([*self._kubectl(), "get", "node", self._config.node, "-o", f"jsonpath={condition}"])
        except ClusterError:
            return False
        return answer.strip() == "True"

    def _is_serving(self) -> bool:
        if self._namespace.leader() is None:
            return False
        states = self._services.status()
        all_run = len(states) == len(NAMES) and all(state.state == "running" for state in states)
        return all_run and self._api_answers() and self._node_is_ready()
