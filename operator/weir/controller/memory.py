"""What the process remembers between two looks; all of it may be lost at any moment without harm."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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


_FIRST_RETRY, _LAST_RETRY = 0.5, 60.0
"""Seconds after which a write for an AgentPolicy that failed is tried again: the first time, and at most."""

_BELIEVED = 6
"""Answers in a row after which it is believed that something does not exist: with the waits in between, 15 seconds."""

_REFUSED_SECONDS = 30.0
"""Seconds after which one that the API server refused is tried again, if it is still wanted."""


@dataclass
class _Attempt:
    """A write that did not come about. ``due``: not before then, on the monotonic clock; ``why``: if it was refused.

    ``absent``: how often in a row the API server knew nothing of what it is about.
    """

    failures: int = 0
    absent: int = 0
    due: float = 0.0
    why: str = ""


class Attempts:
    """Writes for an AgentPolicy that did not come about, by name or uid: why not, and when each is tried again.

    One of them must not hold up the others, nor be tried on every look.
    """

    def __init__(self) -> None:
        """Nothing has failed yet."""
        self._of: dict[str, _Attempt] = {}
        self.untold = False
        """Whether something was refused that no decision knows of yet."""

    def refused(self) -> Mapping[str, str]:
        """Why the API server does not take what it refused."""
        return {what: attempt.why for what, attempt in self._of.items() if attempt.why}

    def failed_before(self, what: str) -> bool:
        """Whether it did not come about when it was tried last."""
        return what in self._of

    def due(self, what: str, at: float) -> bool:
        """Whether it may be tried now. ``at``: on the monotonic clock."""
        return what not in self._of or at >= self._of[what].due

    def failed(self, what: str, at: float, at_least: float = 0.0) -> float:
        """It failed for now; returns the seconds until the next attempt."""
        attempt = self._of.setdefault(what, _Attempt())
        wait = max(at_least, min(_LAST_RETRY, _FIRST_RETRY * 2.0 ** min(attempt.failures, 16)))
        attempt.failures, attempt.absent, attempt.due = attempt.failures + 1, 0, at + wait
        return wait

    def absent(self, what: str, why: str, at: float) -> None:
        """The API server knows nothing of what it is about; while it starts that may be wrong, so ask it some times."""
        before = self._of.get(what, _Attempt()).absent
        if before + 1 >= _BELIEVED:
            self.refuse(what, why, at)
        else:
            self.failed(what, at)
        self._of[what].absent = before + 1

    def refuse(self, what: str, why: str, at: float) -> None:
        """The API server does not take it."""
        attempt = self._of.setdefault(what, _Attempt())
        self.untold = self.untold or attempt.why != why
        attempt.why, attempt.absent, attempt.due = why, 0, at + _REFUSED_SECONDS

    def done(self, what: str) -> None:
        """It came about."""
        self._of.pop(what, None)

    def keep(self, wanted: Collection[str]) -> None:
        """A decision that knows of all of them is stored; forgets those that nobody wants any more."""
        self.untold = False
        self._of = {what: attempt for what, attempt in self._of.items() if what in wanted}

    def next(self, at: float) -> float | None:
        """Seconds until the first of them is tried again; None where there is none."""
        return max(0.0, min(attempt.due for attempt in self._of.values()) - at) if self._of else None
