"""What a backtest found, as plain values: for a table, a plot or JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf, isfinite
from typing import Any

from weir.backtest.chance import wilson


@dataclass(frozen=True)
class Rate:
    """``hits`` of ``n`` pseudo releases."""

    hits: int
    n: int

    @property
    def share(self) -> float:
        """Share of hits (0-1); 0 for none."""
        return self.hits / self.n if self.n else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share."""
        return wilson(self.hits, self.n)


@dataclass(frozen=True)
class Result:
    """All pseudo releases of one kind: harmless ones (``regression`` empty), or with that regression.

    ``guilty``: times that each gate rolled back. Medians are of those that were promoted, resp. rolled back: seconds
    from the start of the first stage, requests of the candidate, and how many of those were harmed.
    """

    regression: str
    rolled_back: Rate
    by_policy: Rate
    promoted: Rate
    undecided: Rate
    guilty: Mapping[str, int]
    seconds_to_promote: float | None
    seconds_to_roll_back: float | None
    requests_to_roll_back: float | None
    harmed_to_roll_back: float | None


@dataclass(frozen=True)
class Wait:
    """How long a good candidate waits for a gate's Pass at a stage's own weight, by formula: seconds, half and 90 %.

    ``longest``: seconds that the stage waits before the gate's policy applies.
    """

    stage: str
    gate: str
    median: float
    ninety: float
    longest: float

    @property
    def fits(self) -> bool:
        """Whether 90 % of good candidates pass in time."""
        return self.ninety <= self.longest


@dataclass(frozen=True)
class Past:
    """The history that was used; ``share`` of bad requests (0-1), ``rate`` of requests a second of all pods."""

    start: float
    end: float
    width: float
    windows: int
    pods: int
    rate: float
    share: float


@dataclass(frozen=True)
class Played:
    """A stage as it was played: ``candidate`` of ``pods`` pods, a share of requests that is seldom the weight."""

    stage: str
    weight: int
    candidate: int
    pods: int


@dataclass(frozen=True)
class Report:
    """Everything that a backtest says. ``skipped``: gate → why it could not look at the past."""

    rollout: str
    past: Past
    releases: int
    seed: int
    stages: Sequence[Played]
    harmless: Result
    regressions: Sequence[Result]
    waits: Sequence[Wait]
    skipped: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: shares with their intervals; infinite times as null."""
        fields: dict[str, Any] = _plain(asdict(self))
        for result, found in [
            (self.harmless, fields["harmless"]),
            *zip(self.regressions, fields["regressions"], strict=True),
        ]:
            for name in ("rolled_back", "by_policy", "promoted", "undecided"):
                rate: Rate = getattr(result, name)
                low, high = rate.interval
                found[name] |= {"share": round(rate.share, 6), "low": round(low, 6), "high": round(high, 6)}
        for wait, found in zip(self.waits, fields["waits"], strict=True):
            found["fits"] = wait.fits
        return fields


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6) if isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def duration(length: float | None) -> str:
    """Seconds for people: ``45 s``, ``12 min``, ``3.5 h``; ``never`` for infinite, ``-`` for None."""
    if length is None:
        return "-"
    if length == inf:
        return "never"
    if length < 120:
        return f"{length:.0f} s"
    return f"{length / 60:.3g} min" if length < 7200 else f"{length / 3600:.3g} h"
