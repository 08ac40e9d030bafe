"""Weights: what the route should say, whether it says so, and whether requests really arrive that way."""

from __future__ import annotations

import math

from weir.api.rolloutstatus import RolloutStatus
from weir.release.capacity import safe_weight
from weir.release.observation import Route, Share
from weir.release.plan import Stage
from weir.release.turn import Turn
from weir.stats.sampleratio import ALPHA, log_mismatch

SETTLE = 1.0
"""Seconds after the gateway accepted new weights that count for nothing: the data plane follows 0.06-1.5 s later."""

ENDPOINTS_SETTLE = 3.0
"""Seconds from the readiness of a version's pods (stored in whole seconds) to its first weight.

Gateways watch routes and endpoints separately; one that hears of the weight first answers 503, and none says which
endpoints it knows.
"""

_LEAST_REQUESTS = 20
_LEAST_EXPECTED = 5
_SLACK = 0.03


def intended(status: RolloutStatus, *, serving: bool) -> tuple[tuple[str, int], ...] | None:
    """(pool, percent) that the route should say, stable first; None while nothing may be routed yet.

    ``serving``: the first version of all has passed its warm-up and takes all traffic.
    """
    stable, candidate = status.stable, status.candidate
    if stable is None:
        return ((candidate.pool, 100),) if candidate is not None and serving else None
    if candidate is None:
        return ((stable.pool, 100),)
    return ((stable.pool, 100 - status.weight), (candidate.pool, status.weight))


def written(route: Route, weights: tuple[tuple[str, int], ...]) -> bool:
    """Whether the route says these weights, to its granularity; backends without weight do not matter."""
    there = {p: w for p, w in route.weights.items() if w}
    wanted = {p: w for p, w in weights if w}
    return there.keys() == wanted.keys() and all(
        abs(there[p] - w) < max(1, route.granularity) for p, w in wanted.items()
    )


def lower_to_zero(turn: Turn, *, patience: float) -> bool:
    """Moves the candidate's weight towards 0 as far as stable can carry the traffic; True once the data plane has it.

    ``patience`` (seconds): how long to wait for a gateway to confirm a route that already says so.
    """
    status, obs = turn.status, turn.obs
    if status.stable is None:
        turn.set(weight=0)
        return True
    weight = safe_weight(0, status.weight, turn.candidate_carries, turn.stable_carries)
    turn.set(weight=weight)
    if weight > 0:
        turn.say(f"putting traffic back as stable can carry it: {100 - weight} % so far")
        return False
    weights = intended(turn.status, serving=False)
    candidate = status.candidate.pool if status.candidate else ""
    if not obs.route.weights.get(candidate):
        since = status.ending.since if status.ending else turn.now
        if obs.route.accepted or not obs.route.weights or turn.now - since >= patience:
            return True
        turn.wake(since + patience)
    turn.say("putting all traffic back to stable" + ("" if weights is None else "; waiting for the gateway"))
    return False


def mismatch(share: Share | None, stage: Stage, granularity: int = 1) -> str:
    """How the share of requests contradicts the weight while gates are judged; empty when it does not.

    A sample-ratio check (``weir.stats.sampleratio``): where it fails, the arms are not what they are taken for.
    """
    if share is None or not stage.splits or stage.weight >= 100:
        return ""
    weight = stage.weight / 100
    tolerance = max(min(_SLACK, weight), granularity / 100 if granularity > 1 else 0.0)
    if log_mismatch(share.candidate, share.stable, weight, tolerance=tolerance) < -math.log(ALPHA):
        return ""
    total = share.candidate + share.stable
    return (
        f"the candidate gets {share.candidate / total:.1%} of {total} requests instead of {stage.weight} %: routing is "
        "broken, or few users send most requests; nothing is judged until the shares are right again"
    )


def share_problem(share: Share | None, weight: int, granularity: int = 1) -> tuple[bool, str]:
    """Whether the observed share contradicts the weight: (settled, text).

    ``settled`` is False while there are too few requests to say. Tolerance: four standard deviations of the binomial
    share, and three percentage points for a gateway's rounding, or the adapter's ``granularity`` (percent) if coarser.
    """
    if share is None:
        return True, ""
    total = share.candidate + share.stable
    expected = weight / 100
    needed = max(_LEAST_REQUESTS, math.ceil(_LEAST_EXPECTED / expected)) if expected else _LEAST_REQUESTS
    if total < needed:
        return False, f"{total} of {needed} requests seen, to compare the share of traffic with {weight} %"
    observed = share.candidate / total
    tolerance = 4 * math.sqrt(expected * (1 - expected) / total) + max(
        _SLACK, granularity / 100 if granularity > 1 else 0.0
    )
    if abs(observed - expected) <= tolerance:
        return True, ""
    return True, f"the candidate gets {observed:.1%} of {total} requests instead of {weight} %"
