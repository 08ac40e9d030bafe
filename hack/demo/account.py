"""The live account: one line whenever something changed, from the Rollout's status and the load generator's counts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from testbed import digits
from testbed.cluster import Cluster

ROLLOUT = "digits"
_QUIET = 5.0
"""Seconds after which a line is printed even if only the counts changed."""

_COLOURS = {"Pass": "green", "Fail": "red", "Insufficient": "yellow", "NoData": "yellow", "Error": "red"}


@dataclass(frozen=True)
class Exposure:
    """Live requests that a version answered, and those of them that failed or were wrong."""

    answered: int
    failed: int
    wrong: int


def exposure(summary: dict[str, Any], version: str) -> Exposure:
    """What a version did to live traffic."""
    seen = summary["by_version"].get(version, {})
    failed = seen.get("failed", 0)
    return Exposure(seen.get("ok", 0) + failed, failed, seen.get("wrong", 0))


class Account:
    """Follows one Rollout."""

    def __init__(self, cluster: Cluster, space: str, console: Console) -> None:
        """``space``: namespace of the Rollout."""
        self._cluster = cluster
        self._space = space
        self._console = console

    def rollout(self) -> dict[str, Any]:
        """The Rollout as it is now."""
        return self._cluster.get("rollouts.weir.dev", ROLLOUT, self._space) or {}

    def follow(self, until: Callable[[dict[str, Any]], bool], timeout: float) -> dict[str, Any]:
        """Prints what happens until the Rollout's conditions satisfy ``until``; returns the Rollout.

        Raises TimeoutError after ``timeout`` seconds.
        """
        started = time.monotonic()
        last, last_at = "", 0.0
        while True:
            rollout = self.rollout()
            status = rollout.get("status") or {}
            state, counts = self._state(status), self._counts()
            elapsed = time.monotonic() - started
            if state != last or elapsed - last_at >= _QUIET:
                self._console.print(f"  {elapsed:5.1f} s  {state:<68} {counts}", highlight=False)
                last, last_at = state, elapsed
            if until(rollout):
                return rollout
            if elapsed > timeout:
                raise TimeoutError(f"the Rollout did not get there within {timeout:g} s: {status.get('message')}")
            time.sleep(0.7)

    def _state(self, status: dict[str, Any]) -> str:
        stage = (status.get("stage") or {}).get("name") or status.get("phase", "")
        words = [f"[bold]{stage:<12}[/bold]", f"{status.get('weight', 0):3d} %"]
        candidate = status.get("candidate") or {}
        if candidate:
            words.append(f"to {candidate['label']}")
        for gate in status.get("gates") or []:
            verdict = gate.get("verdict", "")
            words.append(f"{gate['name']} [{_COLOURS.get(verdict, 'white')}]{verdict}[/]{_progress(gate)}")
        if not candidate or not status.get("gates"):
            words.append(status.get("message", ""))
        return "  ".join(words)

    def _counts(self) -> str:
        summary = digits.summary(self._cluster, self._space)
        parts = [
            f"{version}: {counts.get('ok', 0)} ok {counts.get('failed', 0)} failed"
            for version, counts in sorted(summary["by_version"].items())
        ]
        return "  ".join(parts)


def _progress(gate: dict[str, Any]) -> str:
    """How far the evidence of a gate is from what a Pass needs."""
    if gate.get("verdict") != "Insufficient" or not gate.get("ePass") or not gate.get("ePassBar"):
        return ""
    return f" {float(gate['ePass']):.2g}/{float(gate['ePassBar']):.2g}"


def condition(kind: str, generation_of: str = "observedGeneration") -> Callable[[dict[str, Any]], bool]:
    """Whether a condition is true for the current generation."""

    def check(rollout: dict[str, Any]) -> bool:
        status = rollout.get("status") or {}
        if status.get(generation_of) != rollout.get("metadata", {}).get("generation"):
            return False
        return any(c["type"] == kind and c["status"] == "True" for c in status.get("conditions") or [])

    return check
