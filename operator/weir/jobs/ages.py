"""How old the data is: the freshness of the DataContract, and latency, freshness and retention of the document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from weir.api.base import seconds
from weir.api.datacontract import DataContractSpec
from weir.api.datacontractstatus import CheckVerdict
from weir.contract.model import Document, Sla

from .checks import Look
from .nodes import Node, nodes
from .outcome import Check, Outcome, Undecidable, number, unknown

_UNITS: Mapping[str, float] = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600.0),
    **dict.fromkeys(("", "d", "day", "days"), 86_400.0),
    **dict.fromkeys(("w", "week", "weeks"), 604_800.0),
    **dict.fromkeys(("mo", "month", "months"), 2_629_800.0),
    **dict.fromkeys(("y", "yr", "year", "years"), 31_557_600.0),
}


def checks(look: Look, spec: DataContractSpec, document: Document, now: float) -> Iterator[Check | Outcome]:
    """What is said of the age of this table's rows. ``now``: Unix time that ages are measured from.

    Nothing is asked of a column that is absent in the environment.
    """
    freshness = spec.freshness
    if freshness is not None and _asked(freshness.element, look, document):
        warn = seconds(freshness.warn_after) if freshness.warn_after else None
        yield _age(look, freshness.element, "freshness", now, allowed=seconds(freshness.fail_after), warn=warn)
    for sla in document.slas:
        rule = {"latency": "freshness", "freshness": "freshness", "ly": "freshness", "retention": "retention"}.get(
            sla.property.lower()
        )
        for element in (part.strip() for part in sla.element.split(",")):
            if rule is None or not _asked(element, look, document):
                continue
            try:
                yield _age(look, element, rule, now, allowed=_allowed(sla), name=sla.property)
            except Undecidable as error:
                yield unknown(Outcome(rule, table=look.table.name, name=sla.property), error)


def snapshots(spec: DataContractSpec) -> frozenset[str]:
    """Servers with a snapshot that was taken for training: it grows old, as it should."""
    named = [spec.reference.server if spec.reference else None, spec.parity.training if spec.parity else None]
    return frozenset(name for name in (*named, *(leak.training for leak in spec.leakage or ())) if name)


def _asked(element: str, look: Look, document: Document) -> bool:
    if _table(element, document) != look.table.name:
        return False
    seen = Document("", "", "", tables=(look.table,))
    return document.column(element) is None or seen.column(element) is not None


def _table(element: str, document: Document) -> str:
    """The table of ``TABLE.COLUMN``; names of tables may hold dots themselves."""
    fitting = [table.name for table in document.tables if element.startswith(f"{table.name}.")]
    return max(fitting, key=len, default="")


def _allowed(sla: Sla) -> float:
    unit = _UNITS.get(sla.unit.lower())
    if unit is None or isinstance(sla.value, bool):
        raise Undecidable(f"its unit {sla.unit!r} is not known")
    try:
        return float(sla.value) * unit
    except (TypeError, ValueError) as error:
        raise Undecidable("its value is not a number") from error


def _age(
    look: Look, element: str, rule: str, now: float, *, allowed: float, warn: float | None = None, name: str = ""
) -> Check | Outcome:
    path = element.removeprefix(f"{look.table.name}.")
    newest = rule == "freshness"
    expected = f"{'newest' if newest else 'oldest'} row at most {_said(allowed)} old"
    outcome = Outcome(rule, table=look.table.name, column=path, name=name, expected=expected)
    found = [
        node
        for node in nodes(look.table, look.source)
        if isinstance(node, Node) and path in {node.path, _physical(node)}
    ]
    if not found or found[0].value is None:
        return unknown(outcome, "the data has no such column")
    node = found[0]
    if not (node.dtype.is_timestamp() or node.dtype.is_date()):
        return unknown(outcome, f"the column holds no times, but {node.dtype}")
    extreme = node.value.max() if newest else node.value.min()

    def judge(values: Sequence[Any]) -> Outcome:
        if values[0] is None:
            raise Undecidable("no row has a time")
        age = now - instant(values[0])
        observed = f"{_said(max(0.0, age))} old"
        verdict: CheckVerdict = "Pass"
        if warn is not None and age > warn:
            verdict = "Warn"
        if age > allowed:
            verdict = "Fail"
        if verdict == "Pass":
            return replace(outcome, observed=observed)
        limit = f"at most {_said(allowed if verdict == 'Fail' or warn is None else warn)}"
        which = "newest" if newest else "oldest"
        message = f"{outcome.place}: the {which} row is {observed}; the contract allows {limit}"
        return replace(outcome, verdict=verdict, observed=observed, message=message)

    if look.sampled:
        return unknown(outcome, "it needs every row, and engine.sampling looks at a sample")
    return Check(outcome, judge, (extreme,))


def _physical(node: Node) -> str:
    return node.column.physical


def instant(value: datetime | date) -> float:
    """Unix time of a value; times without an offset are in UTC, a day starts at midnight."""
    if not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    return (value if value.tzinfo is not None else value.replace(tzinfo=UTC)).timestamp()


def _said(length: float) -> str:
    for size, unit in ((86_400.0, "d"), (3600.0, "h"), (60.0, "m")):
        if length >= 2 * size:
            return f"{number(round(length / size, 1))} {unit}"
    return f"{number(round(length, 1))} s"
