"""The directions of Weir beside the verdicts of the reference implementation, `datacontract breaking`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from reference import reference_python
from tests.unit.contract.mutations import MUTATIONS, Odcs, Pair, good, pairs
from weir.contract.compare import changes
from weir.contract.document import parse
from weir.contract.finding import Direction
from weir.contract.revision import Revision
from weir.contract.validation import problems

DRIVER = Path(__file__).with_name("reference_driver.py")

DIFFERENCES: Mapping[str, str] = {
    "physical type in lower case": "no engine tells DOUBLE from double",
    "physical type in lower case, taken back": "no engine tells DOUBLE from double",
    "integer to number": "every integer is a number: it loosens, and `allow: [Widening]` accepts it",
    "other multiple": "multiples of 4 are multiples of 2; the reference has no check of multipleOf",
    "other multiple, taken back": "multiples of 4 are multiples of 2; the reference has no check of multipleOf",
    "format added": "a format restricts what a model may get; the reference has no check of it",
    "format added, taken back": "a format restricts what a model may get; the reference has no check of it",
    "time zone": "times with and without an offset are different values; the reference has no check of it",
    "time zone, taken back": "times with and without an offset are different values; the reference has no check of it",
    "rows between": "mustBeBetween excludes both ends, as the standard says; the reference includes them",
    "rows between, taken back": "mustBeBetween excludes both ends, as the standard says; the reference includes them",
    "longer retention": "a longer retention permits older rows; the reference checks it but does not compare it",
    "longer retention, taken back": "a longer retention permits older rows; the reference does not compare it",
    "custom rule": "a check of another engine is Unknown here, never a pass, so it promises something",
    "custom rule, taken back": "a check of another engine is Unknown here, never a pass, so it promises something",
    "column of a key removed": "the rest of the key must now be unique alone, which tightens",
    "foreign key": "Weir checks no relationships, so they promise nothing here",
    "foreign key, taken back": "Weir checks no relationships, so they promise nothing here",
}
"""Pairs whose verdicts differ on purpose, and why."""


@pytest.fixture(scope="module")
def compared() -> list[Pair]:
    return list(pairs())


@pytest.fixture(scope="module")
def reference(compared: list[Pair]) -> Mapping[str, Mapping[str, str]]:
    """What the reference says of every pair, asked in one process."""
    asked = json.dumps([{"old": pair.old, "new": pair.new} for pair in compared])
    answered = subprocess.run(
        [str(reference_python()), str(DRIVER)], input=asked, capture_output=True, text=True, check=True, timeout=300
    )
    verdicts: list[Mapping[str, str]] = json.loads(answered.stdout)
    return {pair.name: verdict for pair, verdict in zip(compared, verdicts, strict=True)}


def _revision(odcs: Odcs) -> Revision:
    return Revision("orders", "sha256:0", parse(odcs))


def _verdicts(pair: Pair) -> dict[str, str]:
    """By the reference's scale: consumers are broken by what loosens, producers by what tightens."""
    directions = {change.direction for change in changes(_revision(pair.old), _revision(pair.new))}
    return {"consumer": _level(directions, "loosens"), "producer": _level(directions, "tightens")}


def _level(directions: set[Direction], breaking: Direction) -> str:
    if directions & {breaking, "both"}:
        return "error"
    return "warning" if "undetermined" in directions else "none"


def test_there_are_enough_pairs_of_enough_kinds(compared: list[Pair]) -> None:
    assert len(compared) >= 100
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS) >= 25


def test_the_contract_that_is_mutated_is_a_good_one() -> None:
    assert problems(good()) == ()


def test_verdicts_agree_with_the_reference_but_where_a_reason_is_listed(
    compared: list[Pair], reference: Mapping[str, Mapping[str, str]]
) -> None:
    wrong = {}
    for pair in compared:
        theirs = {side: reference[pair.name][side] for side in ("consumer", "producer")}
        if pair.name not in DIFFERENCES and (ours := _verdicts(pair)) != theirs:
            wrong[pair.name] = (ours, theirs, reference[pair.name]["entries"])

    assert wrong == {}


def test_every_listed_difference_still_differs(
    compared: list[Pair], reference: Mapping[str, Mapping[str, str]]
) -> None:
    known = {pair.name: pair for pair in compared}

    stale = [
        name
        for name in DIFFERENCES
        if all(_verdicts(known[name])[side] == reference[name][side] for side in ("consumer", "producer"))
    ]

    assert stale == []


def test_the_reference_finds_something_of_every_level(reference: Mapping[str, Mapping[str, str]]) -> None:
    assert {verdict["consumer"] for verdict in reference.values()} == {"error", "warning", "none"}
