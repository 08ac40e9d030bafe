"""The report is written from a small run, says what was not kept, and its pictures are well-formed."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.decisions.__main__ import main
from benchmarks.decisions.measures import Estimate, Measures
from benchmarks.decisions.promotion import promotions
from benchmarks.decisions.report import Results, cells, markdown, pictures, promises
from benchmarks.decisions.study import OURS, STRICT, Row, Run, delayed, rates

SURE = Measures(1000, Estimate(1.0, 0.99, 1.0), Estimate(1800.0, 1700.0, 1900.0), Estimate(36.0, 30.0, 40.0), 8.5)
CALM = replace(SURE, failed=Estimate(0.01, 0.005, 0.02))


@pytest.fixture(scope="module")
def small() -> Results:
    run = Run(6, 1, ["independent 100 rps"], lambda _: None)
    once = Run(6, 1, ["independent 1000 rps"], lambda _: None)
    return Results([*rates(run), *delayed(run)], list(promotions(once)), 6, 1)


def test_given_a_small_run_then_the_report_names_every_decider_and_world(small: Results) -> None:
    text = markdown(small)
    for row in small.rows:
        assert row.world in text
        assert row.decider in text
    assert "not simulated" in text
    assert "nan" not in text


def test_given_a_small_run_then_every_picture_is_xml(small: Results) -> None:
    made = pictures(small)
    assert set(made) == {"false.svg", "exposed.svg", "promotion.svg"}
    for svg in made.values():
        assert ElementTree.fromstring(svg).tag.endswith("svg")


def test_given_a_small_run_then_the_data_file_has_a_line_for_each_cell(small: Results) -> None:
    lines = list(csv.DictReader(io.StringIO(cells(small))))
    assert len(lines) == len(small.rows)
    assert {line["decider"] for line in lines} >= {OURS, STRICT, "Argo, limit 3", "oracle"}


def test_given_the_same_seed_then_the_same_cells_and_pictures(small: Results) -> None:
    run = Run(6, 1, ["independent 100 rps"], lambda _: None)
    again = list(rates(run))
    assert cells(Results(again, [], 6, 1)) == cells(replace(small, rows=small.rows[: len(again)]))
    assert pictures(small) == pictures(small)


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({}, True),
        ({"exposed": Estimate(1951.0, 1900.0, 2000.0)}, False),
    ],
)
def test_given_a_measured_exposure_then_the_promise_says_whether_it_is_kept(
    change: dict[str, Estimate], kept: bool
) -> None:
    row = Row("rates", "independent 100 rps", "2", OURS, replace(SURE, **change))
    found = promises(Results([row], [], 1000, 1))
    assert [p.kept for p in found if "independent 100 rps" in p.name] == [kept]


@pytest.mark.parametrize(("high", "kept"), [(0.05, True), (0.0501, False)])
def test_given_a_cell_without_harm_then_its_upper_bound_decides(high: float, kept: bool) -> None:
    row = Row("rates", "any", "1.1", OURS, replace(CALM, failed=Estimate(0.03, 0.02, high)))
    found = promises(Results([row], [], 1000, 1))
    assert found[0].kept is kept


def test_given_a_directory_then_the_command_writes_the_report_and_says_whether_promises_were_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--replicates", "4", "--families", "rates,latency", "--only", "independent 1 rps;three buckets"]
    assert main([*few, "--docs", str(tmp_path)]) == 1  # four releases prove nothing
    assert "| decider |" in (tmp_path / "decisions.md").read_text()
    assert (tmp_path / "decisions" / "cells.csv").exists()
    assert (tmp_path / "decisions" / "false.svg").exists()
    assert capsys.readouterr().out == ""
