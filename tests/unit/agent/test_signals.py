"""Signals of a Rollout, as the conditions of rules see them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.agent.planning import DIGEST, NOW, model, observed, policy, releasing, rollout, version
from weir.agent import cel
from weir.agent.observation import MadeVersion, RolloutFacts
from weir.agent.signals import MOST_CANDIDATES, MOST_HISTORY, Signals, burning, candidates, passing, signals_of
from weir.api.base import Condition
from weir.api.datacontract import DataContractSpec
from weir.api.datacontractstatus import DataContractStatus
from weir.api.gate import Gate
from weir.api.modelversion import ModelVersionSpec
from weir.api.rolloutstatus import (
    BudgetStatus,
    ContractFindingStatus,
    ContractsStatus,
    FailedRevision,
    GateStatus,
    Hold,
    Outcome,
    Pause,
    ReleaseSummary,
    RetainedVersion,
    Verdict,
)
from weir.contract.revision import Contract

ORDERS = Contract(
    "orders",
    DataContractSpec.model_validate(
        {
            "roles": ["Features"],
            "odcs": {},
            "drift": [{"name": "amount", "property": "orders.amount", "tolerance": "0.2"}],
        }
    ),
    DataContractStatus.model_validate(
        {
            "verdict": "Warn",
            "drift": [
                {"key": "amount", "verdict": "Pass", "samples": 10, "totalVariation": "0.05"},
                {"key": "amount/v2", "verdict": "Fail", "samples": 20, "totalVariation": "0.31", "psi": "0.4"},
                {"key": "amount/v9", "verdict": "Fail", "totalVariation": "0.9"},
                {"key": "gone", "verdict": "Fail", "totalVariation": "0.8"},
                {"key": "amount/v1", "verdict": "Unknown"},
            ],
        }
    ),
)


def spec(label: str, **changes: Any) -> ModelVersionSpec:
    return model(label, contracts={"trainedOn": [f"orders@{DIGEST}"]}, **changes)


def signals(facts: RolloutFacts, *contracts: Contract, **versions: ModelVersionSpec) -> Signals:
    return signals_of(facts, {c.name: c for c in contracts}, versions or {"v1": spec("v1"), "v2": spec("v2")})


def available(status: str) -> Condition:
    """What a Rollout says of its error budget."""
    return Condition.model_validate(
        {"type": "BudgetAvailable", "status": status, "lastTransitionTime": NOW, "reason": "r", "message": ""}
    )


def holds(condition: str, value: Signals) -> bool | None:
    return cel.ask(condition, "signals", value).holds


def summary(number: int, name: str, outcome: Outcome, started: float = 0.0) -> ReleaseSummary:
    return ReleaseSummary(
        release=number,
        candidate=version(name),
        outcome=outcome,
        reason="GateFailed",
        message="",
        started_at=started,
        finished_at=started + 1,
        record="r",
    )


def test_given_a_rollout_that_rests_when_asked_then_what_is_not_there_is_absent() -> None:
    found = signals(rollout())
    assert {key: found[key] for key in ("rollout", "release", "releasing", "paused", "restoring", "weight")} == {
        "rollout": "ranker",
        "release": 1,
        "releasing": False,
        "paused": False,
        "restoring": False,
        "weight": 0,
    }
    absent = {"stage", "held", "verdict", "candidate", "budget", "lastOutcome", "lastReason"}
    assert not absent & set(found)
    assert (found["gates"], found["findings"], found["drift"], found["failures"]) == ([], [], [], 0)
    assert holds("has(signals.budget) && signals.budget.burning", found) is False
    assert holds("signals.budget.burning", found) is None


def test_given_a_release_when_asked_then_its_state_and_gates_are_told() -> None:
    gate = GateStatus.model_validate(
        {"name": "slow", "verdict": "Fail", "effect": "1.7", "effectLow": "1.2", "windowEnd": NOW}
    )
    facts = releasing(
        gates=[gate],
        verdict="Fail",
        hold=Hold(reason="GateNoData", message="", since=NOW),
        pause=Pause(since=NOW),
    )
    gates = [Gate.model_validate({"name": "slow", "template": "http-latency", "over": "250ms"})]
    facts = replace(facts, spec=facts.spec.model_copy(update={"gates": gates}))
    found = signals(facts)
    assert (found["releasing"], found["paused"], found["stage"], found["weight"]) == (True, True, "Traffic(10)", 10)
    assert (found["held"], found["verdict"], found["phase"]) == ("GateNoData", "Fail", "Pending")
    assert found["gates"] == [
        {"name": "slow", "template": "http-latency", "verdict": "Fail", "effect": 1.7, "effectLow": 1.2}
    ]
    assert holds("signals.gates.exists(g, g.template == 'http-latency' && g.effectLow > 1.0)", found) is True


def test_given_no_release_when_the_last_one_s_gates_still_stand_in_the_status_then_they_are_no_signal() -> None:
    gate = GateStatus(name="errors", verdict=Verdict.PASS, window_end=NOW - 30 * 86400)
    found = signals(rollout(gates=[gate], verdict="Pass"))
    assert found["gates"] == []
    assert "verdict" not in found
    assert signals(releasing(gates=[gate], verdict="Pass"))["verdict"] == "Pass"


def test_given_contracts_of_the_versions_when_asked_then_drift_is_told_worst_first_and_of_no_other_version() -> None:
    found = signals(releasing(), ORDERS, replace(ORDERS, name="others"))
    assert found["contracts"] == [{"name": "orders", "verdict": "Warn"}]
    assert [(d["name"], d.get("version"), d["verdict"], d["distance"]) for d in found["drift"]] == [
        ("amount", "v2", "Fail", 0.31),
        ("amount", None, "Pass", 0.05),
    ]
    assert found["drift"][0]["property"] == "orders.amount"
    assert found["drift"][0]["tolerance"] == 0.2
    assert holds("signals.drift.exists(d, d.distance > 0.3)", found) is True
    assert holds("signals.drift.exists(d, d.distance > 0.5)", found) is False
    assert holds("signals.drift.exists(d, d.psi > 0.5)", found) is None, "one psi is not known"


def test_given_findings_of_contracts_when_asked_then_they_are_told() -> None:
    finding = ContractFindingStatus(
        contract="orders", rule="R6", verdict=Verdict.FAIL, effect="Pause", since=NOW, change="c", path="orders.amount"
    )
    found = signals(releasing(contracts=ContractsStatus(verdict=Verdict.FAIL, findings=[finding])))
    assert found["findings"] == [
        {
            "contract": "orders",
            "rule": "R6",
            "verdict": "Fail",
            "effect": "Pause",
            "change": "c",
            "path": "orders.amount",
        }
    ]


def test_given_an_error_budget_when_asked_then_what_is_left_and_how_fast_it_burns() -> None:
    budget = BudgetStatus.model_validate({"spent": "0.25", "burnRates": ["5m=3", "1h=1.5"], "at": NOW})
    facts = rollout(budget=budget, conditions=[available("True")])
    found = passing(observed(policy(), facts), facts, NOW)["budget"]
    assert (found["spent"], found["remaining"], found["burning"]) == (0.25, 0.75, True)
    assert found["rates"] == [{"span": "5m", "rate": 3.0}, {"span": "1h", "rate": 1.5}]


@pytest.mark.parametrize(
    ("rates", "expected"), [([], False), (["5m=3", "1h=0.9"], False), (["5m=2", "1h=2"], True), (["odd"], False)]
)
def test_given_burn_rates_when_asked_then_it_burns_where_every_span_says_so(rates: list[str], expected: bool) -> None:
    assert burning(BudgetStatus(burn_rates=rates)) is expected


def test_given_a_budget_that_was_never_read_when_asked_then_it_is_absent() -> None:
    facts = rollout(budget=BudgetStatus())
    assert "budget" not in passing(observed(policy(), facts), facts, NOW)


def test_given_a_budget_that_cannot_be_read_any_more_when_asked_then_its_old_numbers_are_no_signal() -> None:
    calm = BudgetStatus(burn_rates=["5m=0.1"], at=NOW - 30 * 86400)
    facts = rollout(budget=calm, conditions=[available("Unknown")])
    found = {**signals(facts), **passing(observed(policy(), facts), facts, NOW)}
    assert "budget" not in found
    assert holds("has(signals.budget) && !signals.budget.burning", found) is False


@pytest.mark.parametrize(("age", "known"), [(300, True), (301, False)])
def test_given_a_release_that_runs_when_its_budget_was_not_read_lately_then_it_is_absent(age: int, known: bool) -> None:
    facts = releasing(budget=BudgetStatus(at=NOW - age), conditions=[available("True")])
    assert ("budget" in passing(observed(policy(), facts), facts, NOW)) is known


def test_given_a_rollout_at_rest_when_its_budget_has_not_changed_for_long_then_it_is_still_told() -> None:
    facts = rollout(budget=BudgetStatus(at=NOW - 86400), conditions=[available("True")])
    assert "budget" in passing(observed(policy(), facts), facts, NOW)


def test_given_evaluations_when_asked_then_label_metrics_of_both_versions_are_told() -> None:
    results = [{"name": "held-out", "dataset": "d", "metric": "accuracy", "value": "0.91", "slice": "new"}]
    found = signals(releasing(), v1=spec("v1", evaluations=results), v2=spec("v2"))
    assert found["stable"]["evaluations"] == [
        {"name": "held-out", "dataset": "d", "metric": "accuracy", "slice": "new", "value": 0.91}
    ]
    assert found["candidate"] == {"version": "v2", "label": "v2", "evaluations": []}
    low = "signals.stable.evaluations.exists(e, e.metric == 'accuracy' && e.value < 0.95)"
    assert holds(low, found) is True


@pytest.mark.parametrize(
    ("outcomes", "failures"),
    [
        ([Outcome.ROLLED_BACK, Outcome.ABORTED, Outcome.PROMOTED, Outcome.ROLLED_BACK], 2),
        ([Outcome.SUPERSEDED, Outcome.ROLLED_BACK], 1),
        ([Outcome.RESTORED, Outcome.ROLLED_BACK], 0),
    ],
)
def test_given_finished_releases_when_asked_then_failures_since_the_last_good_one_are_counted(
    outcomes: list[Outcome], failures: int
) -> None:
    history = [summary(9 - place, f"v{place}", outcome) for place, outcome in enumerate(outcomes)]
    found = signals(rollout(history=history))
    assert (found["failures"], found["lastOutcome"], found["lastReason"]) == (failures, str(outcomes[0]), "GateFailed")


# --- Candidates ------------------------------------------------------------------------------------------------------


def made(name: str, created: float = NOW - 60, of: str = "ranker") -> MadeVersion:
    return MadeVersion(name=name, rollout=of, request=f"request-{name}", created=created)


def test_given_versions_that_a_retrain_made_when_asked_then_those_that_no_release_has_tried_newest_last() -> None:
    retained = RetainedVersion(**version("old").model_dump(), warm_until=NOW)
    failed = FailedRevision(revision="x", version="failed", release=1, reason="r", message="m")
    facts = releasing(
        retained=[retained], failed=[failed], history=[summary(1, "past", Outcome.SUPERSEDED, NOW - 5000)]
    )
    names = ("new", "newer", "v1", "v2", "old", "failed", "past", "other", "unknown")
    known = [made(n, NOW - 60 + (n == "newer"), "elsewhere" if n == "other" else "ranker") for n in names]
    versions = {name: model(name) for name in names if name != "unknown"}
    obs = observed(policy(), facts, made=tuple(known), versions=versions)
    assert [entry.name for entry in candidates(obs, facts)] == ["new", "newer"]
    (first, _) = passing(obs, facts, NOW)["candidates"]
    assert first == {"name": "new", "label": "new", "request": "request-new", "age": 60.0, "evaluations": []}


def test_given_a_version_that_serves_when_asked_then_older_ones_are_not_offered_again() -> None:
    facts = rollout(stable=version("served"))
    names = ("old", "served", "new")
    obs = observed(
        policy(),
        facts,
        made=tuple(made(name, NOW - 300 + 100 * n) for n, name in enumerate(names)),
        versions={name: model(name) for name in names},
    )

    assert [entry.name for entry in candidates(obs, facts)] == ["new"]


def test_given_a_full_history_when_asked_then_versions_older_than_it_are_not_offered_again() -> None:
    history = [summary(20 - n, f"p{n}", Outcome.PROMOTED, NOW - 100 * (n + 1)) for n in range(MOST_HISTORY)]
    facts = rollout(history=history)
    versions = {"ancient": model("ancient"), "fresh": model("fresh")}
    entries = (made("ancient", NOW - 100_000), made("fresh", NOW - 999))
    obs = observed(policy(), facts, made=entries, versions=versions)
    assert [entry.name for entry in candidates(obs, facts)] == ["fresh"]


def test_given_very_many_versions_when_asked_then_the_newest_are_told() -> None:
    names = [f"m{number:03}" for number in range(100)]
    entries = tuple(made(name, NOW + place) for place, name in enumerate(names))
    obs = observed(policy(), rollout(), made=entries, versions={name: model(name) for name in names})
    assert [entry.name for entry in candidates(obs, rollout())] == names[-MOST_CANDIDATES:]


def test_given_an_agent_that_is_silent_when_asked_then_its_lease_is_told() -> None:
    watched = {"onAgentSilent": [{"lease": "a", "after": "1m"}, {"lease": "b", "after": "1m"}]}
    obs = observed(policy(fallback=watched), rollout(), heartbeats={"a": NOW - 61, "b": NOW})
    assert passing(obs, rollout(), NOW)["silentAgents"] == ["a"]
