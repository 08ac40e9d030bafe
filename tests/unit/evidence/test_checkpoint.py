"""What counters said survives as text, and what was missed meanwhile is counted once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir.evidence.checkpoint import MAX_TEXT, Amounts, Standing, decode, encode, missed
from weir.release.observation import Arm

UNITS = st.text(st.characters(exclude_characters=";", exclude_categories=["Cs"]), min_size=1, max_size=40)
AMOUNTS = st.lists(st.integers(-100, 10**12) | st.floats(0, 1e12), min_size=1, max_size=5).map(tuple)
PROCESSES = st.none() | st.floats(0, 2e9)
STANDINGS = st.dictionaries(UNITS, st.builds(Standing, AMOUNTS, PROCESSES), max_size=6)


@given(candidate=STANDINGS, stable=STANDINGS, end=st.integers(0, 10**13))
def test_given_any_counters_when_stored_then_they_read_back_equal(
    candidate: dict[str, Standing], stable: dict[str, Standing], end: int
) -> None:
    standings: dict[Arm, dict[str, Standing]] = {"candidate": candidate, "stable": stable}
    assert decode("q", encode("q", end / 1000, standings)) == (end / 1000, standings)


def test_given_a_unit_that_counted_nothing_when_stored_then_it_reads_back_as_zero() -> None:
    found = decode("q", encode("q", 1.0, {"stable": {"a": Standing()}}))
    assert found == (1.0, {"candidate": {}, "stable": {"a": Standing((0,))}})


def test_given_more_pods_than_fit_when_stored_then_the_first_ones_are_kept_whole() -> None:
    pods = {f"pod-{i:04}-{'x' * 40}": Standing((i, i), 1.7e9) for i in range(2000)}
    text = encode("q", 1.0, {"candidate": {"mine": Standing((3, 1))}, "stable": pods})
    assert MAX_TEXT - 100 < len(text) <= MAX_TEXT
    found = decode("q", text)
    assert found is not None
    kept = found[1]["stable"]
    assert list(kept) == list(pods)[: len(kept)]
    assert found[1]["candidate"] == {"mine": Standing((3, 1))}


@pytest.mark.parametrize(
    "text",
    ["", "nonsense", "x@1.000", "{stamp}@later", "{stamp}@1.000;c a=@1/x", "{stamp}@1.000;z a=@1", "{stamp}@1;c"],
)
def test_given_text_that_is_none_when_read_then_there_is_nothing_to_go_on_from(text: str) -> None:
    stamp = encode("q", 0.0, {}).partition("@")[0]
    assert decode("q", text.replace("{stamp}", stamp)) is None


def test_given_counters_of_another_question_when_read_then_there_is_nothing_to_go_on_from() -> None:
    text = encode("http_requests_total", 1.0, {"stable": {"a": Standing((4, 1))}})
    assert decode("other_requests_total", text) is None


@pytest.mark.parametrize(
    ("before", "now", "rebase", "gained"),
    [
        (Standing((10, 1)), Standing((15, 3)), False, (5, 2)),
        (Standing((10, 1)), Standing((4, 0)), False, (4, 0)),
        (Standing((10, 1)), Standing((4, 0)), True, (0, 0)),
        (Standing((10, 1), 7.0), Standing((40, 2), 8.0), False, (40, 2)),
        (Standing((10, 1), 7.0), Standing((9, 1), 7.0), False, (0, 0)),
        (Standing((10, 1), 7.0), Standing((12, 1)), False, (2, 0)),
        (Standing((10, 1)), Standing((12, 1, 0)), False, (12, 1, 0)),
        (Standing((-3, 0)), Standing((4, 1)), False, (7, 1)),
        (Standing(), Standing((4, 1)), False, (4, 1)),
    ],
)
def test_given_what_was_known_when_a_unit_is_read_again_then_it_gained_the_rest(
    before: Standing, now: Standing, rebase: bool, gained: Amounts
) -> None:
    assert missed(before, now, rebase=rebase) == gained
