"""The error budget of the whole service: how much of it is left, what that forbids, and what one release may take.

Counts come from Prometheus over spans that end now; what they mean is in ``weir.stats.burn``. While the budget is
spent, burns too fast or cannot be read, no release starts or advances; whatever puts traffic back goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from math import sqrt
from typing import Literal

from weir.api.base import seconds
from weir.api.evidencestatus import EvidenceStatus, NoiseStatus
from weir.api.rollout import ErrorBudget
from weir.api.rolloutstatus import BudgetStatus
from weir.release.ledger import parse, totals
from weir.release.observation import BudgetReading, Problem, Target
from weir.release.turn import Turn
from weir.stats import burn

CONDITION = "BudgetAvailable"
"""Type of the condition, on Rollouts with an ``errorBudget`` only."""

SHORTEST = 300.0
"""Seconds of the shortest span: an increase needs several scrapes, whatever the objective's window is."""

FRESH = 300.0
"""Seconds after which a reading says nothing any more: the shortest span has passed since."""

_STEP = Decimal("0.01")
"""Share of the budget by which it must change before the status of an idle Rollout is written."""

_LUCK = 3.0
"""Standard deviations of chance that the excess of a release must exceed, so that a short history blames nobody."""

_ROUNDING = 1e-9
"""Part of the budget by which arithmetic on an objective such as 0.999 may be off."""

_COUNTING = ("http-errors", "gateway-errors")
"""Templates of gates whose bad requests are those of the service."""

State = Literal["True", "False", "Unknown"]


@dataclass(frozen=True)
class Assessment:
    """Whether the service has error budget left. ``fresh``: known well enough to start or advance a release."""

    available: State
    reason: str
    message: str
    fresh: bool = True
    spent: float | None = None
    rates: tuple[tuple[str, float], ...] = ()
    """(span, burn rate), the shortest first."""


def spans(budget: ErrorBudget) -> tuple[float, ...]:
    """Seconds of every span whose counts are needed, the shortest first; the last is the objective's window."""
    return _spans(seconds(budget.window))


@lru_cache(maxsize=64)
def _spans(window: float) -> tuple[float, ...]:
    burning = (span for pair in burn.pairs(window) for span in (pair.long, pair.short))
    return tuple(sorted({_readable(span) for span in (*burning, window)}))


def _readable(span: float) -> float:
    return max(SHORTEST, float(round(span)))


def usable(budget: ErrorBudget, reading: BudgetReading | None, now: float) -> bool:
    """Whether the reading answers what this budget asks, lately enough at ``now`` (seconds since the epoch)."""
    return reading is not None and reading.spans.keys() >= set(spans(budget)) and now - reading.at <= FRESH


def measured(budget: ErrorBudget, reading: BudgetReading) -> Assessment:
    """What a usable reading says. A burn counts where it is more than chance (``burn.Burning.certain``)."""
    objective, window = float(budget.objective), seconds(budget.window)

    def counted(span: float) -> burn.Counts:
        counts = reading.spans[_readable(span)]
        return burn.Counts(total=counts.total, bad=counts.bad)

    whole = counted(window)
    spent = burn.budget_spent(objective, whole)
    pairs = burn.burning(objective, window, counted)
    rates = {_readable(s): r for b in pairs for s, r in ((b.pair.long, b.long), (b.pair.short, b.short))}
    used = f"{spent * 100:.3g} % of the error budget of {budget.window} is spent"
    fast = next((b for b in pairs if b.certain), None)
    reason, message, available = "ErrorBudgetLeft", used, True
    if spent > 1 - _ROUNDING:
        reason, available = "ErrorBudgetSpent", False
        allowed = f"{burn.allowed(objective) * 100:.3g} %"
        message = f"{used}: {whole.bad} of {whole.total} requests were bad, {allowed} may be"
    elif fast is not None:
        reason, available = "ErrorBudgetSpent", False
        long, short = (_text(_readable(span)) for span in (fast.pair.long, fast.pair.short))
        message = (
            f"the error budget burns too fast: {fast.long:.3g} times the sustainable rate over {long} and "
            f"{fast.short:.3g} times over {short} (limit {fast.pair.factor:.3g}); {used}"
        )
    shown = tuple((_text(span), rate) for span, rate in sorted(rates.items()))
    return Assessment("True" if available else "False", reason, message, spent=spent, rates=shown)


def assess(turn: Turn) -> Assessment | None:
    """Whether there is budget left, by the newest reading or what is remembered; None without an ``errorBudget``."""
    budget, reading, stored = turn.view.spec.error_budget, turn.obs.budget, turn.status.budget
    if budget is None:
        return None
    if reading is not None and usable(budget, reading, turn.now):
        return measured(budget, reading)
    before = next((c for c in turn.status.conditions if c.type == CONDITION), None)
    lately = stored is not None and stored.at is not None and turn.now - stored.at <= FRESH
    if before is not None and before.status != "Unknown" and stored is not None and (lately or reading is None):
        # A restart forgets the readings: until the first new one all stays as it was, and nothing moves on old ones.
        return Assessment(before.status, before.reason, stored.message, fresh=lately)
    why = reading.error if reading is not None and reading.error else "it has not been read yet"
    return Assessment("Unknown", "BudgetUnknown", f"the error budget is not known: {why}"[:1024], fresh=False)


def look(turn: Turn) -> None:
    """Brings ``status.budget`` up to date; that of an idle Rollout only when something worth a write has changed."""
    budget, old, found = turn.view.spec.error_budget, turn.status.budget, assess(turn)
    if budget is None or found is None:
        turn.set(budget=None)
        return
    frozen = budget.on_spent == "Freeze" and found.available != "True"
    if found.spent is None:
        turn.set(budget=(old or BudgetStatus()).model_copy(update={"frozen": frozen, "message": found.message}))
        return
    new = BudgetStatus(
        spent=_decimal(found.spent),
        burn_rates=[f"{span}={rate:.3g}" for span, rate in found.rates],
        release=_release_share(turn, budget, old),
        frozen=frozen,
        message=found.message,
        at=round(turn.obs.budget.at, 3) if turn.obs.budget is not None else None,
    )
    before = next((c.reason for c in turn.status.conditions if c.type == CONDITION), None)
    same = old is not None and before == found.reason and (old.frozen, old.burning) == (new.frozen, new.burning)
    if same and old is not None and turn.status.candidate is None and abs(new.spent - old.spent) < _STEP:
        return
    turn.set(budget=new)


def freeze(turn: Turn) -> Problem | None:
    """Why no release may start or advance; None where it may.

    A promotion that a person forces passes. The first version of all, too: nobody is served that it could harm.
    """
    budget, found = turn.view.spec.error_budget, assess(turn)
    if budget is None or found is None or budget.on_spent != "Freeze":
        return None
    if turn.status.stable is None or turn.status.force is not None:  # whatever is put back is forced, too
        return None
    if found.available == "False":
        told = turn.status.budget.message if turn.status.budget is not None else found.message
        return Problem("ErrorBudgetSpent", f"{told}; no release starts or advances until it recovers or by a Promote")
    if found.available == "Unknown":
        return Problem("BudgetUnknown", f"{found.message}; no release starts or advances until it can be read")
    if not found.fresh:
        return Problem("BudgetUnknown", "the error budget has not been read since the operator started")
    return None


def held_back(turn: Turn) -> Target | None:
    """The version that nothing but the freeze keeps from being released."""
    target, status = turn.obs.target, turn.status
    if target is None or status.candidate is not None or status.stable is None or turn.view.deleting:
        return None
    known = {status.stable.revision, *(failed.revision for failed in status.failed)}
    recorded = not status.release or status.release in turn.obs.recorded
    if target.revision in known or turn.view.spec.paused or not recorded or freeze(turn) is None:
        return None
    return target


def overspent(turn: Turn) -> str | None:
    """Why the release has taken more of the budget than its share; None where it has not, or nobody can say."""
    budget, reading = turn.view.spec.error_budget, turn.obs.budget
    if budget is None or reading is None or not usable(budget, reading, turn.now):
        return None
    if turn.status.candidate is None or turn.stage is None:
        return None
    limit = float(budget.release_share) * _allowance(budget, reading)
    for evidence in _counting(turn):
        if evidence.candidate.bad <= limit:
            continue
        caused, luck = excess(evidence)
        if caused > limit and caused > luck:
            return (
                f"gate {evidence.gate}: this release caused {caused:.4g} bad requests more than stable would have; its "
                f"share of the error budget is {limit:.4g} ({budget.release_share} of {budget.window}'s)"
            )
    return None


def excess(evidence: EvidenceStatus) -> tuple[float, float]:
    """Bad requests of the candidate beyond those that stable would have had, and how many chance alone may bring.

    An estimate, not a bound: it ends harm, it does not judge the candidate. Window by window, since the weight and
    everybody's share of bad requests change; those behind a checkpoint count as one. Chance is three standard
    deviations of the difference under the noise that the gate has measured, with one more bad request of stable.
    """
    noise = evidence.series[0].noise if evidence.series else NoiseStatus()
    rows = [row for row in _rows(evidence) if row[0] and row[2]]
    if not rows:
        return 0.0, 0.0
    odds = sum(row[2] for row in rows) / sum(row[0] for row in rows)
    caused, likely, spread = 0.0, odds, odds * (1 + odds)
    for stable, stable_bad, candidate, candidate_bad in rows:
        expected = stable_bad * candidate / stable
        caused += candidate_bad - expected
        likely += expected
        spread += expected * (1 + candidate / stable)
    variance = float(noise.dispersion) * spread + float(noise.fast + noise.slow) * likely**2
    return caused, _LUCK * sqrt(variance)


def _rows(evidence: EvidenceStatus) -> list[tuple[int, int, int, int]]:
    """(stable's requests, bad ones, candidate's requests, bad ones) of each window."""
    entries = parse(evidence.windows)
    rows = [(e.stable_total, int(e.amounts[0][0]), e.candidate_total, int(e.amounts[0][1])) for e in entries]
    if evidence.dropped:
        candidate, stable = totals(evidence)
        a, b, c, d = (sum(row[place] for row in rows) for place in range(4))
        rows.append((stable.total - a, stable.bad - b, candidate.total - c, candidate.bad - d))
    return rows


def _allowance(budget: ErrorBudget, reading: BudgetReading) -> float:
    """Bad requests that the objective allows in its window, at the window's traffic."""
    return burn.allowed(float(budget.objective)) * reading.spans[_readable(seconds(budget.window))].total


def _release_share(turn: Turn, budget: ErrorBudget, old: BudgetStatus | None) -> Decimal:
    """Share of the window's budget that the current or last release has taken."""
    reading = turn.obs.budget
    if reading is None or turn.status.candidate is None:
        return old.release if old is not None else Decimal(0)
    allowance = _allowance(budget, reading)
    if allowance <= 0:
        return Decimal(0)
    visible = [evidence for evidence in _counting(turn) if evidence.candidate.bad > allowance / 10_000]
    return _decimal(max([0.0, *(excess(evidence)[0] for evidence in visible)]) / allowance)


def _counting(turn: Turn) -> list[EvidenceStatus]:
    """Evidence of the gates that compare the service's bad requests; requests to a preview are nobody's."""
    if turn.view.spec.strategy.canary is None:
        return []
    gates = {g.name for g in turn.view.spec.gates if g.template in _COUNTING and g.comparison is not None}
    return [evidence for evidence in turn.status.evidence if evidence.gate in gates]


def _decimal(value: float) -> Decimal:
    return Decimal(f"{value:.4f}")


def _text(span: float) -> str:
    """A length of time in the largest unit that divides it, such as 3d, 6h, 30m or 70s."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if span % size == 0:
            return f"{span / size:g}{unit}"
    return f"{span:g}s"
