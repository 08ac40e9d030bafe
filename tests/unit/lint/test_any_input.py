"""Whatever is in a file, lint answers: it never raises, and every finding stands inside the text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.api.cases import edited
from tests.api.objects import GOOD
from weir.api import API_VERSION
from weir.lint import CODES, Load, Options, Report, Source, lint

ALL = Options(load=Load(50.0))
SAMPLES = sorted((Path(__file__).parents[3] / "manifests" / "samples").rglob("*.yaml"))
TEXTS = [path.read_text() for path in SAMPLES if API_VERSION in path.read_text()]

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=6),
    st.sampled_from(
        ["0s", "10m", "1e400", "NaN", "0.5", "Traffic(25)", "9999-12-31T23:59:59-05:00", "Approve", "custom"]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["name", "path", "a"]), inner, max_size=3)
    ),
    max_leaves=4,
)
PIECES = st.sampled_from(
    [
        "\n",
        " ",
        "  ",
        ":",
        "- ",
        "{",
        "}",
        "[",
        "]",
        '"',
        "'",
        "|",
        ">",
        "&a ",
        "*a",
        "!",
        "<<: ",
        "\t",
        "#",
        "---\n",
        "é",
        "0",
    ]
)


def paths(value: Any, prefix: str = "") -> Iterator[str]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        if "." not in str(key):
            yield f"{prefix}{key}"
            yield from paths(child, f"{prefix}{key}.")


def is_in_order(report: Report, text: str) -> None:
    lines = text.count("\n") + 1
    for finding in report.findings:
        assert 1 <= finding.mark.line <= lines + 1
        assert finding.mark.column >= 1
        assert finding.code in CODES
        assert finding.message


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_given_any_value_at_any_place_when_linted_then_there_is_an_answer(data: st.DataObject) -> None:
    kind, _, spec = data.draw(st.sampled_from(GOOD))
    manifest = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": "digits", "labels": {}}, "spec": spec}
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(sorted(paths(manifest))))
        manifest = edited(manifest, {path: data.draw(VALUES)})
    text = json.dumps(manifest, indent=1)

    is_in_order(lint([Source("f.yaml", text)], ALL), text)


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_given_text_that_was_damaged_when_linted_then_there_is_an_answer(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(TEXTS))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        text = text[:start] + data.draw(PIECES) + text[start + data.draw(st.integers(0, 5)) :]

    is_in_order(lint([Source("f.yaml", text)], ALL), text)


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=60))
def test_given_any_text_when_linted_then_there_is_an_answer(text: str) -> None:
    is_in_order(lint([Source("f.yaml", text)]), text)
