"""Specs of Rollouts for tests, in short."""

from __future__ import annotations

from typing import Any

from weir.api.rollout import RolloutSpec


def make_spec(**changes: Any) -> RolloutSpec:
    """A canary of 10 and 50 percent with one gate; ``changes`` are fields in their wire form."""
    fields: dict[str, Any] = {
        "versionRef": {"name": "v1"},
        "replicas": 2,
        "traffic": {"gateway": {"parentRefs": [{"name": "gateway"}]}},
        "strategy": canary(10, 50),
        "gates": [gate()],
        "rollback": {"keepFor": "60s", "drain": "5s", "historyLimit": 1},
        "progressDeadline": "300s",
    }
    return RolloutSpec.model_validate({**fields, **changes})


def canary(*weights: int, min_duration: str = "30s", bake: str = "30s") -> dict[str, Any]:
    """Strategy of that many steps."""
    return {"canary": {"steps": [{"weight": w, "minDuration": min_duration} for w in weights], "bake": bake}}


def ramp(budget: int = 200, *, bake: str = "30s", **changes: Any) -> dict[str, Any]:
    """Strategy whose weight follows a budget of that many bad requests; ``changes`` in their wire form."""
    fields = {"riskBudget": budget, "reaction": "30s", "minDwell": "30s", **changes}
    return {"canary": {"ramp": fields, "bake": bake}}


def blue_green(min_duration: str = "30s", bake: str = "30s") -> dict[str, Any]:
    """Strategy with a preview and one switch."""
    return {"blueGreen": {"preview": {"minDuration": min_duration}, "bake": bake}}


def gate(name: str = "errors", **changes: Any) -> dict[str, Any]:
    """A gate on the share of failed requests."""
    base = {
        "name": name,
        "template": "http-errors",
        "max": "0.05",
        "minSamples": 20,
        "interval": "10s",
        "maxWait": "200s",
    }
    return {**base, **changes}
