"""Another version in place of the one that spec.versionRef names, until spec.versionRef changes.

Nothing writes a Rollout's spec but people and Git, so what an action releases is remembered beside it: applying the
same manifest again changes nothing, and a new ``versionRef`` wins.
"""

from __future__ import annotations

from dataclasses import replace

from weir.api.action import Asked, Instead
from weir.api.rollout import RolloutSpec
from weir.api.rolloutstatus import RolloutStatus
from weir.release.observation import Problem, Target
from weir.release.turn import Cause, Turn

_UNSEEN = Problem("WantedVersionChanged", "another version is wanted from now on, and is being looked at")
_SOON = 0.1
"""Seconds until the next look, which sees the version that is wanted from now on."""


def wanted(spec: RolloutSpec, status: RolloutStatus) -> str:
    """Name of the ModelVersion that should serve."""
    instead, named = status.instead, spec.version_ref.name
    return instead.version if instead is not None and instead.ref == named else named


def refresh(turn: Turn) -> None:
    """Forgets what was asked for once spec.versionRef names another version than it did then.

    Nothing is decided on a look at another version than the one that should serve.
    """
    instead = turn.status.instead
    if instead is not None and instead.ref != turn.view.spec.version_ref.name:
        turn.set(instead=None)
    if not turn.seen.wanted:
        turn.seen = replace(turn.seen, wanted=wanted(turn.view.spec, turn.status))
    _follow(turn)


def want(turn: Turn, target: Target, cause: Cause) -> None:
    """That version is the one to be released; the next look sees it, where it was another one before."""
    named, request, authority = turn.view.spec.version_ref.name, cause.request, cause.authority
    made = Instead(version=target.version, ref=named, by=cause.by, since=turn.now, request=request, authority=authority)
    turn.set(
        instead=made if target.version != named else None,
        asked=Asked(revision=target.revision, by=cause.by, request=request, authority=authority),
    )
    _follow(turn)


def end(turn: Turn, version: str) -> None:
    """Ends it where the version that is to serve from now on is the one that spec.versionRef names."""
    if turn.status.instead is not None and version == turn.view.spec.version_ref.name:
        turn.set(instead=None)
        _follow(turn)


def hint(turn: Turn) -> str:
    """What people should do about it; empty where there is nothing."""
    instead = turn.status.instead
    if instead is None:
        return ""
    return (
        f"; {instead.by} asked for it in place of {instead.ref}, which spec.versionRef names: "
        f"set spec.versionRef to {instead.version} where the Rollout is kept"
    )


def way_back(turn: Turn) -> str:
    """How to be content with what serves where another version was asked for and failed; empty where none was."""
    stable = turn.status.stable
    if turn.status.instead is None or stable is None:
        return ""
    return f", or be content with {stable.label} by `kubectl weir release {turn.view.name} {stable.version}`"


def _follow(turn: Turn) -> None:
    """Leaves out what was seen of the version that should serve where that is another one by now."""
    turn.obs = turn.seen
    if turn.seen.wanted != wanted(turn.view.spec, turn.status):
        turn.obs = replace(turn.seen, target=None, target_problem=_UNSEEN)
        turn.wake(turn.after(_SOON))
