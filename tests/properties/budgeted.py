"""The model cluster with an error budget: a Prometheus that knows the whole service, or does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tests.properties.cluster import Cluster
from weir.api.evidencestatus import Counts
from weir.release.budget import spans
from weir.release.observation import BudgetReading, Observation


@dataclass
class Service(Cluster):
    """Everything around a Rollout whose spec has an ``errorBudget``."""

    bad: float = 0.0
    """Bad requests in each million of the whole service."""
    recent: Mapping[float, float] = field(default_factory=dict)
    """Span in seconds → bad requests in each million, where it differs."""
    requests: int = 1_000_000
    """Requests in every span."""
    error: str | None = None
    silent_since: float | None = None
    """When Prometheus was read last, 0 for never; None while it can be read."""
    worse: int | None = None
    """Bad requests in each window of the candidate, where it differs."""

    def observe(self, stale: int = 0) -> Observation:
        """What a look shows."""
        obs = super().observe(stale)
        if self.worse is not None:
            windows = [replace(w, candidate=w.candidate.model_copy(update={"bad": self.worse})) for w in obs.windows]
            obs = replace(obs, windows=tuple(windows))
        return replace(obs, budget=self.reading())

    def reading(self) -> BudgetReading | None:
        """What the reader would have."""
        budget = self.spec.error_budget
        if budget is None or (self.silent_since is not None and self.error is None):
            return None
        at = self.now if self.silent_since is None else self.silent_since
        counts = {s: self._counts(s) for s in spans(budget)} if at > 0 else {}
        return BudgetReading(at, counts, self.error)

    def _counts(self, span: float) -> Counts:
        share = self.recent.get(span, self.bad) / 1e6
        return Counts(bad=round(self.requests * share), total=self.requests)

    def spend(self, share: float) -> None:
        """That share of the budget of an objective of 99.9 percent is spent, evenly over the window."""
        self.bad, self.recent = 1000.0 * share, {}

    def fail(self, error: str, *, ever: bool = True) -> None:
        """From now on Prometheus gives no answer; ``ever``: it has given one before."""
        self.error, self.silent_since = error, self.now if ever else 0.0

    def answer(self) -> None:
        """Prometheus is read again."""
        self.error = self.silent_since = None

    def restart(self) -> None:
        """The operator dies and comes back, and has not read anything yet."""
        super().restart()
        self.silent_since, self.error = self.now, None
