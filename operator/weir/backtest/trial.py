"""One pseudo release: the Rollout's own gates look at counts of the past, some pods playing the candidate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from math import ceil
from random import Random
from typing import Literal

from weir.api.base import seconds
from weir.api.evidencestatus import Counts, EvidenceStatus
from weir.api.gate import Gate
from weir.api.rollout import RolloutSpec
from weir.api.rolloutstatus import GateStatus, Verdict
from weir.backtest.history import History, Moment, PodCounts, summed
from weir.backtest.injection import Regression, injected
from weir.backtest.splits import Split
from weir.evidence.noise import GateNoise, measured
from weir.release.gates import fresh, judge
from weir.release.observation import Edge, Window
from weir.release.traffic import SETTLE
from weir.stats.noise import Noise

Outcome = Literal["Promoted", "RolledBack", "RolledBackByPolicy", "Undecided"]

_AROUND = 5
"""Windows before and after one from which the usual share of bad requests there is taken."""


@dataclass(frozen=True)
class Stage:
    """A stage in which candidate and stable are compared; ``longest``: seconds until the gates' ``maxWait``."""

    name: str
    weight: int
    next_weight: int
    min_duration: float
    longest: float


@dataclass(frozen=True)
class Playable:
    """A gate that can look at the past; it looks every so many windows of the history.

    ``edge``: number of the bucket edge that ``over`` means; without it the whole distribution of latency is compared.
    """

    gate: Gate
    windows: int
    edge: int | None = None

    @property
    def whole(self) -> bool:
        """Whether the gate compares whole distributions of latency."""
        return self.gate.template == "http-latency" and self.edge is None

    def counts(self, counts: PodCounts) -> Counts:
        """What the gate counts of one arm: of a distribution only all requests."""
        if self.edge is not None:
            return Counts(bad=counts.slower[self.edge], total=counts.timed)
        return Counts(total=counts.timed) if self.whole else Counts(bad=counts.bad, total=counts.total)

    def amounts(self, pods: Mapping[str, PodCounts]) -> dict[str, tuple[float, ...]]:
        """The same of each pod, with the requests slower than each edge where a distribution is compared."""
        if self.whole:
            return {pod: (c.timed, *c.slower) for pod, c in pods.items()}
        return {pod: (found.total, found.bad) for pod, c in pods.items() for found in (self.counts(c),)}


@dataclass(frozen=True)
class Trial:
    """How a pseudo release ended, ``seconds`` after its first stage began, at whose word, and what it cost.

    ``requests`` and ``harmed``: of the candidate's pods until then, all of them and those that the regression's kind
    calls bad (slower than the guilty gate's edge for latency). ``passed``: seconds that each stage took.
    """

    outcome: Outcome
    seconds: float
    gate: str = ""
    requests: int = 0
    harmed: int = 0
    passed: tuple[float, ...] = ()


def stages(spec: RolloutSpec, gates: Sequence[Gate]) -> tuple[Stage, ...]:
    """Stages of the Rollout in which stable serves beside the candidate, for these gates.

    A ramp is played as one stage at its smallest weight, a preview as one with half of the pods.
    """
    canary = spec.strategy.canary
    wait = max((seconds(gate.max_wait) for gate in gates), default=0.0)
    if canary is not None and canary.steps is not None:
        weights = [*(step.weight for step in canary.steps), 100]
        return tuple(
            Stage(f"Traffic({s.weight})", s.weight, after, seconds(s.min_duration), max(wait, seconds(s.min_duration)))
            for s, after in zip(canary.steps, weights[1:], strict=True)
            if s.weight < 100
        )
    if canary is not None and canary.ramp is not None:
        dwell = seconds(canary.ramp.min_dwell)
        return (Stage("Ramp", canary.ramp.min_weight, 100, dwell, max(wait, dwell)),)
    preview = seconds(spec.strategy.blue_green.preview.min_duration) if spec.strategy.blue_green else 0.0
    return (Stage("Preview", 50, 100, preview, max(wait, preview)),)


def settling(width: float) -> int:
    """Windows without evidence at the beginning of a stage, while the data plane takes the new weight."""
    return ceil(SETTLE / width)


def length(plan: Sequence[Stage], width: float) -> int:
    """Windows of the longest release: every stage waits as long as its gates may."""
    return sum(settling(width) + ceil(stage.longest / width) for stage in plan)


class Player:
    """Plays pseudo releases of one Rollout on one history; ``before``: windows from which noise is known beforehand."""

    def __init__(
        self, spec: RolloutSpec, plan: Sequence[Stage], gates: Sequence[Playable], history: History, before: int
    ) -> None:
        self._spec = spec
        self._plan = plan
        self._gates = gates
        self._history = history
        self._before = before
        self._known: dict[tuple[Split, str], Mapping[float | None, Noise]] = {}

    def play(self, split: Split, regression: Regression | None = None, chance: Random | None = None) -> Trial:
        """One pseudo release, with the regression in the candidate's pods (drawn from ``chance``) or without any."""
        run = _Run(self, split, regression, chance or Random(0))
        return run.play()

    def known(self, split: Split, playable: Playable) -> Mapping[float | None, Noise]:
        """Noise by edge that was measured before the release, on the pods that begin as stable.

        None is known where the operator would read the pods' own metrics, which remember no past.
        """
        if self._spec.metrics.prometheus is None:
            return {}
        key = (split, playable.gate.name)
        if key not in self._known:
            _, stable = split.arms(self._plan[0].weight)
            first = max(0, split.first - self._before * playable.windows)
            moments = self._history.moments[first : split.first]
            spans = [
                moments[at : at + playable.windows]
                for at in range(len(moments) % playable.windows, len(moments), playable.windows)
            ]
            edges = self.edges(playable)
            self._known[key] = measured((playable.amounts(_by_pod(span, stable)), edges) for span in spans)
        return self._known[key]

    def edges(self, playable: Playable) -> tuple[float, ...]:
        """Edges that the gate compares; none where it counts bad requests."""
        return self._history.edges if playable.whole else ()


class _Run:
    """A pseudo release while it is played."""

    def __init__(self, player: Player, split: Split, regression: Regression | None, chance: Random) -> None:
        self._player = player
        self._plan, self._gates = player._plan, player._gates
        self._width, self._edges = player._history.width, player._history.edges
        self._split, self._regression, self._chance = split, regression, chance
        last = split.first + length(self._plan, self._width)
        self._moments = player._history.moments[split.first : last]
        self._states: dict[str, GateStatus] = {}
        self._evidence: dict[str, EvidenceStatus] = {}
        self._noise: dict[str, GateNoise] = {}
        self._none = PodCounts(slower=(0,) * len(self._edges))
        self._candidate = self._none

    def play(self) -> Trial:
        at, passed = 0, list[float]()
        for stage in self._plan:
            began = at
            at, outcome, gate = self._stage(stage, began)
            if outcome is not None:
                return self._ended(outcome, at, passed, gate)
            passed.append((at - began) * self._width)
        return self._ended("Promoted", at, passed, "")

    def _stage(self, stage: Stage, began: int) -> tuple[int, Outcome | None, str]:
        """(moments of the release after the stage, how the release ended if it did, the gate it is due to)."""
        self._states = {p.gate.name: fresh(p.gate, self._states.get(p.gate.name)) for p in self._gates}
        at, states = began, tuple(self._states.values())
        for at, windows in self._windows(stage, began):
            states = self._judge(stage, windows)
            failed = next((s for s in states if s.verdict is Verdict.FAIL), None)
            if failed is not None:
                return at, "RolledBack", failed.name
            waited = (at - began) * self._width
            if waited >= stage.min_duration and all(s.verdict is Verdict.PASS for s in states):
                return at, None, ""
            impatient = self._impatient(waited)
            if impatient:
                return at, "RolledBackByPolicy", impatient
        return at, "Undecided", next((s.name for s in states if s.verdict is not Verdict.PASS), "")

    def _ended(self, outcome: Outcome, at: int, passed: Sequence[float], gate: str) -> Trial:
        harmed = self._candidate.bad
        if self._regression is not None and self._regression.kind == "latency":
            harmed = self._slow(gate)
        return Trial(outcome, at * self._width, gate, self._candidate.total, harmed, tuple(passed))

    def _slow(self, gate: str) -> int:
        """The candidate's requests that the gate calls slow: slower than the last edge that it compares."""
        playable = next((p for p in self._gates if p.gate.name == gate), None)
        if playable is not None and playable.edge is not None:
            return self._candidate.slower[playable.edge]
        chosen = self._evidence[gate].edges if gate in self._evidence else []
        places = [i for i, above in enumerate(self._edges) if Decimal(repr(above)) in chosen]
        return self._candidate.slower[places[-1]] if places else 0

    def _judge(self, stage: Stage, windows: Sequence[Window]) -> tuple[GateStatus, ...]:
        if not windows:
            return tuple(self._states.values())
        judged = judge(
            [p.gate for p in self._gates],
            self._states,
            self._evidence,
            windows,
            judgement=self._player._spec.judgement,
            next_weight=stage.next_weight,
            concurrent=True,
        )
        self._states = {state.name: state for state in judged.gates}
        self._evidence = {seen.gate: seen for seen in judged.evidence}
        return judged.gates

    def _impatient(self, waited: float) -> str:
        """Name of a gate whose policy rolls back, since it gave no Pass within its ``maxWait``; empty for none."""
        for gate in (p.gate for p in self._gates):
            verdict = self._states[gate.name].verdict
            policy = {Verdict.ERROR: gate.on_error, Verdict.NO_DATA: gate.on_no_data}.get(verdict, gate.on_insufficient)
            if verdict is not Verdict.PASS and waited >= seconds(gate.max_wait) and policy == "Rollback":
                return gate.name
        return ""

    def _windows(self, stage: Stage, first: int) -> Iterator[tuple[int, Sequence[Window]]]:
        """Windows that end at each moment of the stage, and how many moments of the release have passed then.

        A stage that began early may last until the end of the longest release.
        """
        candidate, stable = self._split.arms(stage.weight)
        open_: dict[str, list[dict[str, PodCounts]]] = {p.gate.name: [] for p in self._gates}
        for at in range(first, len(self._moments)):
            counts = self._counts(at, candidate, stable)
            self._candidate = summed((self._candidate, self._sum(counts, candidate)))
            closed = list[Window]()
            if at < first + settling(self._width):
                yield at + 1, closed
                continue
            for playable in self._gates:
                waiting = open_[playable.gate.name]
                waiting.append(counts)
                if len(waiting) == playable.windows:
                    pods = {
                        pod: summed(c[pod] for c in waiting if pod in c) for pod in self._split.pods if pod in counts
                    }
                    end = self._moments[at].start + self._width
                    closed.append(self._window(playable, end, pods, candidate, stable))
                    waiting.clear()
            yield at + 1, closed

    def _counts(self, at: int, candidate: Sequence[str], stable: Sequence[str]) -> dict[str, PodCounts]:
        pods = self._moments[at].pods
        counts = {pod: pods[pod] for pod in (*candidate, *stable) if pod in pods}
        if self._regression is not None:
            usual = self._usual(at)
            for pod in candidate:
                if pod in counts:
                    counts[pod] = injected(self._regression, counts[pod], usual, self._edges, self._chance)
        return counts

    def _usual(self, at: int) -> float:
        """Share of bad requests of all pods of the split around that moment."""
        near = self._moments[max(0, at - _AROUND) : at + _AROUND + 1]
        counts = summed(c for moment in near for pod in self._split.pods if (c := moment.pods.get(pod)))
        return counts.bad / counts.total if counts.total else 0.0

    def _window(
        self,
        playable: Playable,
        end: float,
        pods: Mapping[str, PodCounts],
        candidate: Sequence[str],
        stable: Sequence[str],
    ) -> Window:
        gate, width = playable.gate, playable.windows * self._width
        noise = self._noise_of(playable)
        if gate.max is None:
            amounts = playable.amounts({pod: pods[pod] for pod in stable if pod in pods})
            noise.add(end - width, end, amounts, self._player.edges(playable))
        mine, theirs = self._sum(pods, candidate), self._sum(pods, stable)
        window = Window(
            gate.name,
            end - width,
            end,
            playable.counts(mine),
            playable.counts(theirs),
            candidate_pods=len(candidate),
            stable_pods=len(stable),
        )
        if not playable.whole:
            return replace(window, noise=noise.now(), history=noise.history.get(None))
        edges = (
            Edge(above, mine.slower[i], theirs.slower[i], noise.now(above), noise.history.get(above))
            for i, above in enumerate(self._edges)
        )
        return replace(window, edges=tuple(edges))

    def _sum(self, counts: Mapping[str, PodCounts], pods: Sequence[str]) -> PodCounts:
        """Counts of those pods together, as far as they were read."""
        return summed((self._none, *(counts[pod] for pod in pods if pod in counts)))

    def _noise_of(self, playable: Playable) -> GateNoise:
        """What is known of stable's noise, by the operator's own rules."""
        noise = self._noise.get(playable.gate.name)
        if noise is None:
            noise = self._noise[playable.gate.name] = GateNoise(playable.windows * self._width)
            noise.learn(self._player.known(self._split, playable))
        return noise


def _by_pod(moments: Sequence[Moment], pods: Sequence[str]) -> dict[str, PodCounts]:
    found = {pod: [m.pods[pod] for m in moments if pod in m.pods] for pod in pods}
    return {pod: summed(counts) for pod, counts in found.items() if counts}
