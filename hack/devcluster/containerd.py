"""The embedded cluster's container runtime, as seen from outside it."""

import json
from pathlib import Path

from devcluster.command import run, succeeds
from devcluster.images import ImageArchive


class Containerd:
    """Images and left-over containers of one cluster; talks to containerd's socket."""

    def __init__(self, socket: Path, record: Path) -> None:
        self._ctr = ["ctr", "--address", str(socket), "--namespace", "k8s.io"]
        self._record = record

    def is_ready(self) -> bool:
        """Whether containerd answers."""
        return succeeds([*self._ctr, "version"])

    def load(self, image: ImageArchive) -> bool:
        """Import an image unless this very state of it is there; return whether it was imported."""
        if self._loaded().get(image.reference) == image.digest and image.reference in self._references():
            return False
        run([*self._ctr, "images", "import", image.path])
        self._record.write_text(json.dumps(self._loaded() | {image.reference: image.digest}, indent=1) + "\n")
        return True

    def remove_containers(self) -> None:
        """Forget the containers of a run that ended: their processes are dead, only records and snapshots are left."""
        if left := run([*self._ctr, "containers", "list", "--quiet"]).split():
            run([*self._ctr, "containers", "delete", *left])

    def _loaded(self) -> dict[str, str]:
        try:
            loaded: dict[str, str] = json.loads(self._record.read_text())
        except FileNotFoundError:
            return {}
        return loaded

    def _references(self) -> set[str]:
        return set(run([*self._ctr, "images", "list", "--quiet"]).split())
