"""Profiles: their JSON, their bins, and what is left out to fit."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from weir.api.contractcheck import PROFILE_BYTES
from weir.contract.profile import BinCounts, ColumnProfile, Profile, ProfileError, TableProfile

AMOUNT = ColumnProfile(nulls=2, distinct=90, edges=("10", "20.5", "1e+03"), counts=(4, 3, 2, 1))
COUNTRY = ColumnProfile(distinct=7, top=(("DE", 6), ("FR", 3)), other=3)
PROFILE = Profile({"shop.orders": TableProfile(12, {"amount": AMOUNT, "country": COUNTRY})}, contract="sha256:ab")


def counted(values: list[float | None], edges: list[float]) -> ColumnProfile:
    """The profile of those values."""
    counts = [0] * (len(edges) + 1)
    for value in values:
        if value is not None:
            counts[bisect_left(edges, value)] += 1
    return ColumnProfile(values.count(None), edges=tuple(map(repr, edges)), counts=tuple(counts))


def test_given_a_profile_when_written_then_it_is_canonical_and_reads_back_the_same() -> None:
    text = PROFILE.to_json()
    assert Profile.from_json(text) == PROFILE
    assert text.encode() == rfc8785.dumps(json.loads(text))
    assert set(json.loads(text)["tables"]["shop.orders"]["columns"]["country"]) == {"nulls", "distinct", "top", "other"}


def test_given_the_same_content_when_digested_then_order_does_not_matter() -> None:
    columns = {"country": COUNTRY, "amount": AMOUNT}
    assert Profile({"shop.orders": TableProfile(12, columns)}, contract="sha256:ab").digest == PROFILE.digest
    assert Profile(PROFILE.tables).digest != PROFILE.digest
    assert PROFILE.digest.startswith("sha256:")
    assert len(PROFILE.digest) == 71


def test_given_a_path_when_looked_up_then_dots_in_table_names_are_fine() -> None:
    assert PROFILE.column("shop.orders.amount") is AMOUNT
    assert PROFILE.column("shop.orders.none") is None
    assert PROFILE.column("shop.amount") is None
    assert PROFILE.rows == 12


def test_given_columns_when_shown_then_every_bin_has_a_name_and_null_is_the_last() -> None:
    assert AMOUNT.bins == ("≤ 10", "10–20.5", "20.5–1000", "> 1000", "null")
    assert COUNTRY.bins == ("'DE'", "'FR'", "other", "null")
    assert ColumnProfile(counts=(3,)).bins == ("any number", "null")
    for column in (AMOUNT, COUNTRY, ColumnProfile(counts=(3,)), ColumnProfile()):
        assert len(column.bins) == len(column.rows.counts)
    assert AMOUNT.rows == BinCounts((4, 3, 2, 1, 2))
    assert AMOUNT.rows.total == 12


@given(
    st.lists(st.none() | st.integers(-5, 25).map(float), max_size=80),
    st.sets(st.integers(0, 20).map(float), max_size=12),
    st.data(),
)
def test_given_finer_bins_when_taken_into_the_references_then_it_is_as_if_counted_there(
    values: list[float | None], edges: set[float], data: st.DataObject
) -> None:
    fine = sorted(edges)
    coarse = sorted(data.draw(st.sets(st.sampled_from(fine), max_size=5))) if fine else []
    reference = counted([1.0], coarse)
    assert counted(values, fine).binned_as(reference) == counted(values, coarse).rows


def test_given_other_edges_or_text_when_taken_into_the_references_then_it_cannot_be_told() -> None:
    assert counted([1.0], [1.0, 3.0]).binned_as(counted([1.0], [2.0])) is None
    assert AMOUNT.binned_as(COUNTRY) is None
    assert COUNTRY.binned_as(AMOUNT) is None


def test_given_the_same_edges_in_other_words_when_compared_then_they_are_the_same() -> None:
    other = ColumnProfile(edges=("1e1", "20.50", "1000"), counts=(1, 1, 1, 1))
    assert other.binned_as(AMOUNT) == BinCounts((1, 1, 1, 1, 0))


@given(st.lists(st.sampled_from("abcdef"), max_size=60), st.sets(st.sampled_from("abcdef"), max_size=6))
def test_given_all_values_when_taken_into_the_references_then_it_is_as_if_counted_there(
    values: list[str], listed: set[str]
) -> None:
    everything = ColumnProfile(top=tuple(Counter(values).items()))
    reference = ColumnProfile(top=tuple((value, 1) for value in sorted(listed)))
    expected = [values.count(value) for value in sorted(listed)]
    assert everything.binned_as(reference) == BinCounts((*expected, len(values) - sum(expected), 0))


def test_given_a_value_that_may_be_among_other_when_taken_into_the_references_then_it_cannot_be_told() -> None:
    reference = ColumnProfile(top=(("DE", 5), ("US", 5)))
    assert COUNTRY.binned_as(reference) is None
    assert ColumnProfile(top=(("DE", 6), ("FR", 3))).binned_as(reference) == BinCounts((6, 0, 3, 0))


# --- Size ----------------------------------------------------------------------------------------------------------


def wide(numbers: int, texts: int) -> Profile:
    columns = {
        f"n{i}": ColumnProfile(5, 900, tuple(str(e + 0.5) for e in range(20)), (7,) * 21) for i in range(numbers)
    }
    columns |= {f"t{i}": ColumnProfile(0, 900, top=tuple((f"value {v}", 9) for v in range(20))) for i in range(texts)}
    return Profile({"wide": TableProfile(152, columns)})


@pytest.mark.parametrize(("numbers", "texts"), [(150, 0), (200, 200), (0, 300), (2000, 500), (6000, 0)])
def test_given_a_wide_table_when_written_then_it_fits_and_says_what_is_left_out(numbers: int, texts: int) -> None:
    profile = wide(numbers, texts)
    text = profile.to_json()
    read = Profile.from_json(text)
    assert len(text.encode()) <= PROFILE_BYTES
    assert bool(read.dropped) == (read.tables != profile.tables)
    for name, column in read.tables["wide"].columns.items():
        # No row is lost, and what is left can still be compared with the whole profile.
        whole = profile.tables["wide"].columns[name]
        assert column.rows.total == whole.rows.total
        assert whole.binned_as(column) == column.rows


def test_given_little_room_when_written_then_top_values_go_before_bins_and_bins_before_columns() -> None:
    profile = wide(20, 20)
    size = len(profile.to_json(10**9))
    first, second, third = (Profile.from_json(profile.to_json(int(size * part))) for part in (0.8, 0.25, 0.05))
    assert [note.split(" ")[0] for note in first.dropped] == ["top"]
    assert [note.split(" ")[0] for note in second.dropped] == ["top", "bins:"]
    assert [note.split(" ")[0] for note in third.dropped] == ["top", "bins:", "columns:"]
    missing = 40 - len(third.tables["wide"].columns)
    assert third.dropped[-1].startswith(f"columns: {missing}, such as wide.")


def test_given_enough_room_when_written_then_nothing_is_left_out() -> None:
    assert wide(100, 20).fitted().dropped == ()


# --- Refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"nulls": -1}, "negative"),
        ({"edges": ["1"], "counts": [1]}, "1 edges need 2 counts"),
        ({"edges": ["2", "1"], "counts": [1, 1, 1]}, "rise"),
        ({"edges": ["nan"], "counts": [1, 1]}, "finite"),
        ({"edges": ["x"], "counts": [1, 1]}, "no number"),
        ({"edges": ["1"], "counts": [1, 1], "top": [["a", 1]]}, "either bins or top"),
        ({"top": [["a", 1], ["a", 2]]}, "twice"),
        ({"nulls": 1.5}, "no count"),
        ({"nulls": True}, "no count"),
        ({"top": [["a"]]}, "t.c"),
    ],
)
def test_given_a_broken_column_when_read_then_the_error_names_it(column: dict[str, object], message: str) -> None:
    data = {"version": 1, "tables": {"t": {"rows": 1, "columns": {"c": column}}}}
    with pytest.raises(ProfileError, match=message) as caught:
        Profile.from_dict(data)
    assert "t.c" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"version": 2, "tables": {}}', '{"version": 1, "tables": []}', "nul"]
)
def test_given_something_else_when_read_then_it_is_refused(text: str) -> None:
    with pytest.raises(ProfileError):
        Profile.from_json(text)
