"""YAML as values of JSON: dates stay texts, bombs stay small."""

from __future__ import annotations

from typing import Any

import pytest

from weir.contract.loading import MOST_NESTED, UnreadableText, load_yaml, nested_too_deeply


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2024-01-31", "2024-01-31"),
        ("2024-01-31T10:00:00Z", "2024-01-31T10:00:00Z"),
        ("!!timestamp 2024-01-31", "2024-01-31"),
        ("08:30:00", "08:30:00"),
        ("y", "y"),
        ("n", "n"),
        ("yes", True),
        ("off", False),
        ("~", None),
        ("1e3", 1000.0),
        ("0.30000000000000004", 0.30000000000000004),
        ("9223372036854775807", 9223372036854775807),
        ("0x1F", 31),
        ("1.0.0", "1.0.0"),
        ("'5'", "5"),
        ('{"a": [1, 2.5, null, true, "x"]}', {"a": [1, 2.5, None, True, "x"]}),
        ("1: a\ntrue: b\nnull: c", {"1": "a", "true": "b", "null": "c"}),
        ("a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}", {"a": {"b": 1}, "c": {"b": 1}, "d": {"b": 1, "e": 2}}),
        ("", None),
    ],
)
def test_given_a_text_when_loaded_then_it_is_what_json_would_hold(text: str, value: Any) -> None:
    loaded = load_yaml(text)

    assert loaded == value
    assert type(loaded) is type(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1", "no YAML"),
        ("a: 1\n---\nb: 2", "no YAML"),
        ("a: 1\nb: 2\na: 3", "line 1: the key 'a' is given twice"),
        ("? [1]\n: 2", "a key must be a plain text"),
        ("!!python/name:os.system x", "has no meaning"),
        ("!!binary aGk=", "has no meaning"),
        ("a: 1e999", "line 1: '1e999' is larger than any number of JSON"),
        ("9" * 5000, "a number of 5000 digits"),
        ("&a [*a]", "contains itself"),
        ("\n\n" + "[" * 300_000, "line 3: nested too deeply"),
        ("a: \x00", "is not allowed"),
        ("a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
         "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]",
         "too large once its aliases are written out"),
    ],
)  # fmt: skip
def test_given_a_text_that_stands_for_nothing_in_json_then_it_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(UnreadableText) as refused:
        load_yaml(text)

    assert said in str(refused.value)


def test_given_values_when_they_nest_as_deep_as_allowed_then_they_pass_and_one_more_does_not() -> None:
    value: Any = 1
    for _ in range(MOST_NESTED - 1):
        value = [value]

    assert not nested_too_deeply(value)
    assert nested_too_deeply([[value]])
