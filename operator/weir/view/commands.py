"""The exact commands that an explanation offers."""

from __future__ import annotations

from weir.view.model import RolloutInfo

VERBS = (
    "release",
    "promote",
    "abort",
    "retry",
    "pause",
    "resume",
    "skip",
    "shift",
    "approve",
    "rollback",
    "drill",
)
"""Commands of ``kubectl weir`` that ask for an action."""

VIEWS = ("status", "get", "why", "history")
"""Commands of ``kubectl weir`` that only look."""


def weir(info: RolloutInfo, command: str, *more: str) -> str:
    """A command of ``kubectl weir`` for this Rollout; one that asks for an action has the reason that scripts need."""
    reason = ("-m", '"REASON"') if command in VERBS else ()
    return " ".join(["kubectl weir", command, info.name, *_in(info), *more, *reason])


def edit(info: RolloutInfo) -> str:
    """Opens the Rollout in an editor."""
    return " ".join(["kubectl edit rollouts.weir.dev", info.name, *_in(info)])


def patch(info: RolloutInfo, spec: str) -> str:
    """Changes fields of the spec; ``spec`` is JSON."""
    return " ".join(
        ["kubectl patch rollouts.weir.dev", info.name, *_in(info), "--type merge -p", f"'{{\"spec\":{spec}}}'"]
    )


def kubectl(info: RolloutInfo, command: str) -> str:
    """A command of kubectl in the Rollout's namespace."""
    return " ".join(["kubectl", command, *_in(info)])


def _in(info: RolloutInfo) -> tuple[str, ...]:
    return ("-n", info.namespace) if info.namespace else ()
