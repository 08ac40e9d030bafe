"""What counters said at the end of a window, as the status keeps it, so that a restart counts on from there. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from math import isfinite

from weir.release.observation import Arm

MAX_TEXT = 32768
"""Longest text, in characters; units beyond it are left out, and count from their first read after a restart."""

Amounts = tuple[float, ...]
"""All events, then the bad ones (or those slower than each edge, or the sum of a quantity)."""

_ARMS: dict[str, Arm] = {"c": "candidate", "s": "stable"}


@dataclass(frozen=True)
class Standing:
    """What one unit (a pod, a gateway's instance) had counted in all, and the process that had."""

    amounts: Amounts = ()
    process: float | None = None


Standings = Mapping[Arm, Mapping[str, Standing]]


@dataclass
class Resumption:
    """Where an earlier collection of the same evidence left off: ``end`` in seconds since the epoch.

    All until then is counted. ``standings`` are the counters then; each is taken out when its unit has caught up.
    """

    end: float
    standings: dict[Arm, dict[str, Standing]] = field(default_factory=dict)


def add(one: Amounts, other: Amounts) -> Amounts:
    """Sum, element by element; what one of them lacks is nothing."""
    return tuple(a + b for a, b in zip_longest(one, other, fillvalue=0))


def less(one: Amounts, other: Amounts) -> Amounts:
    """Difference, element by element."""
    return tuple(a - b for a, b in zip_longest(one, other, fillvalue=0))


def missed(before: Standing, now: Standing, *, rebase: bool) -> Amounts:
    """What a unit counted since ``before``.

    Another process, other bucket edges, or counters that fell: then it counted from zero. A fall counts for nothing
    where it is no restart: ``rebase`` (a sum over pods, one of which has gone), or the same process (a series went).
    """
    both = before.process is not None and now.process is not None
    if (both and before.process != now.process) or len(before.amounts) != len(now.amounts):
        return now.amounts
    gained = less(now.amounts, before.amounts)
    if any(amount < 0 for amount in gained):
        return (0,) * len(now.amounts) if both or rebase else now.amounts
    return gained


def encode(question: str, end: float, standings: Standings) -> str:
    """``standings`` at ``end`` as text of at most ``MAX_TEXT`` characters, the first ones first.

    ``question`` identifies what was counted.
    """
    parts = [f"{_stamp(question)}@{end:.3f}"]
    length = len(parts[0])
    for letter, arm in _ARMS.items():
        for unit, standing in standings.get(arm, {}).items():
            amounts = "/".join(map(_number, standing.amounts or (0,)))
            part = f"{letter} {unit}={_number(standing.process)}@{amounts}"
            if ";" in unit or length + len(part) + 1 > MAX_TEXT:
                continue
            parts.append(part)
            length += len(part) + 1
    return ";".join(parts)


def decode(question: str, text: str) -> tuple[float, dict[Arm, dict[str, Standing]]] | None:
    """The standings in ``text`` and their time; None where it is about another question, or no such text at all."""
    stamp, *parts = text.split(";")
    asked, _, at = stamp.partition("@")
    if asked != _stamp(question):
        return None
    found: dict[Arm, dict[str, Standing]] = {"candidate": {}, "stable": {}}
    try:
        end = float(at)
        for part in parts:
            name, _, value = part.rpartition("=")
            process, _, amounts = value.partition("@")
            numbers = tuple(_parsed(amount) for amount in amounts.split("/"))
            found[_ARMS[name[:1]]][name[2:]] = Standing(numbers, float(process) if process else None)
    except (ValueError, KeyError):
        return None
    return end, found


def _stamp(question: str) -> str:
    return f"{zlib.crc32(question.encode()):08x}"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return str(int(value)) if value == int(value) else repr(value)


def _parsed(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(text)
    return int(number) if number.is_integer() else number
