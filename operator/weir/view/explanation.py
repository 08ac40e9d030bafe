"""What an explanation is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from weir.view.read import wire


@dataclass(frozen=True)
class Move:
    """Something that would make a release move; without ``command`` it happens by itself, or outside of Weir."""

    text: str
    command: str = ""
    by_itself: bool = False


@dataclass(frozen=True)
class Explanation:
    """Why a Rollout stands where it stands, in plain words.

    ``headline``: one sentence, what it does or waits for. ``notes``: what else is worth knowing, such as a refused
    request. ``waiting_for``: what is missing. ``evidence``: what was measured. ``moves``: what would make it move.
    ``takes``: how long that should take; None where there is nothing to wait for.
    """

    headline: str
    notes: tuple[str, ...] = ()
    waiting_for: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    moves: tuple[Move, ...] = ()
    takes: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON and YAML."""
        found: dict[str, Any] = wire(self)
        return found
