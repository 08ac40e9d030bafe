"""Whether training and serving see the same features: distributions, and the same rows beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from weir.api.distribution import Parity, ProfileParity, RowReplay
from weir.contract.model import Document
from weir.contract.profile import ColumnProfile
from weir.stats.distance import total_variation

from .ask import Deadline, ask
from .outcome import Check, Outcome, Undecidable, number, unknown
from .profiling import profile_table
from .sides import shared_properties, side, table_of
from .tables import Servers

_NAMED = 5


def outcomes(parity: Parity, document: Document, servers: Servers, deadline: Deadline) -> Iterator[Outcome]:
    """The outcome of every property of ``profile``, and of ``rowReplay``; on all rows of both servers."""
    for rule in parity.profile or ():
        table, _, column = rule.property.partition(".")
        outcome = Outcome("parity", table=table, column=column, expected=_expected(rule))
        try:
            deadline.left()
            yield _profiled(parity, rule, outcome, document, servers)
        except Exception as error:
            yield unknown(outcome, error)
    if parity.row_replay is not None:
        yield from _replayed(parity, parity.row_replay, document, servers, deadline)


def _expected(rule: ProfileParity) -> str:
    return f"a total variation distance of at most {number(float(rule.tolerance))}"


def _profiled(parity: Parity, rule: ProfileParity, outcome: Outcome, document: Document, servers: Servers) -> Outcome:
    table = next((t for t in document.tables if rule.property.startswith(f"{t.name}.")), None)
    column = table.column(rule.property.removeprefix(f"{table.name}.")) if table is not None else None
    if table is None or column is None:
        raise Undecidable("the document has no such property")
    before = profile_table(servers.source(parity.training, table).rows, [column])
    after = profile_table(servers.source(parity.serving, table).rows, [column], reference=before)
    first, second = before.columns.get(column.name), after.columns.get(column.name)
    if first is None or second is None:
        raise Undecidable("one side lacks the property, or has it in another type")
    distance = total_variation(first.rows.counts, _counts(second, first))
    observed = f"a distance of {number(round(distance, 4))}"
    if distance <= float(rule.tolerance):
        return replace(outcome, observed=observed)
    message = (
        f"{outcome.place}: the distributions on {parity.training} and {parity.serving} have {observed}; "
        f"the contract allows {number(float(rule.tolerance))}"
    )
    return replace(outcome, verdict="Fail", observed=observed, message=message)


def _counts(column: ColumnProfile, reference: ColumnProfile) -> Sequence[int]:
    binned = column.binned_as(reference)
    if binned is None:
        raise Undecidable("the two sides cannot be counted in the same bins")
    if not binned.total or not reference.rows.total:
        raise Undecidable("one side has no rows")
    return binned.counts


def _replayed(
    parity: Parity, replay: RowReplay, document: Document, servers: Servers, deadline: Deadline
) -> Iterator[Outcome]:
    outcome = _replay_outcome(replay)
    try:
        table = table_of(document, replay.object)
        properties = replay.properties or shared_properties(servers, parity.training, parity.serving, table)
        compared = [name for name in properties if name not in replay.join_key]
        if not compared:
            raise Undecidable("the two servers have no property in common besides the join key")
        chosen = [*replay.join_key, *compared]
        training = side(servers, parity.training, table, chosen)
        serving = side(servers, parity.serving, table, chosen)
        yield from ask(None, [_check(parity, replay, compared, (training, serving))], deadline)
    except Exception as error:
        yield unknown(outcome, error)


def _replay_outcome(replay: RowReplay) -> Outcome:
    allowed = number(float(replay.max_mismatch_ratio) * 100)
    return Outcome("rowReplay", table=replay.object, expected=f"at most {allowed} percent of rows differ")


def _check(parity: Parity, replay: RowReplay, compared: Sequence[str], sides: tuple[Any, Any]) -> Check:
    outcome, keys = _replay_outcome(replay), list(replay.join_key)
    training, serving = sides
    differs = {f"d{i}": name for i, name in enumerate(compared)}
    joined = _once(training, keys).inner_join(_once(serving, keys), keys, rname="{name}__serving")
    joined = joined.mutate(
        **{
            label: _differ(joined[name], joined[f"{name}__serving"], float(replay.tolerance))
            for label, name in differs.items()
        }
    )
    anywhere = joined[next(iter(differs))]
    for label in list(differs)[1:]:
        anywhere = anywhere | joined[label]
    counts = joined.aggregate(
        rows=joined.count(),
        repeated=joined.count(where=(joined.weir_rows > 1) | (joined.weir_rows__serving > 1)),
        mismatched=anywhere.sum(),
        **{label: joined[label].sum() for label in differs},
    )

    def judge(values: Sequence[Any]) -> Outcome:
        rows, repeated, mismatched = (int(value or 0) for value in values[:3])
        if not rows:
            raise Undecidable(f"no row of {parity.training} and {parity.serving} has the same {', '.join(keys)}")
        if repeated:
            raise Undecidable(f"{', '.join(keys)} find more than one row on a side; the joinKey must be unique")
        ratio = mismatched / rows
        observed = f"{mismatched} of {rows} joined rows differ ({number(round(ratio * 100, 4))} percent)"
        if ratio <= float(replay.max_mismatch_ratio):
            return replace(outcome, observed=observed)
        worst = sorted(zip(values[3:], compared, strict=True), key=lambda pair: -int(pair[0] or 0))
        named = ", ".join(f"{name} ({int(count)})" for count, name in worst[:_NAMED] if count)
        message = (
            f"{outcome.place}: {observed} between {parity.training} and {parity.serving}, by property: {named}; "
            f"the contract allows {number(float(replay.max_mismatch_ratio) * 100)} percent"
        )
        return replace(outcome, verdict="Fail", observed=observed, message=message)

    return Check(outcome, judge, alone=(counts,))


def _once(rows: Any, keys: Sequence[str]) -> Any:
    """One row for each key, with the number of rows that had it: so a key that repeats is seen, not multiplied."""
    others = [name for name in rows.columns if name not in keys]
    return rows.group_by(list(keys)).aggregate(
        weir_rows=rows.count(), **{name: rows[name].arbitrary() for name in others}
    )


def _differ(left: Any, right: Any, tolerance: float) -> Any:
    if left.type().is_numeric() and right.type().is_numeric() and tolerance > 0:
        apart = (left.cast("float64") - right.cast("float64")).abs() > tolerance
        return apart.fill_null(False) | (left.isnull() != right.isnull())
    return ~left.identical_to(right)
