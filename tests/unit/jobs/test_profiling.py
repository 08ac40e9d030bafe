"""Profiles of tables: bins, top values, nulls, and what is left out for privacy."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import duckdb
import ibis
import numpy as np
import psycopg
import pyarrow as pa
import pytest

from tests.unit.postgres import postgres
from weir.contract.client import Fingerprint
from weir.contract.model import Column
from weir.contract.profile import ColumnProfile, Profile, TableProfile
from weir.jobs import profiling
from weir.jobs.profiling import profile_table

N = 5000


def table(**columns: Any) -> ibis.Table:
    connection = duckdb.connect()
    connection.register("arrow", pa.table(columns))
    connection.execute("CREATE TABLE rows AS SELECT * FROM arrow")
    return ibis.duckdb.from_connection(connection).table("rows")


def profiled(found: ibis.Table, *columns: Column | str, **more: Any) -> TableProfile:
    return profile_table(found, [Column(c) if isinstance(c, str) else c for c in columns], **more)


def one(values: Any, *, column: Column | None = None, **more: Any) -> ColumnProfile:
    return profiled(table(c=values), column or Column("c"), **more).columns["c"]


def test_given_numbers_when_profiled_then_the_bins_are_of_about_equal_size() -> None:
    values = np.random.default_rng(1).lognormal(size=N)
    found = one(values)
    assert len(found.counts) == 10
    assert sum(found.counts) == N
    assert min(found.counts) > N / 10 * 0.7
    assert found.distinct == pytest.approx(N, rel=0.1)
    # then they are counted, not estimated
    assert found.counts[0] == int((values <= float(found.edges[0])).sum())
    assert min(values) < float(found.edges[0])
    assert max(values) > float(found.edges[-1])


def test_given_nulls_and_nan_when_profiled_then_both_are_nulls() -> None:
    found = one(pa.array([1.0, 2.0, None, float("nan"), float("inf"), 3.0] * 50))
    assert found.nulls == 100
    assert sum(found.counts) == 200
    assert found.counts[-1] >= 50


def test_given_few_values_when_profiled_then_every_bin_holds_some() -> None:
    found = one([0] * 700 + [1] * 200 + [2] * 100)
    assert [float(edge) for edge in found.edges] == [0, 1]
    assert found.counts == (700, 200, 100)


@pytest.mark.parametrize("values", [[7] * 50, [7], [None, None], []])
def test_given_hardly_any_values_when_profiled_then_it_can_still_be_compared(values: list[int | None]) -> None:
    found = one(pa.array(values, pa.int64()))
    assert found.numeric
    assert found.rows.total == len(values)
    assert (
        profiled(table(c=pa.array(values, pa.int64())), "c", reference=TableProfile(0, {"c": found})).columns["c"].rows
        == found.rows
    )


def test_given_decimals_and_large_integers_when_profiled_then_they_are_numbers() -> None:
    found = one(pa.array([1_700_000_000_000 + i for i in range(N)]))
    assert len(found.counts) == 10
    prices = pa.array([i / 100 for i in range(N)]).cast(pa.float64()).cast(pa.decimal128(10, 2))
    assert len(one(prices).counts) == 10


def test_given_dates_and_timestamps_when_profiled_then_they_are_seconds_since_1970() -> None:
    days = [datetime.date(2026, 1, 1) + datetime.timedelta(days=i) for i in range(300)]
    times = [datetime.datetime(2026, 1, 1) + datetime.timedelta(days=i) for i in range(300)]
    for values in (days, times):
        found = one(values)
        assert len(found.counts) == 10
        assert 1_767_225_600 < float(found.edges[0]) < float(found.edges[-1]) < 1_767_225_600 + 300 * 86400


def test_given_texts_when_profiled_then_the_most_frequent_are_listed_in_a_fixed_order() -> None:
    found = one(["DE"] * 40 + ["FR"] * 20 + ["AT"] * 20 + [None] * 5)
    assert found == ColumnProfile(5, 3, top=(("DE", 40), ("AT", 20), ("FR", 20)))
    assert one([True] * 3 + [False] * 2).top == (("true", 3), ("false", 2))
    many = one([f"v{i % 40:02}" for i in range(N)])
    assert len(many.top) == profiling.TOP
    assert many.other == N - sum(count for _, count in many.top)


def test_given_long_or_unique_texts_when_profiled_then_they_are_not_listed() -> None:
    assert one([f"user-{i}" for i in range(N)]).top == ()
    found = one(["x" * 65] * 50 + ["ok"] * 10)
    assert (found.top, found.other) == ((("ok", 10),), 50)


@pytest.mark.parametrize("kind", ["number", "text"])
def test_given_a_classification_when_profiled_then_no_value_is_shown(kind: str) -> None:
    secret = Column("c", classification="restricted")
    if kind == "text":
        found = one(["DE"] * 40 + ["FR"] * 20 + [None], column=secret)
        assert found == ColumnProfile(1, 2, other=60)
        return
    found = one(np.random.default_rng(1).normal(51_234.5, 9_876.5, N), column=secret)
    assert len(found.counts) > 5
    assert all(len(edge.replace(".", "").split("e")[0].strip("-0")) <= 3 for edge in found.edges)


def test_given_nested_and_odd_types_when_profiled_then_only_nulls_are_counted() -> None:
    found = profiled(table(a=[[1], None, [2]], b=[{"x": 1}] * 3, t=[datetime.time(1)] * 3), "a", "b", "t")
    assert found.columns["a"] == ColumnProfile(1, other=2)
    assert found.columns["b"] == ColumnProfile(0, other=3)
    assert found.columns["t"] == ColumnProfile(0, 1, other=3)


def test_given_physical_names_when_profiled_then_the_profile_has_the_properties() -> None:
    found = profiled(table(AMT=[1.0, 2.0]), Column("amount", physical_name="amt"), Column("missing"))
    assert list(found.columns) == ["amount"]
    assert found.rows == 2


def test_given_a_reference_when_profiled_then_rows_are_counted_in_its_bins() -> None:
    rng = np.random.default_rng(2)
    before = profiled(table(x=rng.normal(size=N), k=["a"] * 3000 + ["b"] * 2000), "x", "k")
    values = rng.normal(1.0, 1.0, size=N)
    after = profiled(table(x=values, k=["b"] * 1000 + ["c"] * 3500 + [None] * 500), "x", "k", reference=before)
    edges = [float(edge) for edge in before.columns["x"].edges]
    assert after.columns["x"].edges == before.columns["x"].edges
    assert list(after.columns["x"].counts) == np.histogram(values, [-np.inf, *edges, np.inf])[0].tolist()
    assert after.columns["k"].binned_as(before.columns["k"]) == after.columns["k"].rows
    assert after.columns["k"].rows.counts == (0, 1000, 3500, 500)


def test_given_numbers_that_became_text_when_profiled_then_the_column_is_left_out() -> None:
    before = profiled(table(x=[1.0, 2.0], k=["1", "2"]), "x", "k")
    after = profiled(table(x=["1", "2"], k=[1, 7]), "x", "k", reference=before)
    assert list(after.columns) == ["k"]
    assert after.columns["k"].rows.counts == (1, 0, 1, 0)


def test_given_a_new_column_when_profiled_by_a_reference_then_it_gets_bins_of_its_own() -> None:
    before = profiled(table(x=[1.0]), "x")
    assert len(profiled(table(x=[1.0] * 50, y=list(range(50))), "x", "y", reference=before).columns["y"].edges) > 5


def test_given_more_aggregates_than_one_query_may_hold_when_profiled_then_all_are_counted() -> None:
    rng = np.random.default_rng(3)
    names = [f"c{i}" for i in range(60)]
    found = profiled(table(**{name: rng.normal(size=500) for name in names}), *names, bins=20)
    assert len(found.columns) * 19 > 2 * profiling._AT_ONCE
    assert all(sum(column.counts) == 500 for column in found.columns.values())


def test_given_the_client_when_it_counts_the_same_rows_then_the_bins_are_the_same() -> None:
    values = [1.5, None, 7.25, float("nan"), 3.0, 3.0, 100.0] * 20
    texts = ["a", "b", None, "c", "a", "a", "b"] * 20
    days = [datetime.date(2026, 1, 1 + i % 20) for i in range(140)]
    seen = profiled(table(x=values, k=texts, d=days), "x", "k", "d")
    registry_free = Fingerprint.load(Profile({"t": seen}).to_json(), registry=None)
    for value, text, day in zip(values, texts, days, strict=True):
        registry_free.observe({"t.x": value, "t.k": text, "t.d": day})
    samples = {
        (s.name, s.labels["property"], s.labels.get("le") or s.labels.get("value")): s.value
        for family in registry_free.collect()
        for s in family.samples
    }
    for name in ("x", "d"):
        column, total = seen.columns[name], 0
        assert samples["weir_feature_value_null_total", f"t.{name}", None] == column.nulls
        for edge, count in zip((*column.bounds, "+Inf"), column.counts, strict=True):
            total += count
            label = edge if edge == "+Inf" else repr(edge)
            assert samples["weir_feature_value_bucket", f"t.{name}", label] == total
    assert [samples["weir_feature_value_top_total", "t.k", v] for v, _ in seen.columns["k"].top] == [60, 40, 20]


@pytest.fixture
def connection() -> Iterator[psycopg.Connection[Any]]:
    with postgres() as address, psycopg.connect(address, autocommit=True) as connection:
        yield connection


def test_given_rows_in_postgres_when_profiled_there_then_it_is_as_in_a_file(
    connection: psycopg.Connection[Any],
) -> None:
    connection.execute(
        "CREATE TABLE t AS SELECT i::float8 / 7 AS x, (i % 4)::numeric(10, 2) AS d, i % 2 = 0 AS flag,"
        " CASE WHEN i % 10 = 0 THEN NULL ELSE 'c' || (i % 3) END AS k, date '2026-01-01' + i % 300 AS day,"
        " CASE WHEN i % 5 = 0 THEN 'NaN'::float8 ELSE i END AS f FROM generate_series(1, 3000) AS i"
    )
    names = ["x", "d", "flag", "k", "day", "f"]
    there = ibis.postgres.from_connection(connection).table("t")
    here = table(**{name: there[name].to_pyarrow() for name in names})
    reference = profiled(there, *names)
    assert profiled(there, *names, reference=reference).columns == reference.columns
    found = profiled(here, *names, reference=reference).columns
    assert {name: column.rows for name, column in found.items()} == {
        name: column.rows for name, column in reference.columns.items()
    }
    assert reference.columns["f"].nulls == 600
    assert reference.columns["k"].nulls == 300
    assert [len(reference.columns[name].counts) for name in ("x", "f", "day")] == [10, 10, 10]
