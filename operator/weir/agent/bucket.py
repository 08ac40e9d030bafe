"""The token bucket that all permits of a policy share: each granted action takes its cost."""

from __future__ import annotations

from decimal import Decimal

from weir.agent.turn import Turn
from weir.api.agentpolicy import Bucket
from weir.api.agentstatus import Tokens
from weir.api.base import seconds

_DIGITS = 6


def tokens(bucket: Bucket, entry: Tokens | None, now: float) -> float:
    """Tokens that the bucket holds at that time (seconds since the epoch); it begins full."""
    if entry is None:
        return float(bucket.capacity)
    back = max(0.0, now - entry.at) / seconds(bucket.refill_every)
    return min(float(bucket.capacity), float(entry.left) + back)


def enough_at(bucket: Bucket, entry: Tokens | None, cost: int) -> float:
    """When the bucket holds that many tokens (seconds since the epoch), where it does not yet."""
    if entry is None:
        return 0.0
    return round(entry.at + max(0.0, cost - float(entry.left)) * seconds(bucket.refill_every), 3)


def take(turn: Turn, cost: int) -> None:
    """Takes tokens for a grant, down to none; a negative cost puts them back."""
    bucket = turn.policy.bucket
    if bucket is None or cost == 0:
        return
    left = min(float(bucket.capacity), max(0.0, tokens(bucket, turn.bucket, turn.now) - cost))
    turn.bucket = Tokens(left=Decimal(str(round(left, _DIGITS))), at=turn.now)
