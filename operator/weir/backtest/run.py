"""A whole backtest: the Rollout's gates over its past, harmless and with regressions, and what can be expected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from weir.api.base import seconds
from weir.api.gate import Gate
from weir.api.rollout import RolloutSpec
from weir.backtest.chance import quantile
from weir.backtest.history import History, HistoryError, summed
from weir.backtest.injection import Regression
from weir.backtest.report import Past, Played, Rate, Report, Result
from weir.backtest.splits import Split, splits
from weir.backtest.trial import Playable, Player, Stage, Trial, length, stages
from weir.backtest.waits import waits
from weir.evidence.history import MAX_POINTS, SPAN

SHORTEST_WINDOW = 30.0
"""Seconds; Prometheus seldom scrapes more than twice in that time, and less shows lumps instead of a rate."""


MOST_REGRESSED = 60
"""Pseudo releases with each regression, at most: whether one is seen needs fewer than how rare a false rollback is."""


@dataclass(frozen=True)
class Plan:
    """What is to be played: which gates, in which stages; ``skipped``: gate → why it cannot look at the past."""

    gates: tuple[Playable, ...]
    stages: tuple[Stage, ...]
    skipped: dict[str, str]
    width: float

    @property
    def length(self) -> int:
        """Windows of the longest release."""
        return length(self.stages, self.width)

    @property
    def before(self) -> int:
        """Windows before a release in which noise is measured."""
        return min(MAX_POINTS, int(SPAN / self.width))


def window(spec: RolloutSpec, shortest: float = SHORTEST_WINDOW) -> float:
    """Seconds of a window of the history that this Rollout's gates need."""
    return max(shortest, min((gate.interval_seconds for gate in spec.gates), default=shortest))


def needs(spec: RolloutSpec) -> tuple[bool, bool]:
    """Whether the gates that can look at the past need (status codes, durations) of requests."""
    templates = {gate.template for gate in spec.gates}
    return "http-errors" in templates, "http-latency" in templates


def planned(spec: RolloutSpec, width: float, edges: Sequence[float]) -> Plan:
    """Which gates can be played on a history of that width and with those bucket edges, and in which stages.

    Raises HistoryError when none can.
    """
    gates, skipped = list[Playable](), dict[str, str]()
    for gate in spec.gates:
        try:
            gates.append(_playable(gate, width, edges))
        except HistoryError as error:
            skipped[gate.name] = str(error)
    if not gates:
        why = "; ".join(f"{name}: {reason}" for name, reason in skipped.items()) or "the Rollout has no gates"
        raise HistoryError(f"no gate can look at the past: {why}")
    return Plan(tuple(gates), stages(spec, [p.gate for p in gates]), skipped, width)


def _playable(gate: Gate, width: float, edges: Sequence[float]) -> Playable:
    windows = max(1, round(gate.interval_seconds / width))
    if gate.template == "http-errors":
        return Playable(gate, windows)
    if gate.template != "http-latency":
        raise HistoryError(f"template {gate.template} has no counts for each pod, so no pods can play the candidate")
    if not edges:
        raise HistoryError("the history holds no durations")
    if gate.over is None:
        return Playable(gate, windows)
    over = seconds(gate.over)
    place = next((i for i, edge in enumerate(edges) if edge >= over * (1 - 1e-9)), None)
    if place is None:
        raise HistoryError(f"no bucket edge at or above {gate.over}")
    return Playable(gate, windows, place)


def run(
    name: str,
    spec: RolloutSpec,
    history: History,
    *,
    releases: int,
    regressions: Sequence[Regression],
    seed: int = 1,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Report:
    """Plays ``releases`` pseudo releases without any change, and some of them again with each regression.

    The same seed and history give the same report. ``progress`` is told how many are done, and of how many. Raises
    HistoryError when the history is too short, or never shows two pods of one version.
    """
    plan = planned(spec, history.width, history.edges)
    drawn = splits(history, count=releases, length=plan.length, before=plan.before, chance=Random(f"{seed}/splits"))
    if not drawn:
        hours = plan.length * plan.width / 3600
        raise HistoryError(
            f"the history has no {hours:.1f} hours without a gap (the longest that this release may take) in which at"
            " least two pods of one version served requests"
        )
    tried = _relevant(regressions, plan)
    player = Player(spec, plan.stages, plan.gates, history, plan.before)
    some = drawn[:MOST_REGRESSED]
    total, done = len(drawn) + len(some) * len(tried), 0

    def play_all(splits: Sequence[Split], regression: Regression | None) -> list[Trial]:
        nonlocal done
        found = []
        for number, split in enumerate(splits):
            found.append(player.play(split, regression, Random(f"{seed}/{number}/{regression}")))
            done += 1
            progress(done, total)
        return found

    harmless = _result("", play_all(drawn, None))
    results = tuple(_result(str(regression), play_all(some, regression)) for regression in tried)
    return Report(
        rollout=name,
        past=_past(history, drawn, plan),
        releases=len(drawn),
        seed=seed,
        stages=tuple(_played(stage, drawn) for stage in plan.stages),
        harmless=harmless,
        regressions=results,
        waits=waits(spec, plan.stages, plan.gates, history, drawn),
        skipped=plan.skipped,
    )


def _relevant(regressions: Sequence[Regression], plan: Plan) -> tuple[Regression, ...]:
    """Those that a gate could see, each once."""
    kinds = {"latency" if p.gate.template == "http-latency" else "errors" for p in plan.gates}
    return tuple(dict.fromkeys(r for r in regressions if r.kind in kinds))


def _result(regression: str, trials: Sequence[Trial]) -> Result:
    back = [t for t in trials if t.outcome == "RolledBack"]
    promoted = [t for t in trials if t.outcome == "Promoted"]
    ended = Counter(t.outcome for t in trials)
    return Result(
        regression=regression,
        rolled_back=Rate(len(back), len(trials)),
        by_policy=Rate(ended["RolledBackByPolicy"], len(trials)),
        promoted=Rate(len(promoted), len(trials)),
        undecided=Rate(ended["Undecided"], len(trials)),
        guilty=dict(sorted(Counter(t.gate for t in back).items())),
        seconds_to_promote=quantile([t.seconds for t in promoted], 0.5),
        seconds_to_roll_back=quantile([t.seconds for t in back], 0.5),
        requests_to_roll_back=quantile([float(t.requests) for t in back], 0.5),
        harmed_to_roll_back=quantile([float(t.harmed) for t in back], 0.5),
    )


def _past(history: History, drawn: Sequence[Split], plan: Plan) -> Past:
    moments = history.moments
    used = [m for split in drawn for m in moments[split.first : split.first + plan.length]]
    counts = summed(c for m in used for c in m.pods.values())
    total = counts.total or counts.timed
    return Past(
        start=moments[0].start,
        end=moments[-1].start + history.width,
        width=history.width,
        windows=len(moments),
        pods=max(len(split.pods) for split in drawn),
        rate=total / (len(used) * history.width),
        share=counts.bad / counts.total if counts.total else 0.0,
    )


def _played(stage: Stage, drawn: Sequence[Split]) -> Played:
    largest = max(drawn, key=lambda split: len(split.pods))
    return Played(stage.name, stage.weight, len(largest.arms(stage.weight)[0]), len(largest.pods))
