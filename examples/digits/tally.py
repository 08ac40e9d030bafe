"""What the load generator saw: answers and failures, by the version that answered."""

import math
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

NO_VERSION = "none"
REMEMBERED_FAILURES = 50


@dataclass(frozen=True)
class Outcome:
    """What became of one request.

    `version` is the one that answered (`none` when no model server did), `reason` is None or why the request failed
    (`http_503`, or the name of the exception), `seconds` counts from the moment the request was due; None when it
    was never sent. `detail` is the text of a failure, for people.
    """

    at: float
    request_id: str
    version: str
    status: int | None
    seconds: float | None
    wrong: bool = False
    reason: str | None = None
    detail: str = ""


@dataclass
class Tally:
    """Sums over some time. Latencies, of failures too, are kept to three digits, so that memory stays bounded."""

    sent: int = 0
    ok: int = 0
    failed: int = 0
    by_version: dict[str, Counter[str]] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    failures: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=REMEMBERED_FAILURES))
    milliseconds: Counter[float] = field(default_factory=Counter)

    def add(self, outcome: Outcome) -> None:
        """Count one finished request."""
        version = self.by_version.setdefault(outcome.version, Counter(ok=0, failed=0, wrong=0))
        if outcome.seconds is not None:
            self.milliseconds[float(f"{outcome.seconds * 1000:.3g}")] += 1
        if outcome.reason is None:
            self.ok += 1
            version["ok"] += 1
            version["wrong"] += int(outcome.wrong)
            return
        self.failed += 1
        version["failed"] += 1
        self.errors[outcome.reason] += 1
        failure = {"t": round(outcome.at, 3), "id": outcome.request_id, "version": outcome.version}
        self.failures.append({**failure, "status": outcome.status, "reason": outcome.reason, "detail": outcome.detail})

    def quantile_ms(self, share: float) -> float | None:
        """Return the latency in milliseconds that `share` (0-1) of requests did not exceed; None without any."""
        rank = math.ceil(share * self.milliseconds.total())
        for value in sorted(self.milliseconds):
            rank -= self.milliseconds[value]
            if rank <= 0:
                return value
        return None

    def describe(self) -> dict[str, Any]:
        """Return the sums as plain data."""
        return {
            "sent": self.sent,
            "ok": self.ok,
            "failed": self.failed,
            "by_version": {version: dict(counts) for version, counts in sorted(self.by_version.items())},
            "p50_ms": self.quantile_ms(0.5),
            "p95_ms": self.quantile_ms(0.95),
            "errors": dict(self.errors),
        }
