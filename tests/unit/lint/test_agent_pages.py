"""What the documents say about agents is true of the code: tests that they name exist, and no reason goes unexplained."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from weir.api.agentpolicy import AgentPolicySpec
from weir.api.base import seconds
from weir.runtime.resources import ACTION_REQUESTS

ROOT = Path(__file__).parents[3]
GUARDRAILS = (ROOT / "docs" / "guardrails.md").read_text()
TROUBLESHOOTING = (ROOT / "docs" / "how-to" / "troubleshooting.md").read_text()
TESTS = re.findall(r"\[`(\w+)`\]\(\.\./(tests/[\w/]+\.py)\)", GUARDRAILS)
REFUSALS = sorted(
    {
        name
        for path in (ROOT / "charts" / "weir" / "templates").glob("protect-*.yaml")
        for name in re.findall(r'message: "([A-Z][A-Za-z]+): ', path.read_text())
        if not name.startswith("Outer")
    }
)
REASONS = sorted(
    {
        name
        for path in (ROOT / "operator" / "weir" / "agent").glob("*.py")
        for name in re.findall(r'(?:Stop\(|reason=|turn\.deny\(\w+, |Cause\()"([A-Z][A-Za-z]+)"', path.read_text())
    }
)


@pytest.mark.parametrize(("name", "path"), TESTS, ids=[name for name, _ in TESTS])
def test_given_a_promise_then_the_test_that_it_names_exists(name: str, path: str) -> None:
    assert re.search(rf"^ *(async )?def (test_)?{name}", (ROOT / path).read_text(), re.MULTILINE)


def test_given_the_page_then_each_promise_names_a_test() -> None:
    promised = GUARDRAILS.partition("## Measured")[0]
    promises = [line for line in promised.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    without = [line for line in promises if "](../tests/" not in line and not line.startswith("| promise |")]
    assert len(promises) > 20
    assert without == []


@pytest.mark.parametrize("name", [*REASONS, *REFUSALS])
def test_given_a_reason_that_agents_are_told_then_troubleshooting_explains_it(name: str) -> None:
    assert f"`{name}`" in TROUBLESHOOTING


def test_given_the_code_then_reasons_are_found_in_it() -> None:
    assert {"ApprovalNeeded", "Cooldown", "Damped", "Deadlock", "PolicyBroken"} <= set(REASONS)
    assert {"BudgetSlot", "NoSubject", "OwnRequest"} <= set(REFUSALS)


def test_given_the_sample_of_a_quota_then_the_budgets_of_the_cautious_sample_do_not_use_it_up_in_a_week() -> None:
    samples = ROOT / "manifests" / "samples" / "agents"
    quota = yaml.safe_load((samples / "quota.yaml").read_text())
    objects = yaml.safe_load_all((samples / "cautious.yaml").read_text())
    policy = AgentPolicySpec.model_validate(next(o for o in objects if o["kind"] == "AgentPolicy")["spec"])
    budgets = [permit.budget for permit in policy.permits if permit.budget is not None]
    week = sum(budget.limit * 7 * 86400 / seconds(budget.window) for budget in budgets)

    assert len(budgets) == len(policy.permits)
    assert int(quota["spec"]["hard"][f"count/{ACTION_REQUESTS.qualified_name}"]) > week + 1000
