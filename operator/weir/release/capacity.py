"""Capacity before traffic: how much of the traffic ready pods can carry, and which weight is safe."""

from __future__ import annotations

from weir.release.observation import Pool


def carried(pool: Pool, replicas: int) -> int:
    """Percent of the full traffic (0-100) that the pool's ready pods can carry, ``replicas`` of them carrying all.

    A Service that the user runs is sized by the user: any ready endpoint counts as full capacity.
    """
    if pool.external:
        return 100 if pool.ready > 0 else 0
    return min(100, 100 * pool.ready // replicas)


def safe_weight(wanted: int, current: int, candidate: int, stable: int) -> int:
    """Candidate weight (percent) to set now, on the way from ``current`` to ``wanted``.

    ``candidate`` and ``stable`` are what each side can carry (percent). A side's share grows only as far as it can
    carry it; where neither side can carry its part, the candidate gets no more than it can carry, since stable is the
    one proven.
    """
    if wanted >= current:
        return min(wanted, candidate)
    ceiling = min(current, candidate)
    return min(ceiling, max(wanted, 100 - stable))
