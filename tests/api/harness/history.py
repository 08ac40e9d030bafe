"""Every status that any Rollout ever had, as the API server told it."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from tests.api.harness.api import Api, Mirror
from weir.runtime.resources import ROLLOUTS, KubeObject


class History:
    """Follows all Rollouts from the moment it is made."""

    def __init__(self, kubeconfig: Path) -> None:
        self._seen: defaultdict[tuple[str, str], list[KubeObject]] = defaultdict(list)
        self._mirror = Mirror(Api(kubeconfig), ROLLOUTS, self._put)

    def of(self, namespace: str, name: str) -> list[KubeObject]:
        """Versions of one Rollout, oldest first, each once."""
        return list(self._seen[namespace, name])

    def stop(self) -> None:
        """Follow no more."""
        self._mirror.stop()

    def _put(self, rollout: KubeObject) -> None:
        meta = rollout["metadata"]
        known = self._seen[meta["namespace"], meta["name"]]
        if not known or known[-1]["metadata"]["resourceVersion"] != meta["resourceVersion"]:
            known.append(rollout)
