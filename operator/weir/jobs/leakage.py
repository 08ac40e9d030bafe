"""Rows of the training data that other data holds, too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from weir.api.distribution import Leakage
from weir.contract.model import Document

from .ask import Deadline, ask
from .outcome import Check, Outcome, Undecidable, number, unknown
from .sides import shared_properties, side, table_of
from .tables import Servers


def outcomes(rules: Sequence[Leakage], document: Document, servers: Servers, deadline: Deadline) -> Iterator[Outcome]:
    """The outcome of every leakage rule, each on all rows of both servers."""
    for rule in rules:
        outcome = Outcome("leakage", table=rule.object, name=rule.name, expected=_expected(rule))
        try:
            check = _check(rule, outcome, document, servers)
            yield from ask(None, [check], deadline)
        except Exception as error:
            yield unknown(outcome, error)


def _expected(rule: Leakage) -> str:
    return (
        f"at most {number(float(rule.max_shared_ratio) * 100)} percent of the rows of {rule.other} in {rule.training}"
    )


def _check(rule: Leakage, outcome: Outcome, document: Document, servers: Servers) -> Check:
    table = table_of(document, rule.object)
    key = list(rule.key or shared_properties(servers, rule.training, rule.other, table))
    if not key:
        raise Undecidable("the two servers have no property in common")
    training = side(servers, rule.training, table, key)
    other = side(servers, rule.other, table, key)
    known = training.distinct().mutate(weir_known=True)
    # Nulls are equal here: a row is the same row even where both sides lack a value.
    joined = other.left_join(known, [other[name].identical_to(known[name]) for name in key])
    counts = joined.aggregate(shared=joined.weir_known.count(), rows=joined.count())

    def judge(values: Sequence[Any]) -> Outcome:
        shared, rows = int(values[0] or 0), int(values[1] or 0)
        if not rows:
            raise Undecidable(f"there are no rows on the server {rule.other}")
        ratio = shared / rows
        observed = f"{shared} of {rows} rows ({number(ratio * 100)} percent)"
        if ratio <= float(rule.max_shared_ratio):
            return replace(outcome, observed=observed)
        message = f"{rule.object}: {observed} of {rule.other} are also in {rule.training}; the contract allows "
        allowed = f"{number(float(rule.max_shared_ratio) * 100)} percent"
        return replace(outcome, verdict="Fail", observed=observed, message=message + allowed)

    return Check(outcome, judge, alone=(counts,))
