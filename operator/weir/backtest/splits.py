"""A/A splits of the past: pods of one version, some of which play the candidate of a release that never was."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from weir.backtest.history import History

_POD = re.compile(r"(.+)-[a-z0-9]+-[a-z0-9]{5}")
"""A Deployment's pod: Deployment, ReplicaSet, five letters or digits."""

_PRESENT = 0.9
"""Share of the windows in which a pod must have been read to take part."""

_ATTEMPTS = 20
"""Draws of a start for each split that is wanted, before giving up."""


@dataclass(frozen=True)
class Split:
    """One pseudo release: index of its first moment, and its pods; the first so many play the candidate."""

    first: int
    pods: tuple[str, ...]

    def arms(self, weight: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """(candidate, stable) pods at that weight (percent): as near to it as whole pods come, at least one each."""
        count = min(len(self.pods) - 1, max(1, round(len(self.pods) * weight / 100)))
        return self.pods[:count], self.pods[count:]


def pool_of(pod: str) -> str:
    """Deployment (or whatever else numbers its pods) that a pod belongs to, by its name."""
    match = _POD.fullmatch(pod)
    return match[1] if match else pod.rpartition("-")[0] or pod


def splits(history: History, *, count: int, length: int, before: int, chance: Random) -> tuple[Split, ...]:
    """Up to ``count`` pseudo releases of ``length`` windows, each after ``before`` windows where there are as many.

    Their starts and pods are drawn; two may overlap. Only pods of one pool take part, since two pools are two versions.
    """
    starts = _starts(history, length, before)
    found: list[Split] = []
    for _ in range(_ATTEMPTS * count):
        if not starts or len(found) == count:
            break
        first = chance.choice(starts)
        pods = _pods(history, first, length)
        if len(pods) >= 2:
            chance.shuffle(pods)
            found.append(Split(first, tuple(pods)))
    return tuple(found)


def _starts(history: History, length: int, before: int) -> Sequence[int]:
    """Moments at which a release fits; with as much of the past before it as the longest run allows."""
    runs = [(first, last) for first, last in history.runs() if last - first >= length]
    full = [i for first, last in runs for i in range(first + before, last - length + 1)]
    return full or [i for first, last in runs for i in range((first + last - length + 1) // 2, last - length + 1)]


def _pods(history: History, first: int, length: int) -> list[str]:
    """Pods of the largest pool that were there all the time."""
    moments = history.moments[first : first + length]
    seen = Counter(pod for moment in moments for pod, counts in moment.pods.items() if counts.total or counts.timed)
    pools: dict[str, list[str]] = {}
    for pod, times in seen.items():
        if times >= _PRESENT * len(moments):
            pools.setdefault(pool_of(pod), []).append(pod)
    largest = max(sorted(pools), key=lambda pool: len(pools[pool]), default=None)
    return sorted(pools[largest]) if largest is not None else []
