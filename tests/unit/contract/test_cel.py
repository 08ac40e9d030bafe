"""CEL with one variable: what cannot be told is an error, never an answer."""

from __future__ import annotations

from typing import Any

import pytest

from weir.contract.cel import RuleError, compiled, holds, is_path, paths


@pytest.mark.parametrize(
    ("expression", "value", "expected"),
    [
        ("x.a > 0.5", {"a": 1}, True),
        ("x.a > 0.5", {"a": 0.25}, False),
        ("has(x.a) && x.a > 1", {}, False),
        ("x.list.exists(e, e.v > 1)", {"list": [{}, {"v": 2}]}, True),
    ],
)
def test_given_values_when_evaluated_then_true_or_false(expression: str, value: Any, expected: bool) -> None:
    assert holds(expression, "x", value) is expected


@pytest.mark.parametrize(
    ("expression", "value", "said"),
    [
        ("x.a > 1", {}, "Key not found"),
        ("x.list.exists(e, e.v > 1)", {"list": [{}, {"v": 0}]}, "Key not found"),
        ("x.a", {"a": 1}, "1"),
        ("x.n.all(a, x.n.all(b, x.n.all(c, a + b + c >= 0)))", {"n": list(range(300))}, "budget exceeded"),
        ("x.a > 1", {"a": 10**40}, "out of range"),
    ],
)
def test_given_what_cannot_be_told_when_evaluated_then_it_is_an_error_of_one_line(
    expression: str, value: Any, said: str
) -> None:
    with pytest.raises(RuleError) as error:
        holds(expression, "x", value)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("expression", ["", "x.", "y.a > 1", "'text'", "1 + 1", "x.?a"])
def test_given_what_is_no_condition_when_compiled_then_it_is_an_error(expression: str) -> None:
    with pytest.raises(RuleError):
        compiled(expression, "x")


def test_given_an_expression_when_asked_what_it_names_then_paths_without_functions_and_quoted_texts() -> None:
    found = paths("x.a.b > 1 && size(x.list) == 0 && x.l.exists(e, e.v) && x['q'].r == 'x.no' && y.x.no", "x")
    assert list(found) == [("a", "b"), ("list",), ("l",), ("q", "r")]


@pytest.mark.parametrize(
    ("expression", "expected"), [("x.a.b", True), (" x.a ", True), ("x", False), ("x.a > 1", False)]
)
def test_given_an_expression_when_asked_then_a_path_alone_is_told_from_a_condition(
    expression: str, expected: bool
) -> None:
    assert is_path(expression, "x") is expected
