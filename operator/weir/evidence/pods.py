"""Whose counters are read: the pods of both arms."""

from __future__ import annotations

from dataclasses import dataclass

from weir.release.observation import Arm

RolloutKey = tuple[str, str]
"""(namespace, name) of a Rollout."""


@dataclass(frozen=True)
class Pod:
    """A pod as the watch cache knows it. ``port`` is that of the runtime; ``started`` in seconds since the epoch.

    ``started`` only ever vetoes counting a pod that appears during collection from zero; without it the first read of
    the pod is a baseline.
    """

    name: str
    ip: str
    port: int
    started: float | None = None


@dataclass(frozen=True)
class ArmPods:
    """Pods and version name of each arm."""

    candidate: tuple[Pod, ...] = ()
    stable: tuple[Pod, ...] = ()
    candidate_version: str = ""
    stable_version: str = ""

    def of(self, arm: Arm) -> tuple[Pod, ...]:
        """Pods of one arm."""
        return self.candidate if arm == "candidate" else self.stable

    def version(self, arm: Arm) -> str:
        """Version of one arm."""
        return self.candidate_version if arm == "candidate" else self.stable_version


def unit(pod: Pod) -> str:
    """Identity of a pod as the owner of counters: a pod that came back with another address has new ones."""
    return f"{pod.name} ({pod.ip})"
