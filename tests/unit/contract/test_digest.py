"""One digest for one meaning, another for another."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.contract.documents import BASE, FULL, document
from weir.api.datacontract import Semantics
from weir.contract.digest import contract_digest

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=20,
)  # fmt: skip


def test_given_a_known_document_then_the_digest_is_that_of_its_canonical_json() -> None:
    # printf '{"odcs":{"apiVersion":"v3.2.0","id":"orders","kind":"DataContract","version":"1.0.0"}}' | sha256sum
    assert contract_digest(BASE) == "sha256:54489ae5445f84ecdf78a8c90cd3fbba6b512ce34bdc18dc8e5c73a7a7092e7a"


def test_given_semantics_then_the_digest_is_of_both_and_an_empty_list_adds_nothing() -> None:
    unit = Semantics(property="orders.amount", unit="EUR")

    assert contract_digest(FULL, []) == contract_digest(FULL)
    assert contract_digest(FULL, [unit]) != contract_digest(FULL)
    other = Semantics(property="orders.amount", unit="USD")
    assert contract_digest(FULL, [unit]) != contract_digest(FULL, [other])


def test_given_another_order_of_fields_or_notation_of_numbers_then_the_digest_is_the_same() -> None:
    backwards = dict(reversed(FULL.items()))

    assert contract_digest(backwards) == contract_digest(FULL)
    assert contract_digest({"a": 1}) == contract_digest({"a": 1.0})
    assert contract_digest({"a": 1e17}) == contract_digest({"a": 10**17})
    assert contract_digest({"a": -0.0}) == contract_digest({"a": 0})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (9223372036854775807, 9223372036854775806),
        (2**53, 2**53 + 1),
        (9223372036854775807, "9223372036854775807"),
        (1, True),
        (0, False),
        (None, ""),
        ("1", 1),
        ([1], [[1]]),
    ],
)
def test_given_two_values_that_differ_then_so_do_the_digests(one: object, other: object) -> None:
    assert contract_digest({"a": one}) != contract_digest({"a": other})


@given(JSON)
def test_given_any_value_when_it_went_through_json_then_its_digest_is_the_same(value: object) -> None:
    again = json.loads(json.dumps(value))

    assert contract_digest({"a": value}) == contract_digest({"a": again})


@pytest.mark.parametrize("value", [math.nan, math.inf, 10**400])
def test_given_what_json_does_not_have_then_there_is_no_digest(value: object) -> None:
    with pytest.raises(ValueError, match="JSON"):
        contract_digest({"a": value})


def test_given_a_document_without_end_then_there_is_no_digest() -> None:
    value: object = 1
    for _ in range(5000):
        value = [value]

    with pytest.raises(ValueError, match="nested too deeply"):
        contract_digest(document(examples=value))
