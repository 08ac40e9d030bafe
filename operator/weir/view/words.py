"""Numbers and times in words, for people who have never seen the tool."""

from __future__ import annotations

from datetime import UTC, datetime

_LONG = 5 * 86400.0
"""Seconds beyond which an estimate says only that it is long."""


def duration(seconds: float) -> str:
    """A length of time such as ``45 s``, ``12 min``, ``3 h 20 min`` or ``2 days``."""
    seconds = max(0.0, seconds)
    if seconds < 100 and round(seconds) != 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100 and minutes != 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{round(hours / 24)} days"


def rough(seconds: float) -> str:
    """An estimated length of time: no more exact than it can be known."""
    if seconds < 55:
        return f"{max(10, round(seconds / 10) * 10)} seconds"
    minutes = seconds / 60
    if minutes < 20:
        return f"{round(minutes)} minute{'s' if round(minutes) > 1 else ''}"
    if minutes < 90:
        return f"{round(minutes / 5) * 5} minutes"
    hours = minutes / 60
    return f"{max(2, round(hours))} hours" if hours < 36 else f"{round(hours / 24)} days"


def span(low: float, high: float) -> str:
    """A range of estimated lengths: ``3 to 12 minutes``, ``40 seconds to 3 minutes``."""
    if low > _LONG:
        return "several days"
    begin, end = rough(low), rough(high)
    if begin == end:
        return f"about {end}"
    if begin.split()[1].rstrip("s") == end.split()[1].rstrip("s"):
        begin = begin.split()[0]
    return f"{begin} to {end}"


def clock(at: float, now: float) -> str:
    """A time of day, with the date where it is not today's: ``08:22:10 UTC``."""
    moment, today = datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(now, UTC)
    return moment.strftime("%H:%M:%S UTC" if moment.date() == today.date() else "%Y-%m-%d %H:%M UTC")


def when(at: float, now: float) -> str:
    """A time and how far away it is: ``08:22:10 UTC (in 4 min)`` or ``(12 min ago)``."""
    away = at - now
    return f"{clock(at, now)} ({f'in {duration(away)}' if away >= 0 else ago(at, now)})"


def ago(at: float, now: float) -> str:
    """How long ago: ``12 min ago``."""
    return f"{duration(now - at)} ago"


def whole(number: float) -> str:
    """A whole number with separators: ``1,300``."""
    return f"{round(number):,}"


def percent(share: float) -> str:
    """A share (0-1) in percent with three digits: ``5.48 %``."""
    return f"{share * 100:.3g} %"


def number(value: float) -> str:
    """A number with three digits: ``1.26``, ``11.5``, ``1,300``."""
    return whole(value) if abs(value) >= 1000 else f"{value:.3g}"


def times(ratio: float) -> str:
    """A ratio in words: ``1.26 times``, ``twice``."""
    return "twice" if ratio == 2 else f"{number(ratio)} times"


def things(count: int, one: str, many: str = "") -> str:
    """A count of things: ``1 request``, ``1,300 requests``."""
    return f"{whole(count)} {one if count == 1 else many or one + 's'}"


def acting(authority: str) -> str:
    """What an agent acted under, to be put behind its name: `` (permit shift; approved by ada)``; empty for people."""
    return f" ({authority})" if authority else ""


def sentence(text: str) -> str:
    """The text as a sentence: a capital letter first, a full stop last."""
    text = text.strip()
    if not text:
        return ""
    # A name such as digits-v2 or http-errors keeps its spelling.
    first = text.split(maxsplit=1)[0]
    head = text[0].upper() if first.rstrip(":,?!.").isalpha() else text[0]
    return head + text[1:] + ("" if text[-1] in ".!?" else ".")
