"""Versions without traffic: which of them stay, and which a Rollback can go back to."""

from __future__ import annotations

from weir.api.rolloutstatus import RetainedVersion, VersionStatus
from weir.release.turn import Turn

_MOST = 24


def retain(turn: Turn, version: VersionStatus, *, warm_until: float, served_until: float | None = None) -> None:
    """Keeps a version that has no traffic any more; ``served_until``: when it ceased to be the one that serves."""
    known = version.model_dump()
    if served_until is not None:
        known["served_until"] = served_until
    kept = RetainedVersion(**known, warm_until=warm_until)
    others = [r for r in turn.status.retained if r.revision != version.revision]
    turn.set(retained=[kept, *others][:_MOST])


def spare(turn: Turn) -> tuple[RetainedVersion, ...]:
    """Versions beyond ``historyLimit`` that are no longer kept warm.

    Those that have served count first: a candidate that failed must not push out what a Rollback goes back to.
    """
    ranked = sorted(turn.status.retained, key=lambda version: version.served_until is None)
    beyond = ranked[turn.view.spec.rollback.history_limit :]
    return tuple(version for version in beyond if version.warm_until <= turn.now)


def forget_removed(turn: Turn) -> None:
    """Drops versions whose pools are gone, once they were due to go."""
    gone = {version.revision for version in spare(turn) if not _present(turn, version.pool)}
    if gone:
        turn.set(retained=[version for version in turn.status.retained if version.revision not in gone])
    for version in turn.status.retained:
        turn.wake(version.warm_until)


def _present(turn: Turn, name: str) -> bool:
    """Whether a pool of ours is still there to be removed; what the user runs is the user's to remove."""
    return name in turn.obs.pools and not turn.obs.pool(name).external


def restorable(turn: Turn) -> list[RetainedVersion]:
    """Versions that have served and whose pods can run again, the one that served last first."""
    going = {version.revision for version in spare(turn)}
    served = [
        (version.served_until, version)
        for version in turn.status.retained
        if version.served_until is not None and version.revision not in going and version.pool in turn.obs.pools
    ]
    return [version for _, version in sorted(served, key=lambda pair: -pair[0])]


def settling(turn: Turn, version: RetainedVersion) -> bool:
    """Whether its pods may just be going: those that are seen cannot be counted on before they are seen gone."""
    pool = turn.obs.pool(version.pool)
    return version.warm_until <= turn.now and pool.desired > 0 and not pool.external
