"""The samples for agents are admitted by the chart's policies, within the sample of outer bounds, and accepted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from tests.api.conftest import ROOT
from tests.api.harness.api import eventually
from tests.api.harness.lab import Lab
from tests.api.harness.outer import bounded
from weir.api.agentpolicy import POLICY_NAME
from weir.runtime.resources import AGENT_POLICIES, KubeObject

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("operator")]

SAMPLES = ROOT / "manifests" / "samples" / "agents"


def sample(name: str, kind: str) -> KubeObject:
    """The object of that kind in a sample."""
    return next(found for found in yaml.safe_load_all((SAMPLES / f"{name}.yaml").read_text()) if found["kind"] == kind)


@pytest.fixture(scope="module")
def outer(lab: Lab) -> Iterator[Lab]:
    """The sample of outer bounds is in force."""
    with bounded(lab, sample("cluster", "ClusterAgentPolicy")["spec"]):
        yield lab


@pytest.mark.parametrize("name", ["cautious", "permissive", "retrain"])
def test_given_a_sample_when_applied_under_the_outer_bounds_then_it_is_in_force_as_it_stands(
    outer: Lab, name: str
) -> None:
    namespace = outer.make_namespace()
    policy = sample(name, "AgentPolicy")
    outer.api.create(AGENT_POLICIES, {**policy, "metadata": {**policy["metadata"], "namespace": namespace}})

    def looked_at() -> KubeObject | None:
        status = outer.api.get(AGENT_POLICIES, namespace, POLICY_NAME).get("status") or {}
        return status if status.get("observedGeneration") == 1 else None

    status = eventually(looked_at, "the operator looks at it")
    conditions = {c["type"]: c for c in status["conditions"]}
    assert conditions["Accepted"]["status"] == "True", conditions["Accepted"]
    assert conditions["GuardrailsInstalled"]["status"] == "True", conditions["GuardrailsInstalled"]
    assert [entry["narrowed"] for entry in status["effective"] if entry.get("narrowed")] == []
