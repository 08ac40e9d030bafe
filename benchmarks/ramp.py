"""``python -m benchmarks.ramp``: what a risk-budget ramp costs and how long it takes, by the operator's functions.

Independent requests, windows of ten seconds, the default error gate; gateway and pods are a loop without delays but
for the seconds in which a weight takes effect. Prints the table of docs/how-to/ramp.md.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field

import numpy as np

from weir.api.base import seconds
from weir.api.evidencestatus import Counts, EvidenceStatus
from weir.api.gate import Gate
from weir.api.rollout import Judgement, Ramp
from weir.api.rolloutstatus import GateStatus, Verdict
from weir.release.gates import fresh, judge
from weir.release.observation import Window
from weir.release.plan import least_weight
from weir.release.ramp import WORTH, affordable, reckon
from weir.stats.noise import Noise

WINDOW = 10.0
SETTLE = 4.0
"""Seconds in which a weight takes effect: requests are sent and not counted."""

BASE = 0.01
"""Share of stable's requests that are bad."""

LIMIT = 3600.0
CELLS = ((10, 60), (100, 60), (100, 90), (100, 200), (1000, 600))
SHARES = (0.01, 0.02, 0.05, 1.0)


@dataclass
class Release:
    """One release on a ramp, until it ends: ``outcome`` Pass, Fail, Spent or Open."""

    ramp: Ramp
    rate: float
    share: float
    rng: np.random.Generator
    gate: Gate = field(default_factory=lambda: Gate.model_validate({"template": "http-errors"}))
    state: GateStatus = field(init=False)
    evidence: dict[str, EvidenceStatus] = field(default_factory=dict)
    weight: int = field(init=False)
    now: float = 0.0
    since: float = 0.0
    harm: float = 0.0

    def __post_init__(self) -> None:
        self.state = fresh(self.gate)
        self.weight = least_weight(self.ramp, 0.0)

    def run(self) -> str:
        """Until the end; returns the outcome."""
        self._settle()
        while self.now < LIMIT:
            outcome = self._look()
            if outcome:
                return outcome
        return "Open"

    def _serve(self, span: float) -> Counts:
        total = int(self.rng.poisson(self.rate * span * self.weight / 100))
        bad = int(self.rng.binomial(total, self.share))
        self.harm += bad - total * BASE
        self.now += span
        return Counts(bad=bad, total=total)

    def _settle(self) -> None:
        self._serve(SETTLE)
        self.since, self.state = self.now, fresh(self.gate)

    def _look(self) -> str:
        start = self.now
        total = int(self.rng.poisson(self.rate * WINDOW * (100 - self.weight) / 100))
        stable = Counts(bad=int(self.rng.binomial(total, BASE)), total=total)
        window = Window(
            self.gate.name,
            start,
            start + WINDOW,
            self._serve(WINDOW),
            stable,
            candidate_pods=2,
            stable_pods=4,
            noise=Noise(),
        )
        found = judge([self.gate], {self.gate.name: self.state}, self.evidence, [window], judgement=Judgement())
        self.state, self.evidence = found.gates[0], {e.gate: e for e in found.evidence}
        reckoned = reckon(self.ramp, found.evidence[0])
        dwelt = self.now >= self.since + seconds(self.ramp.min_dwell)
        if self.state.verdict is Verdict.FAIL or reckoned.spent >= self.ramp.risk_budget:
            self._serve(SETTLE)
            return "Fail" if self.state.verdict is Verdict.FAIL else "Spent"
        if self.state.verdict is Verdict.PASS and dwelt:
            return "Pass"
        allowed = affordable(self.ramp, reckoned, self.weight)
        worth = allowed > self.weight and allowed >= min(WORTH * self.weight, self.ramp.max_weight)
        if allowed < self.weight or (dwelt and worth):
            self.weight = allowed
            self._settle()
        return ""


def measure(rate: int, budget: int, share: float, releases: int, seed: int) -> str:
    """One cell of the table, as a line."""
    ramp = Ramp(risk_budget=budget, reaction="60s", min_dwell="60s")
    rng = np.random.default_rng([seed, rate, budget, int(share * 1000)])
    made = [Release(ramp, rate, share, rng) for _ in range(releases)]
    outcomes = np.array([release.run() for release in made])
    harm, minutes = np.array([r.harm for r in made]), np.array([r.now for r in made]) / 60
    ends = ", ".join(f"{name} {np.mean(outcomes == name):4.0%}" for name in ("Pass", "Fail", "Spent", "Open"))
    return (
        f"{rate:5d}/s budget {budget:4d} share {share:5.0%}: {ends}; median {np.median(minutes):5.1f} min; harm mean "
        f"{harm.mean():6.1f}, p95 {np.quantile(harm, 0.95):6.1f}, worst {harm.max():6.1f}"
    )


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="benchmarks.ramp", description=__doc__)
    parser.add_argument("--releases", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for rate, budget in CELLS:
        for share in SHARES:
            print(measure(rate, budget, share, arguments.releases, arguments.seed), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
