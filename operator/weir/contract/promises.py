"""How the quality rules of a table or a column differ between two revisions of a contract."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from weir.contract import direction as to
from weir.contract.finding import Change, Direction
from weir.contract.model import Quality

QUALITY = "quality-constraint-changed"

_SOFT = frozenset({"info", "warning", "low", "minor", "trivial"})
_METRICS = frozenset({"nullValues", "missingValues", "invalidValues", "duplicateValues", "rowCount"})

_LONGEST = 120
"""Most characters of a value in a message."""


def quality_changes(path: str, old: Sequence[Quality], new: Sequence[Quality]) -> Iterator[Change]:
    """Differences of the quality rules at one path; another name or dimension is none."""
    for before, after in _paired(old, new):
        if before and after and _unnamed(before) == _unnamed(after):
            continue
        name = next((rule.name for rule in (after, before) if rule and rule.name), "")
        what = f"quality rule {name!r}" if name else "quality rule"
        first, second = (_describe(rule) if rule else "" for rule in (before, after))
        said = f"{path}: {told(what, first, second)}"
        yield Change(QUALITY, path, direction(before, after), first, second, said)


def told(what: str, old: str, new: str) -> str:
    """A difference of two values in words, long values cut."""
    before, after = (text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…" for text in (old, new))
    if before and after:
        return f"{what} changed from {before} to {after}"
    return f"{what} {after} added" if after else f"{what} {before} removed"


def direction(old: Quality | None, new: Quality | None) -> Direction:
    """The direction of one rule that was added, removed or changed."""
    before, after = (rule if rule is not None and _binds(rule) else None for rule in (old, new))
    if before is None or after is None:
        return to.of_flags(before is not None, after is not None)
    before, after = _plain(before), _plain(after)
    if _substance(before) == _substance(after):
        return "untested"
    if _identity(before) != _identity(after) or before.kind == "custom" or before.query != after.query:
        return "undetermined"
    if before.kind == "library" and before.metric not in _METRICS:
        return "undetermined"
    domain = _domain(after)
    if before.unit != after.unit and not (
        to.only_zero(before.comparisons, _domain(before)) and to.only_zero(after.comparisons, domain)
    ):
        return "undetermined"
    counted = _counted(before, after)
    return to.join((*counted, to.of_thresholds(before.comparisons, after.comparisons, domain)))


def _binds(rule: Quality) -> bool:
    """Whether the rule can fail: not a text, not a warning, and with a threshold that some data does not meet."""
    if rule.kind == "text" or rule.severity.lower() in _SOFT:
        return False
    if rule.kind == "custom":
        return True
    return bool(rule.comparisons) and not to.always(rule.comparisons, _domain(rule))


def _domain(rule: Quality) -> to.Domain:
    if rule.kind != "library":
        return to.ANYTHING
    return to.PERCENT if rule.unit == "percent" else to.ROWS


def _plain(rule: Quality) -> Quality:
    """The same rule in one way of writing: nulls are missing values without further markers."""
    if rule.kind != "library" or rule.metric not in ("nullValues", "missingValues"):
        return rule
    markers = (
        [m for m in rule.arguments.get("missingValues") or () if m is not None]
        if rule.metric == "missingValues"
        else []
    )
    return replace(rule, metric="missingValues", arguments={"missingValues": markers} if markers else {})


def _unnamed(rule: Quality) -> Quality:
    return replace(rule, name="", dimension="")


def _substance(rule: Quality) -> Quality:
    return replace(_unnamed(rule), severity="")


def _identity(rule: Quality) -> tuple[str, str, str]:
    """What a rule measures, apart from its arguments."""
    return rule.kind, rule.metric if rule.kind == "library" else "", rule.engine


def _counted(old: Quality, new: Quality) -> Iterator[Direction]:
    """Of arguments: whether the rule now counts more rows, and what its threshold makes of that."""
    for name in sorted({*old.arguments, *new.arguments}):
        before, after = old.arguments.get(name), new.arguments.get(name)
        if before == after:
            continue
        counts = _COUNTS.get((old.metric, name))
        if counts is None:
            yield "undetermined"
            continue
        for more in counts(before, after):
            yield to.of_count(new.comparisons, _domain(new), more=more)
        if (old.metric, name) == ("invalidValues", "pattern") and before and after:
            yield "undetermined"


def _longer_list_counts(more: bool) -> Callable[[object, object], list[bool]]:
    def counts(old: object, new: object) -> list[bool]:
        before, after = ({to.key(v) for v in values} if isinstance(values, list) else set() for values in (old, new))
        return [more] * bool(after - before) + [not more] * bool(before - after)

    return counts


def _valid_values(old: object, new: object) -> list[bool]:
    if old is None or new is None:
        return [old is None]
    return _longer_list_counts(False)(old, new)


def _pattern(old: object, new: object) -> list[bool]:
    return [old is None] if old is None or new is None else []


_COUNTS: Mapping[tuple[str, str], Callable[[object, object], list[bool]]] = {
    ("missingValues", "missingValues"): _longer_list_counts(True),
    # Rows that are equal in more columns are fewer.
    ("duplicateValues", "properties"): _longer_list_counts(False),
    ("invalidValues", "validValues"): _valid_values,
    ("invalidValues", "pattern"): _pattern,
}


def _paired(old: Sequence[Quality], new: Sequence[Quality]) -> Iterator[tuple[Quality | None, Quality | None]]:
    """Rules that belong together: of the same name, else equal, else of what they measure, in an order of their own."""
    left, right = sorted(old, key=_canonical), sorted(new, key=_canonical)
    for same in (_same_name, _equal, _same_check, _same_kind):
        for rule in list(left):
            match = next((other for other in right if same(rule, other)), None)
            if match is not None:
                left.remove(rule)
                right.remove(match)
                yield rule, match
    yield from ((rule, None) for rule in left)
    yield from ((None, rule) for rule in right)


def _same_name(old: Quality, new: Quality) -> bool:
    return bool(old.name) and old.name == new.name


def _equal(old: Quality, new: Quality) -> bool:
    return _substance(old) == _substance(new)


def _same_check(old: Quality, new: Quality) -> bool:
    return _identity(old) == _identity(new) and (old.arguments, old.query) == (new.arguments, new.query)


def _same_kind(old: Quality, new: Quality) -> bool:
    return not (old.name and new.name) and _identity(old) == _identity(new)


def _canonical(rule: Quality) -> str:
    return repr((_describe(rule), rule.name, rule.dimension))


def _describe(rule: Quality) -> str:
    """The rule for people, and the same for equal rules."""
    what = rule.metric or rule.query or rule.engine or rule.kind
    if rule.kind == "custom":
        what += f" {json.dumps(rule.implementation, sort_keys=True, default=str)}"
    if rule.arguments:
        what += f" {json.dumps(rule.arguments, sort_keys=True, default=str)}"
    bounds = " and ".join(f"{c.operator} {', '.join(map(str, c.values))}".strip() for c in rule.comparisons)
    unit = " percent" if rule.unit == "percent" and bounds else ""
    severity = f" (severity {rule.severity})" if rule.severity else ""
    return f"{what} {bounds}{unit}".strip() + severity
