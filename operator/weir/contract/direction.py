"""How one promise of a contract moves the set of permitted data: exact comparisons of intervals, sets and thresholds.

Every function compares an old promise with a new one. ``tightens``: nothing new is permitted and something no longer
is. ``loosens``: the reverse. Where the sets cannot be compared, the answer is ``undetermined``, never a guess.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal
from fractions import Fraction

from weir.contract.finding import Direction
from weir.contract.model import Column, Comparison, Scalar

_INTEGERS = {f"i{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64, 128)} | {
    f"u{bits}": (0, 2**bits - 1) for bits in (8, 16, 32, 64, 128)
}
"""Smallest and largest integer of each ``format``."""

_UNITS = {
    ("s", "sec", "second", "seconds"): 1,
    ("min", "m", "minute", "minutes"): 60,
    ("h", "hr", "hour", "hours"): 3600,
    ("d", "day", "days"): 86400,
    ("w", "week", "weeks"): 7 * 86400,
    ("mo", "month", "months"): 30 * 86400,
    ("y", "yr", "year", "years"): 365 * 86400,
}
_PERIOD = re.compile(
    r"P(?:(?P<y>\d+)Y)?(?:(?P<mo>\d+)M)?(?:(?P<w>\d+)W)?(?:(?P<d>\d+)D)?"
    r"(?:T(?:(?P<h>\d+)H)?(?:(?P<min>\d+)M)?(?:(?P<s>\d+)S)?)?"
)


def of_sets(*, gone: bool, came: bool) -> Direction:
    """The direction of a set from which something is gone, or to which something came."""
    if gone and came:
        return "both"
    if gone:
        return "tightens"
    return "loosens" if came else "untested"


def join(directions: Iterable[Direction]) -> Direction:
    """The direction of several changes of the same promise."""
    found = set(directions) - {"untested"}
    if "both" in found or {"tightens", "loosens"} <= found:
        return "both"
    if "undetermined" in found:
        return "undetermined"
    return next(iter(found), "untested")


def of_flags(old: bool, new: bool) -> Direction:
    """Of a constraint that is on or off."""
    return of_sets(gone=new and not old, came=old and not new)


def of_numbers(old: int | None, new: int | None, *, lower: bool) -> Direction:
    """Of a limit of a length or a count, neither of which is ever below 0."""
    none = 0.0 if lower else math.inf
    before, after = (none if value is None else value for value in (old, new))
    return (
        of_sets(gone=after > before, came=after < before)
        if lower
        else of_sets(gone=after < before, came=after > before)
    )


def of_values(old: Sequence[Scalar], new: Sequence[Scalar]) -> Direction:
    """Of a list of permitted values; an empty one permits all."""
    before, after = ({key(value) for value in values} for values in (old, new))
    if not before or not after:
        return of_flags(bool(before), bool(after))
    return of_sets(gone=bool(before - after), came=bool(after - before))


def key(value: object) -> tuple[str, object]:
    """Tells values apart: 1 is 1.0, but neither true nor the text '1'."""
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, int | float | Decimal):
        return ("number", Fraction(value) if math.isfinite(value) else str(value))
    return ("text", str(value))


def of_multiples(old: Decimal | None, new: Decimal | None, *, integers: bool) -> Direction:
    """Of ``multipleOf``: every multiple of 6 is one of 3."""
    # Of whole numbers, the multiples of p/q (in lowest terms) are those of p.
    before, after = (_step(value, integers) for value in (old, new))
    if before == after:
        return "untested"
    if before is None or after is None:
        return of_flags(before is not None, after is not None)
    return of_sets(gone=(before / after).denominator != 1, came=(after / before).denominator != 1)


def _step(value: Decimal | None, integers: bool) -> Fraction | None:
    if value is None or value <= 0:
        return None
    step = Fraction(value)
    if not integers:
        return step
    return None if step.numerator == 1 else Fraction(step.numerator)


@dataclass(frozen=True)
class Limit:
    """One end of an interval. ``kind`` says which values can be compared with it."""

    kind: str
    value: Fraction | str
    inclusive: bool


def limits(column: Column, *, lower: bool, whole: bool) -> tuple[Limit, ...]:
    """The strictest of a column's inclusive and exclusive limit; both where they cannot be compared; none, or one.

    ``whole``: only whole numbers (or days) exist, so that more than 4 is at least 5.
    """
    if lower:
        written = ((column.minimum, True), (column.exclusive_minimum, False))
    else:
        written = ((column.maximum, True), (column.exclusive_maximum, False))
    found = [_limit(value, inclusive, lower, whole) for value, inclusive in written if value is not None]
    if len(found) == 2 and found[0].kind == found[1].kind != "text":
        first, second = found
        return (second,) if _stricter(first, second, lower) == "tightens" else (first,)
    return tuple(found)


def of_limits(old: Column, new: Column, *, lower: bool) -> Direction:
    """Of the lower or the upper end of a column's permitted interval."""
    whole = all(column.logical_type in ("integer", "date") for column in (old, new))
    before, after = (limits(column, lower=lower, whole=whole) for column in (old, new))
    if before == after:
        return "untested"
    if not before or not after:
        return of_flags(bool(before), bool(after))
    if len(before) > 1 or len(after) > 1:
        return "undetermined"
    return _stricter(before[0], after[0], lower)


def _stricter(old: Limit, new: Limit, lower: bool) -> Direction:
    if old == new:
        return "untested"
    if old.kind != new.kind or isinstance(old.value, str) or isinstance(new.value, str):
        return "undetermined"
    if old.value == new.value:
        return of_flags(not old.inclusive, not new.inclusive)
    risen = new.value > old.value
    return of_flags(risen != lower, risen == lower)


def _limit(value: Decimal | str, inclusive: bool, lower: bool, whole: bool) -> Limit:
    kind, number = ("number", Fraction(value)) if isinstance(value, Decimal) else moment(value)
    if whole and isinstance(number, Fraction) and kind in ("number", "local"):
        unit = 1 if kind == "number" else 86400
        at = number / unit
        if inclusive:
            nearest = math.ceil(at) if lower else math.floor(at)
        else:
            nearest = math.floor(at) + 1 if lower else math.ceil(at) - 1
        return Limit(kind, Fraction(nearest * unit), True)
    return Limit(kind, number, inclusive)


def moment(text: str) -> tuple[str, Fraction | str]:
    """An ISO 8601 date or time in seconds, with what it can be compared with; the text itself where it is neither."""
    try:
        found = datetime.fromisoformat(text)
        zoned = found.tzinfo is not None
        return ("zoned" if zoned else "local"), _seconds(found.astimezone(UTC) if zoned else found.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        pass
    try:
        of_day = time.fromisoformat(text) if ":" in text else None
    except ValueError:
        of_day = None
    if of_day is None or of_day.tzinfo is not None:
        return "text", text
    return "time", _seconds(datetime.combine(_FIRST.date(), of_day, tzinfo=UTC))


_FIRST = datetime.min.replace(tzinfo=UTC)


def _seconds(at: datetime) -> Fraction:
    passed = at - _FIRST
    return passed.days * 86400 + passed.seconds + Fraction(passed.microseconds, 1_000_000)


def of_formats(old: Column, new: Column) -> Direction:
    """Of ``format``: exact for widths of numbers; the formats of a date are two ways to write it, hence disjoint."""
    if old.format == new.format:
        return "untested"
    if (old.logical_type, new.logical_type) == ("integer", "number"):
        # The change of the type says that it loosens; the width matters where a float cannot hold each integer.
        digits = {"f32": 24, "f64": 53}.get(new.format or "", 128)
        return "untested" if _INTEGERS.get(old.format or "", (0, 0))[1] <= 2**digits else "both"
    if old.format is None or new.format is None:
        return of_flags(old.format is not None, new.format is not None)
    before, after = _INTEGERS.get(old.format), _INTEGERS.get(new.format)
    if before is not None and after is not None:
        return of_sets(
            gone=after[0] > before[0] or after[1] < before[1], came=after[0] < before[0] or after[1] > before[1]
        )
    if {old.format, new.format} == {"f32", "f64"}:
        return of_flags(old.format == "f32", new.format == "f32")
    return "both" if new.logical_type in ("date", "timestamp", "time") else "undetermined"


@dataclass(frozen=True)
class Domain:
    """Which values a measured number can have: at least ``least``, at most ``most``, whole or any."""

    least: int | None
    most: int | None
    whole: bool


ROWS = Domain(0, None, whole=True)
PERCENT = Domain(0, 100, whole=False)
ANYTHING = Domain(None, None, whole=False)

_OPERATORS: Mapping[str, Callable[[int, tuple[int, ...]], bool]] = {
    "mustBe": lambda n, v: n == v[0],
    "mustNotBe": lambda n, v: n != v[0],
    "mustBeGreaterThan": lambda n, v: n > v[0],
    "mustBeGreaterOrEqualTo": lambda n, v: n >= v[0],
    "mustBeLessThan": lambda n, v: n < v[0],
    "mustBeLessOrEqualTo": lambda n, v: n <= v[0],
    "mustBeBetween": lambda n, v: v[0] < n < v[1],
    "mustNotBeBetween": lambda n, v: not v[0] < n < v[1],
}

Thresholds = Sequence[Comparison]


def decidable(comparisons: Thresholds) -> bool:
    """Whether every comparison is with numbers, by an operator that Weir knows."""
    return all(c.values and c.operator in _OPERATORS for c in comparisons)


def _places(thresholds: Iterable[Thresholds], domain: Domain) -> tuple[dict[Decimal, int], list[int]]:
    """The place of each threshold on the line of numbers, and all places where the domain has numbers.

    Thresholds have odd places, what lies between them the even ones: within one place every comparison gives the same
    answer, so that to try all places is to try all numbers.
    """
    edges = {value for comparisons in thresholds for c in comparisons for value in c.values}
    edges |= {Decimal(end) for end in (domain.least, domain.most) if end is not None}
    line = sorted(edges)
    found: list[int] = []
    for index, (before, edge) in enumerate(zip([None, *line], [*line, None], strict=True)):
        if before is not None and not (domain.whole and before % 1):
            found.append(2 * index - 1)
        if not domain.whole or before is None or edge is None or math.floor(before) + 1 < edge:
            found.append(2 * index)
    place = {edge: 2 * index + 1 for index, edge in enumerate(line)}
    least = 0 if domain.least is None else place[Decimal(domain.least)]
    most = 2 * len(line) if domain.most is None else place[Decimal(domain.most)]
    return place, [at for at in found if least <= at <= most]


def _passes(comparisons: Thresholds, place: Mapping[Decimal, int], at: int) -> bool:
    return all(_OPERATORS[c.operator](at, tuple(place[value] for value in c.values)) for c in comparisons)


def of_thresholds(old: Thresholds, new: Thresholds, domain: Domain) -> Direction:
    """Of the comparisons that a number must satisfy."""
    if not decidable((*old, *new)):
        return "untested" if tuple(old) == tuple(new) else "undetermined"
    place, line = _places((old, new), domain)
    both = [(_passes(old, place, at), _passes(new, place, at)) for at in line]
    return of_sets(gone=(True, False) in both, came=(False, True) in both)


def always(comparisons: Thresholds, domain: Domain) -> bool:
    """Whether every possible number satisfies the comparisons, so that they promise nothing."""
    if not decidable(comparisons):
        return False
    place, line = _places((comparisons,), domain)
    return all(_passes(comparisons, place, at) for at in line)


def only_zero(comparisons: Thresholds, domain: Domain) -> bool:
    """Whether nothing but 0 satisfies the comparisons: then rows and percent mean the same."""
    if not decidable(comparisons):
        return False
    place, line = _places((comparisons,), domain)
    return [at for at in line if _passes(comparisons, place, at)] == [place.get(Decimal(0))]


def of_count(comparisons: Thresholds, domain: Domain, *, more: bool) -> Direction:
    """Of a rule that counts more rows (or fewer) than before and whose threshold stays."""
    if not decidable(comparisons):
        return "undetermined"
    place, line = _places((comparisons,), domain)
    answers = [_passes(comparisons, place, at) for at in line]
    if all(answers) or not any(answers):
        return "untested"
    if answers == sorted(answers, reverse=True):
        return of_flags(not more, more)
    return of_flags(more, not more) if answers == sorted(answers) else "both"


def seconds(value: object, unit: str) -> int | None:
    """An age: a number of a unit (days by default), or an ISO 8601 period; None where it cannot be read."""
    if isinstance(value, str) and not re.fullmatch(r"\d+(\.\d+)?", value.strip()):
        found = _PERIOD.fullmatch(value.strip().upper())
        if found is None or not any(found.groups()):
            return None
        return sum(int(n or 0) * _factor(name) for name, n in found.groupdict().items())
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    factor = _factor(unit.lower() or "d")
    return int(Decimal(str(value)) * factor) if factor else None


def _factor(unit: str) -> int:
    return next((factor for names, factor in _UNITS.items() if unit in names), 0)
