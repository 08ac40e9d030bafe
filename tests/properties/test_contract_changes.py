"""Promises of the comparison of contracts: what it says of two sets of data is true of every row."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.properties.contract_rows import (
    Odcs,
    accepts,
    changed,
    contracts,
    data,
    edges,
    twins,
    value_accepts,
)
from weir.contract.compare import changes, is_widening
from weir.contract.document import parse
from weir.contract.finding import Change
from weir.contract.revision import Revision

_slow = settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


_EMPTY: Odcs = {"apiVersion": "v3.2.0", "kind": "DataContract", "id": "c", "version": "1"}


@st.composite
def _pairs(draw: st.DrawFn) -> tuple[Odcs, Odcs]:
    first = draw(contracts())
    return first, draw(changed(first))


def _revision(odcs: Odcs) -> Revision:
    return Revision("c", "sha256:0", parse(odcs))


def _changes(old: Odcs, new: Odcs) -> tuple[Change, ...]:
    return changes(_revision(old), _revision(new))


def _never(seen: Sequence[Change], *directions: str) -> bool:
    return not any(change.direction in (*directions, "both", "undetermined") for change in seen)


@settings(deadline=None, max_examples=300)
@given(twins())
def test_the_direction_of_limits_is_true_of_every_value_at_their_edges(pair: tuple[Odcs, Odcs]) -> None:
    old, new = ({**_EMPTY, "schema": [{"name": "t", "properties": [column]}]} for column in pair)
    seen = _changes(old, new)
    values = edges(*pair)

    came = [value for value in values if value_accepts(value, pair[1]) and not value_accepts(value, pair[0])]
    gone = [value for value in values if value_accepts(value, pair[0]) and not value_accepts(value, pair[1])]

    assert not came or not _never(seen, "loosens")
    assert not gone or not _never(seen, "tightens")


@_slow
@given(st.data(), _pairs())
def test_where_nothing_loosens_every_row_of_the_new_contract_is_one_of_the_old(
    drawn: st.DataObject, pair: tuple[Odcs, Odcs]
) -> None:
    old, new = pair
    assume(_never(_changes(old, new), "loosens"))

    rows = drawn.draw(data(new, old))

    assert not accepts(rows, new) or accepts(rows, old)


@_slow
@given(st.data(), _pairs())
def test_where_nothing_tightens_every_row_of_the_old_contract_is_one_of_the_new(
    drawn: st.DataObject, pair: tuple[Odcs, Odcs]
) -> None:
    old, new = pair
    assume(_never(_changes(old, new), "tightens"))

    rows = drawn.draw(data(old, new))

    assert not accepts(rows, old) or accepts(rows, new)


@_slow
@given(contracts())
def test_a_contract_does_not_differ_from_itself(odcs: Odcs) -> None:
    assert _changes(odcs, copy.deepcopy(odcs)) == ()


@_slow
@given(_pairs())
def test_the_way_back_is_the_reverse(pair: tuple[Odcs, Odcs]) -> None:
    old, new = pair
    opposite = {"tightens": "loosens", "loosens": "tightens"}

    there = sorted((c.rule, c.path, opposite.get(c.direction, c.direction), c.new, c.old) for c in _narrow(old, new))
    back = sorted((c.rule, c.path, c.direction, c.old, c.new) for c in _narrow(new, old))

    assert there == back


def _narrow(old: Odcs, new: Odcs) -> list[Change]:
    """Without the change of a number to an integer, which is `both` while its reverse only loosens."""
    back = [(change.old, change.new) for change in _changes(new, old) if is_widening(change)]
    return [
        c
        for c in _changes(old, new)
        if not is_widening(c) and not (c.rule == "type-changed" and (c.new, c.old) in back)
    ]


@_slow
@given(st.data(), contracts())
def test_what_never_loosens_in_two_steps_permits_nothing_new_in_one(drawn: st.DataObject, first: Odcs) -> None:
    second = drawn.draw(changed(first))
    third = drawn.draw(changed(second))
    assume(_never(_changes(first, second), "loosens") and _never(_changes(second, third), "loosens"))

    assert _never(_changes(first, third), "loosens")


@_slow
@given(st.data(), _pairs())
def test_the_order_of_tables_columns_and_rules_says_nothing(drawn: st.DataObject, pair: tuple[Odcs, Odcs]) -> None:
    old, new = pair

    assert _changes(_shuffled(drawn, old), _shuffled(drawn, new)) == _changes(old, new)


def _shuffled(drawn: st.DataObject, node: Any) -> Any:
    """The same with every list of named entries in another order."""
    if isinstance(node, dict):
        return {key: _shuffled(drawn, value) for key, value in node.items()}
    if isinstance(node, list) and all(isinstance(entry, dict) for entry in node):
        return [_shuffled(drawn, entry) for entry in drawn.draw(st.permutations(node))]
    return node
