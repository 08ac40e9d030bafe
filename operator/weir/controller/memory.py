"""What the process remembers of each Rollout between two looks; all of it may be lost at any moment without harm."""

from __future__ import annotations

from dataclasses import dataclass, field

from weir.api.rolloutstatus import RolloutStatus
from weir.release.durable import significant
from weir.release.observation import Problem
from weir.runtime.resources import KubeObject

REFRESH = 10.0
"""Seconds after which counts and texts that nobody must not forget are written to the status all the same."""


@dataclass
class Memory:
    """One Rollout's: the freshest status, when it was stored, and which writes the API server refused."""

    status: RolloutStatus | None = None
    stored_at: float = 0.0
    problems: dict[str, Problem] = field(default_factory=dict)
    """Name of an object of ours → why the API server does not take it."""
    refused: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Write → (what was refused, until when it is not tried again)."""
    tried: set[str] = field(default_factory=set)
    """Writes that the last look asked for."""

    def drop_untried(self) -> None:
        """Forgets what was refused but is not asked for any more."""
        self.problems = {what: problem for what, problem in self.problems.items() if what in self.tried}
        self.refused = {what: refusal for what, refusal in self.refused.items() if what in self.tried}


class Memories:
    """Memory by UID of the Rollout."""

    def __init__(self) -> None:
        """Remembers nothing."""
        self._of: dict[str, Memory] = {}

    def of(self, uid: str) -> Memory:
        """The memory of that Rollout, empty at first."""
        return self._of.setdefault(uid, Memory())

    def forget(self, uid: str) -> None:
        """The Rollout is gone."""
        self._of.pop(uid, None)

    def recall(self, obj: KubeObject) -> RolloutStatus:
        """The freshest status: ours where the stored one agrees in all that matters, else the stored one."""
        stored = RolloutStatus.model_validate(obj.get("status") or {})
        ours = self.of(obj["metadata"]["uid"]).status
        if ours is not None and significant(ours) == significant(stored):
            return ours
        return stored


def must_write(stored: RolloutStatus, new: RolloutStatus, age: float) -> bool:
    """Whether the status is to be written: at once for what matters, after ``REFRESH`` seconds for the rest."""
    if significant(stored) != significant(new):
        return True
    return age >= REFRESH and stored != new
