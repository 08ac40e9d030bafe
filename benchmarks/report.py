"""The results as a table, beside the targets."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from benchmarks.measure import GATE_INTERVAL, Result

_MOST_WRITES = 15.0
_MOST_READS = 2.0
_MOST_RSS = 100.0
_MOST_BREACH = GATE_INTERVAL + 1.0


def markdown(results: Sequence[Result]) -> str:
    """All of it, for people."""
    head = "| | target | " + " | ".join(f"N = {r.rollouts}" for r in results) + " |"
    rows = [head, "|---|---|" + "---|" * len(results)]
    rows += [
        _row("writes per two-step release, without Events", _MOST_WRITES, [r.writes - r.events for r in results]),
        _row("Events per two-step release", None, [r.events for r in results]),
        _row("writes per two-step release, all", _MOST_WRITES, [r.writes for r in results]),
        _row("reads per two-step release", _MOST_READS, [r.reads for r in results]),
        _row("writes per idle minute", 0.0, [r.idle_writes for r in results]),
        _row("reads per idle minute", 0.0, [r.idle_reads for r in results]),
        _row("breach → weight 0, median (s)", _MOST_BREACH, [median(r.breach_to_zero) for r in results]),
        _row("breach → weight 0, 95th percentile (s)", _MOST_BREACH, [_p95(r.breach_to_zero) for r in results]),
        _row("breach → weight 0, worst (s)", _MOST_BREACH, [r.breach_to_zero[-1] for r in results]),
        _row("pod Ready → first weight, median (s)", None, [median(r.first_weight) for r in results]),
        _row("pod Ready → first weight, worst (s)", None, [r.first_weight[-1] for r in results]),
        _row("release, until the last is Ready (s)", None, [r.release_seconds for r in results]),
        _row("CPU per release (s)", None, [r.release_cpu for r in results]),
        _row("CPU per idle minute (s)", None, [r.idle_cpu for r in results]),
        _row("highest RSS (MiB)", _MOST_RSS, [r.rss_mib for r in results]),
    ]
    requests = ["", "Requests of one release, by the operator's own count:", "", *_requests(results)]
    audited = ["", "The same by the API server's audit log, which leaves Events out:", "", *_audited(results)]
    return "\n".join([*rows, *requests, *audited]) + "\n"


def _row(name: str, target: float | None, values: Sequence[float]) -> str:
    limit = "" if target is None else f"≤ {target:g}" if target else "0"
    cells = [f"{value:.2f}".rstrip("0").rstrip(".") + _mark(target, value) for value in values]
    return f"| {name} | {limit} | " + " | ".join(cells) + " |"


def _mark(target: float | None, value: float) -> str:
    if target is None:
        return ""
    return " ✓" if value <= target else " ✗"


def _p95(values: Sequence[float]) -> float:
    return values[min(len(values) - 1, int(0.95 * len(values)))]


def _requests(results: Sequence[Result]) -> list[str]:
    return _counts(results, [r.requests for r in results])


def _audited(results: Sequence[Result]) -> list[str]:
    return _counts(results, [r.audited for r in results])


def _counts(results: Sequence[Result], found: Sequence[dict[str, float]]) -> list[str]:
    names = sorted(set().union(*found))
    rows = ["| | " + " | ".join(f"N = {r.rollouts}" for r in results) + " |", "|---|" + "---|" * len(results)]
    rows += [f"| {name} | " + " | ".join(f"{counts.get(name, 0):.2f}" for counts in found) + " |" for name in names]
    return rows
