"""How long a gate should still take: what it has proven, and how fast a good candidate proves the rest.

The speed is that of ``weir.stats.feasibility``, at the traffic and noise that the release has seen; what is proven is
taken from the status. So the answer holds for a candidate that is as good as stable, and is a range: until half of such
candidates have passed, and until nine of ten have.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, isfinite, log

from weir.stats.feasibility import Claim, Step, Traffic, wait
from weir.view.model import RolloutInfo
from weir.view.parts import Gate, Seen

_WORST = 1.5
"""Part of the whole wait that is still ahead, at most, where the evidence is against the candidate so far."""


@dataclass(frozen=True)
class Outlook:
    """Seconds until half and until nine of ten good candidates have passed, from now on; never infinite."""

    median: float
    ninety: float


def outlook(info: RolloutInfo, gate: Gate) -> Outlook | None:
    """The range for a gate that weighs evidence and has not passed; None where nothing can be said."""
    if gate.verdict not in ("Insufficient", "NoData") or not gate.e_pass or not gate.e_pass_bar or gate.e_pass_bar <= 1:
        return None
    whole = [found for seen in gate.traffic if (found := _whole(info, gate, seen)) is not None]
    if not whole or len(whole) < len(gate.traffic):
        return None
    part = 1 - log(gate.e_pass) / log(gate.e_pass_bar) if gate.e_pass > 0 else _WORST
    part = min(_WORST, max(0.0, part))
    return Outlook(part * max(w.median for w in whole), part * max(w.ninety for w in whole))


def _whole(info: RolloutInfo, gate: Gate, seen: Seen) -> Outlook | None:
    """For all of the evidence that this stage asks for, as if there were none yet."""
    if not 0 < info.weight < 100 or gate.e_pass_bar is None:
        return None
    if gate.asks.question != "Objective":
        # Pass takes the mean of two e-values, so one alone has to be twice as large.
        claim = _Claim(gate.tolerance, gate.accept, 1 / gate.e_pass_bar / 2)
    elif gate.asks.objective is not None:
        claim = _Claim(None, (1 - gate.asks.objective) * (gate.tolerance or 1.0), 1 / gate.e_pass_bar)
    else:
        return None
    return _wait(seen, claim, info.weight / 100, info.replicas or 1, gate.asks.interval or 30.0)


@dataclass(frozen=True)
class _Claim:
    tolerance: float | None
    accept: float | None
    alpha: float


@lru_cache(maxsize=1024)
def _wait(seen: Seen, asked: _Claim, share: float, pods: int, window: float) -> Outlook | None:
    try:
        traffic = Traffic(
            rate=seen.rate,
            base=min(0.99, seen.share),
            dispersion=max(1.0, seen.dispersion),
            fast=seen.fast,
            slow=seen.slow,
            correlation=min(0.999, seen.correlation),
            window=window,
            stable_pods=pods,
            candidate_pods=max(1, ceil(pods * share)),
        )
        found = wait(traffic, Claim(asked.tolerance, asked.accept, asked.alpha), (Step(share),))
    except (ValueError, ArithmeticError):
        return None  # numbers that no release can have
    return Outlook(found.median, found.ninety) if isfinite(found.ninety) else None
