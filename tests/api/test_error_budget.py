"""The error budget of a whole service, read by the operator itself: a freeze that comes and goes with Prometheus."""

from __future__ import annotations

import pytest

from tests.api.harness.api import eventually
from tests.api.harness.case import Case
from tests.api.harness.lab import Lab
from weir.api.rollout import ErrorBudget
from weir.evidence.budget import EVERY, selected_query
from weir.release.budget import spans

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("operator")]

SOON = 4 * EVERY
"""Seconds within which a change in Prometheus must have been read and acted upon."""


def count(lab: Lab, case: Case, *, bad: int) -> dict[str, str]:
    """What Prometheus says of the service from now on: so many bad requests of a million; and the errorBudget."""
    # An hour, since longer spans are read only every five minutes.
    names = {"bad": f"bad_{case.namespace}", "total": f"all_{case.namespace}"}
    budget = {"objective": "0.999", "window": "1h", **names}
    for span in spans(ErrorBudget.model_validate(budget)):
        lab.prometheus.values[selected_query("bad", budget["bad"], {}, span)] = bad
        lab.prometheus.values[selected_query("total", budget["total"], {}, span)] = 1_000_000
    return budget


def test_given_a_spent_budget_then_a_release_waits_and_starts_once_it_recovers_and_a_promote_passes(lab: Lab) -> None:
    case = Case(lab)
    case.serve_first(errorBudget=count(lab, case, bad=1500))
    case.version("v3")
    case.wait(lambda _: case.condition("BudgetAvailable").get("status") == "False", "the budget is read", SOON)

    case.release("v2")

    ready = case.wait_reason("ErrorBudgetSpent")
    assert "150 % of the error budget of 1h is spent" in ready["message"]
    status = case.status()
    assert "candidate" not in status
    assert (status["budget"]["frozen"], float(status["budget"]["spent"])) == (True, 1.5)

    case.act("Promote")
    case.wait_ready()
    assert case.weights()["v2"] == 100

    case.release("v3")
    case.wait_reason("ErrorBudgetSpent")
    count(lab, case, bad=500)
    case.kubectl_wait("BudgetAvailable", int(SOON))
    case.wait_ready(60)
    assert case.weights()["v3"] == 100


def test_given_a_converged_rollout_with_a_budget_then_readings_write_nothing(lab: Lab) -> None:
    case = Case(lab)
    case.serve_first(errorBudget=count(lab, case, bad=500))
    case.kubectl_wait("BudgetAvailable", int(SOON))
    settled = case.rollout()["metadata"]["resourceVersion"]
    asked = lab.prometheus.asked.get("main", 0)

    count(lab, case, bad=505)
    eventually(lambda: lab.prometheus.asked.get("main", 0) >= asked + 8, "Prometheus is asked again", within=SOON)

    assert case.rollout()["metadata"]["resourceVersion"] == settled
