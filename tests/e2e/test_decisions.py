"""The default gates on real pods: requests and errors come in bursts, an equal version passes, a worse one does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from testbed.scenario import CANARY_STEPS, Release, Spaces
from weir.api.base import parse_time
from weir.api.rolloutrecord import RolloutRecordSpec
from weir.record.replay import replay

GATES = [
    {"template": "http-errors", "interval": "5s"},
    {"template": "http-latency", "interval": "5s", "over": "250ms"},
]
"""The defaults of a comparison. Windows are short, for ten of the default's take five minutes; and to compare a whole
distribution of latency, its tail included, takes more requests than two cores answer in two minutes."""
RATE = 100.0
"""Requests a second, five at once on average."""
TIMEOUT = 450.0
"""Seconds; a promotion takes about 120 and a rollback 60, more where other work makes the pods noisy."""


@dataclass(frozen=True)
class Errors:
    """``share`` (0-1) of requests answered with an error, ``burst`` of them in a row on average."""

    share: float
    burst: float

    def env(self) -> list[dict[str, str]]:
        """Environment of a model server that errs like that."""
        values = {"FAIL_SHARE": str(self.share), "FAIL_BURST": str(self.burst), "DRAIN_SECONDS": "1"}
        return [{"name": name, "value": value} for name, value in values.items()]


@dataclass(frozen=True)
class Case:
    """A release under way: errors of the version that serves, and of the candidate."""

    stable: Errors
    candidate: Errors
    release: Release

    @property
    def truth(self) -> float:
        """Ratio of the candidate's share of errors to stable's, as it really is."""
        return self.candidate.share / self.stable.share


# A quarter of all requests, so that two cores see enough bursts of errors in two minutes.
SAME = (Errors(0.25, burst=5), Errors(0.25, burst=5))
DOUBLED = (Errors(0.05, burst=1), Errors(0.1, burst=1))


@pytest.fixture(scope="module")
def cases(spaces: Spaces) -> dict[str, Case]:
    """Both releases at once, so that the machine's two cores wait for both of them together."""
    services = {"same": SAME, "doubled": DOUBLED}
    found = {name: spaces(name, gates=GATES) for name in services}
    for name, space in found.items():
        for label, errors in zip(("v1", "v2"), services[name], strict=True):
            space.version(label, weights="v1", env=errors.env())
        space.traffic(RATE, burst=5)
    before = {name: space.release("v1") for name, space in found.items()}
    for name, space in found.items():
        before[name].promoted()
        space.used()
    return {name: Case(*services[name], space.release("v2")) for name, space in found.items()}


def test_given_bursts_when_the_same_model_is_released_again_then_the_default_gates_promote_it(
    cases: dict[str, Case],
) -> None:
    case = cases["same"]
    release = case.release

    release.promoted(TIMEOUT)

    assert release.weights() == [0, 20, 50, 100]
    assert release.steps() == CANARY_STEPS
    record = release.record()
    passed = measured(record, "StageEntered", "Bake")
    show("promoted", record, passed)
    errors = passed["http-errors"]
    assert number(errors, "ePass") >= number(errors, "ePassBar")
    assert_interval_holds(release, case.truth)
    # The bursts were seen: independent errors would have a dispersion of 1, bursts of mean 5 have 8 to 9.
    assert float(errors["noise"][0]["dispersion"]) > 3, errors
    assert_replayed(record)


def test_given_bursts_when_a_version_with_twice_the_errors_is_released_then_the_default_gates_put_it_back(
    cases: dict[str, Case],
) -> None:
    case = cases["doubled"]
    release = case.release

    release.rolled_back(TIMEOUT)

    record = release.record()
    assert [reason for reason, _ in release.steps()][-2:] == ["GateFailed", "ReleaseRolledBack"]
    failed = measured(record, "GateFailed")
    show("rolled back", record, failed)
    errors = failed["http-errors"]
    assert errors["verdict"] == "Fail", errors
    # The mean over both gates reached the bar, so that of the gate it is due to did.
    assert number(errors, "eFail") >= number(errors, "eFailBar")
    assert_interval_holds(release, case.truth)
    seen = next(item for item in record["evidence"] if item["gate"] == "http-errors")
    assert seen["windows"].count(";") + 1 + seen.get("dropped", 0) == errors["windows"]
    assert_replayed(record)


def measured(record: dict[str, Any], reason: str, stage: str = "") -> dict[str, dict[str, Any]]:
    """What each gate had measured at the last decision of that reason, and that led to that stage."""
    entries = [e for e in record["decisions"] if e["reason"] == reason and e.get("stage", "").startswith(stage)]
    return {item["gate"]: item for item in entries[-1]["evidence"]}


def number(measurement: dict[str, Any], field: str) -> float:
    """A decimal of a measurement."""
    return float(measurement[field])


def assert_interval_holds(release: Release, truth: float) -> None:
    """The interval of the effect that the status showed last has the true ratio in it, and says something."""
    shown = [g for look in release.looks() for g in look.status.get("gates") or [] if g["name"] == "http-errors"]
    last = next(gate for gate in reversed(shown) if "effectLow" in gate)
    print(f"  effect {last.get('effect')} ({last['effectLow']} to {last.get('effectHigh', 'inf')}), in truth {truth:g}")
    low, high = float(last["effectLow"]), float(last.get("effectHigh", "inf"))
    assert low <= truth <= high, last
    assert low > 0 or high < 4, last


def assert_replayed(record: dict[str, Any]) -> None:
    """Anyone gets the same verdicts and numbers from the sealed record alone."""
    found = replay("record", RolloutRecordSpec.model_validate(record))
    recomputed = [check for check in found.checks if check.finding == "agrees"]
    assert found.agrees, [check for check in found.checks if check.finding == "differs"]
    assert len(recomputed) > 2, found.checks


def show(outcome: str, record: dict[str, Any], measurements: dict[str, dict[str, Any]]) -> None:
    """Prints the numbers behind a decision."""
    print(f"\n{outcome} after {took(record):.0f} s")
    for item in measurements.values():
        noise = item["noise"][0] if item["noise"] else {}
        print(
            f"  {item['gate']} {item['verdict']}: candidate {item['candidate']['bad']} of {item['candidate']['total']}, "
            f"stable {item['stable']['bad']} of {item['stable']['total']}; effect {item.get('effect')}; "
            f"eFail {item.get('eFail')} of "
            f"{item.get('eFailBar')}, ePass {item.get('ePass')} of {item.get('ePassBar')} (tolerance "
            f"{item.get('tolerance')}); {item['windows']} windows, noise {noise}"
        )


def took(record: dict[str, Any]) -> float:
    """Seconds from the start of a release to its end."""
    return parse_time(record["finishedAt"]) - parse_time(record["startedAt"])
