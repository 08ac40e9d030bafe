"""An agent that is a version itself: it and what it drives are only released where they fit each other."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.harness.agents import ACCOUNT, Agents
from tests.api.harness.api import eventually
from tests.api.harness.case import Case, Spec
from tests.api.harness.lab import Lab
from weir.runtime.resources import MODEL_VERSIONS

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("operator")]

REASON = "AgentIncompatible"


def _agent(case: Case, name: str, *driven: Spec) -> None:
    """A version of the agent that may drive these models."""
    parts = [{"kind": "Prompt", "name": "system", "uri": f"s3://agents/{name}", "digest": "sha256:" + "a" * 64}]
    spec: dict[str, Any] = {
        "model": "tuner",
        "version": name,
        "runtime": {"image": f"registry.example/tuner:{name}", "protocol": "HTTP"},
        "bundle": parts,
        "compatibleWith": list(driven),
    }
    case.lab.api.create(MODEL_VERSIONS, {"metadata": {"name": name, "namespace": case.namespace}, "spec": spec})


def _held(case: Case) -> str:
    found = case.wait(lambda s: (s.get("hold") or {}).get("reason") == REASON, f"held: {REASON}")
    return str(found["hold"]["message"])


def test_given_an_agent_that_drives_a_model_when_either_is_released_then_they_must_fit_each_other(lab: Lab) -> None:
    model = Case(lab)
    model.serve_first(gates=None)
    tuner = Case(lab, model.namespace, "tuner")
    _agent(tuner, "t1", {"model": "digits", "versions": ["v1"]})
    _agent(tuner, "t2", {"model": "digits", "versions": ["v*"]})
    _agent(tuner, "t3", {"model": "letters"})
    tuner.create("t1", gates=None)
    tuner.wait_ready()
    subjects = [{"name": ACCOUNT, "namespace": model.namespace, "rollout": "tuner"}]
    permits = [{"name": "on", "action": "Promote"}, {"name": "stop", "action": "Abort"}]
    agents = Agents(model, permits, {"subjects": subjects})
    agents.wait_ready()

    model.release("v2")
    told = _held(model)
    assert "The agent tuner t1 must not drive digits v2" in told
    assert "its compatibleWith names digits (v1)" in told
    assert model.condition("ContractsHold")["reason"] == REASON

    asked = agents.ask("on", expect={"release": 2})
    refused = model.answer(asked)
    assert refused["phase"] == "Refused"
    assert "must not drive digits v2" in refused["message"]

    tuner.release("t3")
    assert "The agent tuner t3 must not drive digits v1" in _held(tuner)
    tuner.release("t2")
    tuner.wait_ready()
    # Nobody does anything to the Rollout of the model.
    model.wait_ready()
    assert model.status()["stable"]["version"] == "v2"
    pins = eventually(lambda: (model.status().get("contracts") or {}).get("pins"), "what was looked at")
    assert [pin.partition("@")[0] for pin in pins] == ["ModelVersion/t2"]
