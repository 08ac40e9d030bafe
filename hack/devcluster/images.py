"""Images for the embedded cluster: small ones of single programs, and builds of a Dockerfile with buildah."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devcluster import archive
from devcluster.command import run, succeeds
from devcluster.context import context_files, ignore_file
from devcluster.errors import ClusterError
from devcluster.locking import hold
from devcluster.paths import Cache
from devcluster.progress import Progress
from devcluster.system import BUILD_PROGRAMS, ensure_packages, find_program, require_root

BASE_IMAGE = "localhost/weir-base:bookworm"
BASE_SUITE = "bookworm"
BASE_PACKAGES = ("python3", "python3-venv", "ca-certificates")

_CERTIFICATES = Path("/etc/ssl/certs")
_PIP_SETTINGS = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT")

_BASE_LEAVES_OUT = (
    *("var/cache/apt", "var/lib/apt/lists", "var/log"),
    *("usr/share/doc", "usr/share/info", "usr/share/locale", "usr/share/man"),
    *("dev", "proc", "sys"),
)


@dataclass(frozen=True)
class ImageArchive:
    """An image in a file that a container runtime can import; `digest` tells two states of a tag apart."""

    reference: str
    digest: str
    path: Path


@dataclass(frozen=True)
class Build:
    """What `image build` was asked for."""

    dockerfile: Path
    context: Path
    tag: str
    arguments: Mapping[str, str]

    def digest(self, base: str) -> str:
        """A digest of everything that decides what comes out: Dockerfile, context, arguments and base."""
        digest = hashlib.sha256(json.dumps([self.tag, base, sorted(self.arguments.items())]).encode())
        digest.update(self.dockerfile.read_bytes())
        for name, path in context_files(self.context, self.dockerfile):
            info = path.lstat()
            digest.update(f"\0{name}\0{info.st_mode & 0o777}\0".encode())
            digest.update(os.readlink(path).encode() if path.is_symlink() else path.read_bytes())
        return digest.hexdigest()[:16]


def pip_arguments(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Build arguments through which pip in a build uses the same index as pip here; they stay out of the image."""
    return {name: environment[name] for name in _PIP_SETTINGS if environment.get(name)}


def archive_name(reference: str, digest: str) -> str:
    """The file name of an image's archive."""
    return f"{re.sub(r'[^a-zA-Z0-9.-]', '_', reference)}@{digest}.tar"


class ImageStore:
    """Archives of images in the cache; each is made once for every state of what it is made from."""

    def __init__(self, cache: Cache, progress: Progress) -> None:
        self._cache = cache
        self._progress = progress

    def small(self, image: archive.SmallImage) -> ImageArchive:
        """The archive of a small image, written if it is not there."""
        made = self._archive(image.reference, image.digest())
        if not made.path.is_file():
            with hold(self._lock_of(image.reference)):
                self._forget(image.reference)
                archive.write(image, made.path)
            self._progress.step(f"image {image.reference} written")
        return made

    def build(self, build: Build) -> ImageArchive:
        """The archive of a Dockerfile's image, built with buildah if any of its inputs changed."""
        made = self._archive(build.tag, build.digest(self._base_key()))
        if made.path.is_file():
            self._progress.step(f"image {build.tag} is up to date")
            return made
        require_root("building an image without Docker")
        ensure_packages(BUILD_PROGRAMS, self._progress)
        with hold(self._lock_of("build")):
            if not made.path.is_file():
                self._ensure_base()
                self._build(build, made.path)
        return made

    def _build(self, build: Build, target: Path) -> None:
        self._progress.step(f"building image {build.tag}")
        arguments = {"BASE": BASE_IMAGE, **pip_arguments(), **build.arguments}
        volumes = []
        if (bundle := _CERTIFICATES / "ca-certificates.crt").is_file():
            # The machine's own certificate authorities, for networks that intercept TLS.
            arguments.setdefault("PIP_CERT", str(bundle))
            volumes += ["--volume", f"{_CERTIFICATES}:{_CERTIFICATES}:ro"]
        for folder in {word for word in arguments.get("PIP_FIND_LINKS", "").split() if Path(word).is_dir()}:
            volumes += ["--volume", f"{folder}:{folder}:ro"]
        words = [word for pair in sorted(arguments.items()) for word in ("--build-arg", "=".join(pair))]
        # buildah looks for no ignore file beside the Dockerfile by itself, as Docker does.
        ignored_by = ignore_file(build.context, build.dockerfile)
        words += ["--ignorefile", str(ignored_by)] if ignored_by is not None else []
        options = ["--isolation", "chroot", "--tag", build.tag, "--file", str(build.dockerfile), *words, *volumes]
        self._buildah(["bud", *options, str(build.context)])
        self._forget(build.tag)
        self._push(build.tag, target)
        self._progress.step(f"image {build.tag} built")

    def find(self, reference: str) -> ImageArchive:
        """The archive of a tag built before; raises ClusterError when there is none."""
        for path in self._cache.images.glob(archive_name(reference, "*")):
            return ImageArchive(reference, path.stem.rpartition("@")[2], path)
        raise ClusterError(f"no image {reference} in the cache", "Build it first with `devcluster image build`.")

    def _archive(self, reference: str, digest: str) -> ImageArchive:
        return ImageArchive(reference, digest, self._cache.images / archive_name(reference, digest))

    def _lock_of(self, what: str) -> Path:
        return self._cache.images / f".{Path(archive_name(what, 'write')).stem}.lock"

    def _forget(self, reference: str) -> None:
        for old in self._cache.images.glob(archive_name(reference, "*")):
            old.unlink()

    def _push(self, tag: str, target: Path) -> None:
        partial = target.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        self._buildah(["push", "--quiet", tag, f"docker-archive:{partial}:{tag}"])
        partial.rename(target)
        self._buildah(["rmi", "--prune"])

    def _base_key(self) -> str:
        return " ".join([BASE_SUITE, *BASE_PACKAGES])

    def _ensure_base(self) -> None:
        if succeeds(self._buildah_command(["inspect", "--type", "image", BASE_IMAGE])):
            return
        root = self._cache.rootfs / BASE_SUITE
        if not root.is_dir():
            self._debootstrap(root)
        self._progress.step(f"making base image {BASE_IMAGE}")
        layer = self._cache.rootfs / f"{BASE_SUITE}.tar"
        leave_out = [f"--exclude=./{directory}/*" for directory in _BASE_LEAVES_OUT]
        run(["tar", "-C", root, *leave_out, "-cf", layer, "."])
        container = self._buildah(["from", "scratch"]).strip()
        self._buildah(["add", "--quiet", container, str(layer), "/"])
        layer.unlink()
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self._buildah(["config", "--env", path, "--cmd", "/bin/bash", container])
        self._buildah(["commit", "--quiet", "--rm", container, BASE_IMAGE])

    def _debootstrap(self, root: Path) -> None:
        self._progress.step(f"debootstrap of Debian {BASE_SUITE} (about a minute, the first time)")
        partial = root.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.parent.mkdir(parents=True, exist_ok=True)
        program = find_program("debootstrap")
        assert program is not None
        # debootstrap mounts /proc in the new root; in a mount namespace of its own that never outlives it.
        argv = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
        argv += [program, "--variant=minbase", f"--include={','.join(BASE_PACKAGES)}", BASE_SUITE, str(partial)]
        # Where apt is told to use another mirror than Debian's own, say so here as well.
        if mirror := os.environ.get("WEIR_DEBIAN_MIRROR"):
            argv.append(mirror)
        run(argv, timeout=1800)
        partial.rename(root)

    def _buildah_command(self, arguments: Sequence[str]) -> list[str]:
        store = self._cache.images / "store"
        return ["buildah", "--root", str(store), "--runroot", str(store / "run"), "--storage-driver", "vfs", *arguments]

    def _buildah(self, arguments: Sequence[str]) -> str:
        temporary = self._cache.images / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        # Without this buildah makes /etc/cni.
        configuration = self._cache.images / "containers.conf"
        configuration.write_text(f'[network]\nnetwork_config_dir = "{self._cache.images / "network"}"\n')
        environment = {"TMPDIR": str(temporary), "CONTAINERS_CONF": str(configuration)}
        return run(self._buildah_command(arguments), env=environment, timeout=1800)
