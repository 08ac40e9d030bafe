"""Has a distribution moved further from a reference than is tolerated? A sequential test on binned counts.

The reference is m counted rows, not the truth. With K bins its total variation distance from the truth is at most

    noise = sqrt((K-1) / 4m) + sqrt(ln(2/alpha) / 2m)

but for a chance of alpha/2 (mean of the distance; McDiarmid's inequality). The null hypothesis is that every batch of
rows comes from a distribution within ``bound`` = tolerance + noise of the reference's counts. Two kinds of bets are
made against it, each of mean at most 1 in every batch while it holds:

- *Over-full bins.* A = bins with a larger share in recent earlier batches than in the reference. Whatever the
  distribution, P(A) <= q(A) + bound, so a product over rows of 1 + l (1{row in A} - q(A) - bound) has mean at most 1
  for each l in a grid. Made for many small batches.
- *The distance itself.* In n rows the distance exceeds the true one on average by at most sqrt((K-1) / 4n), and with
  bounded differences of 1/n its moment generating function is at most exp(s^2 / 8n); so
  exp(4nd x - 2nd^2), x = distance - bound - sqrt((K-1) / 4n), has mean at most 1 for each d in a grid. Made for the
  first look at a large batch, where it needs no earlier one.

Drift may begin at any time, so a share of the stake, ``_stake(t)``, is kept back for each later batch t:
M_t = (M_{t-1} + stake_t) e_t plus what is not staked yet. The stakes sum to 1, hence M is a test martingale (mixture of
e-processes that begin at each t; compare the e-detectors of Shin, Ramdas and Rinaldo, "E-detectors", 2024, which bound
the mean time to a false alarm instead) and the chance that it ever reaches 2/alpha is at most alpha/2 (Ville). With
the reference's own alpha/2: **the chance of a false alarm, ever, is at most alpha**, for independent rows; each alarm
that is taken back begins anew. What waiting costs is ln(1/stake) nats: 11 after a thousand batches, 19 after a million.
``dispersion`` (variance of counts as a multiple of that of independent rows) divides all counts, for rows that come in
clusters; that is a heuristic.

After an alarm everything begins anew, and the verdict goes back only with proof: rows are gathered in blocks of a size
fixed beforehand (``block``). A block whose distance is below ``bound`` by sqrt(ln(1/alpha) / 2n) shows that its rows
are within ``bound``, but for a chance of alpha (on average the distance of a sample is too large, never too small). A
block that does not show it is thrown away, since it may hold rows of before the repair.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, exp, inf, log, log1p, log2, sqrt

from weir.stats.combine import log_mean
from weir.stats.distance import total_variation

BETS = (0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.9)
"""How much of the stake is bet on the over-full bins."""
EXCESSES = (0.01, 0.03, 0.1, 0.3)
"""Distances beyond the bound that the second kind of bet is made for."""
_CLEAR = 0.75
"""A block is large enough to be within the bound if its true distance is well below a quarter of it."""
_MEMORY = 20.0
"""Recent rows are those of a half-life of _MEMORY / bound^2 rows: by then the over-full bins can be told."""
MAX_BINS = 256


@dataclass(frozen=True)
class Question:
    """What is tested. ``reference``: its rows by bin. ``tolerance`` and ``alpha`` are ratios 0-1, see above.

    ``least``: rows that an alarm needs at least, and taking it back. ValueError for a reference without rows, with
    fewer than 2 or too many bins, and for impossible ratios.
    """

    reference: tuple[int, ...]
    tolerance: float
    alpha: float = 0.01
    dispersion: float = 1.0
    least: int = 1

    def __post_init__(self) -> None:
        if not 2 <= len(self.reference) <= MAX_BINS or min(self.reference) < 0 or not sum(self.reference):
            raise ValueError(f"a reference of {sum(self.reference)} rows in {len(self.reference)} bins")
        if not (0 <= self.tolerance <= 1 and 0 < self.alpha < 1 and 1 <= self.dispersion < inf):
            raise ValueError(f"tolerance {self.tolerance}, alpha {self.alpha}, dispersion {self.dispersion}")

    @cached_property
    def shares(self) -> tuple[float, ...]:
        """The reference as shares."""
        rows = sum(self.reference)
        return tuple(count / rows for count in self.reference)

    @cached_property
    def noise(self) -> float:
        """How far (0-1) the reference's counts may be from the truth."""
        rows = sum(self.reference)
        return sqrt((len(self.reference) - 1) / (4 * rows)) + sqrt(log(2 / self.alpha) / (2 * rows))

    @property
    def bound(self) -> float:
        """Distance (0-1) from the reference's counts that is tolerated; no alarm is possible from 1 on."""
        return self.tolerance + self.noise

    @cached_property
    def block(self) -> int:
        """Rows that are needed to show that the distribution is back."""
        width = sqrt((len(self.reference) - 1) / 4) + sqrt(log(1 / self.alpha) / 2)
        return max(self.least, ceil(self.dispersion * (width / (_CLEAR * min(1.0, self.bound))) ** 2))


@dataclass(frozen=True)
class ToleranceState:
    """The test so far. ``logs``: log wealth of each bet, -inf before the first batch. ``batches``: since the restart.

    ``recent``: rows by bin, older ones fading; after an alarm those that led to it, and later ones. ``rows``: since the
    restart. ``alarmed``: the last verdict was an alarm. ``gathered``: rows by bin since the evidence began to grow, or
    of the block that may take the alarm back.
    """

    recent: tuple[float, ...]
    logs: tuple[float, ...] = (-inf,) * (len(BETS) + len(EXCESSES))
    batches: int = 0
    rows: int = 0
    alarmed: bool = False
    gathered: tuple[int, ...] = ()

    @property
    def log_wealth(self) -> float:
        """Log of the e-value against the null hypothesis."""
        bets = log_mean(self.logs[: len(BETS)])
        distances = log_mean(self.logs[len(BETS) :])
        return _log_add(log_mean((bets, distances)), log(_kept(self.batches)))

    def encode(self) -> str:
        """As text (base64; less than 6,000 characters), exactly."""
        head = struct.pack("<HHqqB", len(self.recent), len(self.gathered), self.batches, self.rows, self.alarmed)
        floats = struct.pack(f"<{len(self.logs) + len(self.recent)}d", *self.logs, *self.recent)
        return base64.b64encode(head + floats + struct.pack(f"<{len(self.gathered)}q", *self.gathered)).decode("ascii")

    @staticmethod
    def decode(text: str) -> ToleranceState:
        """The state that was encoded. Raises ValueError for any other text."""
        packed = base64.b64decode(text, validate=True)
        size = struct.calcsize("<HHqqB")
        try:
            bins, gathered, batches, rows, alarmed = struct.unpack_from("<HHqqB", packed)
            count = len(BETS) + len(EXCESSES)
            numbers = struct.unpack(f"<{count + bins}d{gathered}q", packed[size:])
        except struct.error as error:
            raise ValueError(f"not the state of a tolerance test: {error}") from error
        logs, recent, block = numbers[:count], numbers[count : count + bins], numbers[count + bins :]
        return ToleranceState(tuple(recent), tuple(logs), batches, rows, bool(alarmed), tuple(map(int, block)))


def start(question: Question) -> ToleranceState:
    """Nothing seen yet."""
    bins = len(question.reference)
    return ToleranceState((0.0,) * bins, gathered=(0,) * bins)


def step(question: Question, state: ToleranceState, counts: Sequence[int]) -> ToleranceState:
    """The test after one more batch; a batch without rows changes nothing. ValueError for other bins."""
    if not len(counts) == len(question.reference) == len(state.recent) == len(state.gathered):
        raise ValueError(f"{len(counts)} counts, {len(state.recent)} recent, for {len(question.reference)} bins")
    rows = sum(counts)
    if min(counts) < 0:
        raise ValueError("a count is negative")
    if not rows:
        return state
    if state.alarmed:
        return _after_alarm(question, state, counts)
    stake = log(_stake(state.batches + 1))
    gains = _gains(question, state, counts)
    found = ToleranceState(
        _faded(question, state.recent, counts),
        tuple(_log_add(old, stake) + gain for old, gain in zip(state.logs, gains, strict=True)),
        state.batches + 1,
        state.rows + rows,
        # Nothing is won so far: whatever there is begins with this batch.
        gathered=_added(state.gathered, counts) if state.log_wealth > 0 else tuple(counts),
    )
    if found.rows >= question.least and found.log_wealth >= log(2 / question.alpha):
        return ToleranceState(tuple(map(float, found.gathered)), alarmed=True, gathered=(0,) * len(counts))
    return found


def _after_alarm(question: Question, state: ToleranceState, counts: Sequence[int]) -> ToleranceState:
    gathered = _added(state.gathered, counts)
    recent, rows = _faded(question, state.recent, counts), sum(gathered)
    if rows < question.block:
        return replace(state, recent=recent, gathered=gathered, rows=state.rows + sum(counts))
    margin = sqrt(question.dispersion * log(1 / question.alpha) / (2 * rows))
    if total_variation(gathered, question.reference) + margin <= question.bound:
        return ToleranceState(tuple(map(float, gathered)), rows=rows, gathered=(0,) * len(counts))
    return replace(state, recent=recent, gathered=(0,) * len(counts), rows=state.rows + sum(counts))


def _gains(question: Question, state: ToleranceState, counts: Sequence[int]) -> tuple[float, ...]:
    """Log of each bet's e-value in this batch."""
    rows = sum(counts) / question.dispersion
    seen = sum(state.recent)
    full = [i for i, (a, q) in enumerate(zip(state.recent, question.shares, strict=True)) if a > q * seen]
    level = sum(question.shares[i] for i in full) + question.bound
    bets = (0.0,) * len(BETS)
    if full and level < 1:
        hits = sum(counts[i] for i in full) / question.dispersion
        units = (bet / max(level, 1 - level) for bet in BETS)
        bets = tuple(hits * log1p(unit * (1 - level)) + (rows - hits) * log1p(-unit * level) for unit in units)
    beyond = total_variation(counts, question.reference) - question.bound - sqrt((len(counts) - 1) / (4 * rows))
    return (*bets, *(rows * (4 * excess * beyond - 2 * excess**2) for excess in EXCESSES))


def _added(rows: Sequence[int], counts: Sequence[int]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(rows, counts, strict=True))


def _faded(question: Question, recent: Sequence[float], counts: Sequence[int]) -> tuple[float, ...]:
    keep = 0.5 ** (sum(counts) * question.bound**2 / _MEMORY)
    return tuple(keep * old + new for old, new in zip(recent, counts, strict=True))


def _kept(batches: int) -> float:
    """Share of the stake that is kept for later batches."""
    return 1 / log2(batches + 2)


def _stake(batch: int) -> float:
    """What is staked on a drift that begins with this batch (1, 2, …)."""
    return _kept(batch - 1) - _kept(batch)


def _log_add(a: float, b: float) -> float:
    """Log of the sum of two numbers given as logs; one of them may be -inf."""
    most, least = max(a, b), min(a, b)
    return most + log1p(exp(least - most))
