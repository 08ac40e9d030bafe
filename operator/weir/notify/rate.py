"""How fast messages may leave."""

from __future__ import annotations

from weir.runtime.clock import Clock


class TokenBucket:
    """Lets ``burst`` messages through at once, then ``per_minute``."""

    def __init__(self, burst: int, per_minute: float, clock: Clock) -> None:
        """Full at first."""
        self._burst, self._rate, self._clock = float(burst), per_minute / 60.0, clock
        self._tokens, self._at = float(burst), clock.monotonic()

    async def take(self) -> bool:
        """Returns once a message may leave; True if that took a wait."""
        waited = False
        while (missing := 1.0 - self._filled()) > 1e-9:
            waited = True
            await self._clock.sleep(missing / self._rate)
        self._tokens -= 1.0
        return waited

    def _filled(self) -> float:
        now = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        return self._tokens
