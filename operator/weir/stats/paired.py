"""Shadow traffic: both versions answered the same requests, so only the requests they disagree on tell them apart.

With b requests that only the candidate spoiled and c that only stable did, each disagreement is the candidate's fault
with odds equal to the ratio of the two. So "the ratio is at most r" is a question about a share r / (1 + r) of b + c
events, and the exact binomial e-process of ``weir.stats.absolute`` answers it: what the rate-ratio form gives for equal
traffic. Differences between requests, the time of day and a common cause cancel, and no user is exposed.

The ratio is that of the disagreements, b / c, not that of the rates, (a + b) / (a + c) with a spoiled by both, and it
is the further from 1 of the two. So a Pass at a tolerance holds for the rates all the more, but a Fail at a margin says
less about them: where both spoil many requests, translate the margin by ``disputed_ratio`` first.
"""

from __future__ import annotations

from math import inf

from weir.stats.absolute import log_above, log_below


def log_worse(only_candidate: int, only_stable: int, fail_above: float, dispersion: float = 1.0) -> float:
    """Log e-value against "the candidate spoils at most ``fail_above`` times as many of the disputed requests"."""
    return log_above(_share(fail_above), only_candidate + only_stable, only_candidate, dispersion)


def log_no_worse(only_candidate: int, only_stable: int, tolerance: float, dispersion: float = 1.0) -> float:
    """Log e-value against "the candidate spoils at least ``tolerance`` times as many of the disputed requests"."""
    return log_below(_share(tolerance), only_candidate + only_stable, only_candidate, dispersion)


def disputed_ratio(ratio: float, common: float) -> float:
    """The ratio of disagreements that a ``ratio`` of rates amounts to.

    ``common`` is the share (0-1) of stable's bad requests that the candidate spoils as well, from a reference or from
    windows before: b / c = (ratio - common) / (1 - common). At least 0; infinite when they never disagree.
    """
    if not (0 <= common <= 1 and 0 < ratio < inf):
        raise ValueError(f"ratio {ratio}, common {common}")
    if common == 1:
        return inf if ratio > 1 else 1.0 if ratio == 1 else 0.0
    return max(0.0, (ratio - common) / (1 - common))


def _share(ratio: float) -> float:
    if not 0 < ratio < inf:
        raise ValueError(f"a ratio is positive, not {ratio}")
    return ratio / (1 + ratio)
