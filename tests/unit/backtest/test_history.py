from __future__ import annotations

import io
import json

import pytest

from tests.unit.backtest.pasts import EDGES, past
from weir.backtest.history import History, HistoryError, Moment, PodCounts, read, write


def text(history: History) -> list[str]:
    file = io.StringIO()
    write(history, file)
    return file.getvalue().splitlines()


def test_given_a_history_when_written_and_read_then_it_is_the_same() -> None:
    history = past(5, pods=3, latency=True)
    assert read(text(history)) == history


def test_given_lines_by_hand_without_durations_when_read_then_requests_are_there() -> None:
    history = read(['{"format": "weir-backtest/1", "width": 10}', '{"start": 100, "pods": {"a": [20, 1]}}', ""])
    assert history.moments == (Moment(100.0, {"a": PodCounts(20, 1)}),)
    assert history.edges == ()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", "line 2 is no JSON object"),
        ('{"start": 0}', "line 2"),
        ('{"start": 0, "pods": {"a": [1, 2]}}', "more bad than all"),
        ('{"start": 0, "pods": {"a": [5, 1, 3]}}', "slower than each of 1 edges"),
        ('{"start": 0, "pods": {"a": [5, 1, 3, 4]}}', "rise"),
        ('{"start": 0, "pods": {"a": [5, -1]}}', "line 2"),
        ('{"start": 0, "pods": {"a": [5, 1.5]}}', "line 2"),
    ],
)
def test_given_a_line_that_is_wrong_when_read_then_it_is_named(line: str, said: str) -> None:
    with pytest.raises(HistoryError, match=said):
        read([json.dumps({"format": "weir-backtest/1", "width": 10, "edges": [0.1]}), line])


@pytest.mark.parametrize(
    "head",
    [
        {},
        {"format": "other", "width": 10},
        {"format": "weir-backtest/1"},
        {"format": "weir-backtest/1", "width": 0},
        {"format": "weir-backtest/1", "width": 10, "edges": [0.2, 0.1]},
    ],
)
def test_given_a_head_that_is_wrong_when_read_then_line_1_is_named(head: dict[str, object]) -> None:
    with pytest.raises(HistoryError, match="line 1"):
        read([json.dumps(head)])


def test_given_windows_that_overlap_when_read_then_they_are_refused() -> None:
    lines = [f'{{"start": {start}, "pods": {{}}}}' for start in (0, 5)]
    with pytest.raises(HistoryError, match="overlap"):
        read(['{"format": "weir-backtest/1", "width": 10}', *lines])


def test_given_a_gap_when_windows_are_merged_then_none_spans_it_and_nothing_is_counted_twice() -> None:
    history = past(7, pods=2, latency=True)
    holed = History(history.width, EDGES, history.moments[:3] + history.moments[4:])
    assert holed.runs() == ((0, 3), (3, 6))
    wide = holed.merged(3)
    assert [m.start for m in wide.moments] == [history.moments[0].start, history.moments[4].start]
    pod = next(iter(history.moments[0].pods))
    counted = [m.pods[pod] for m in history.moments[:3]]
    assert wide.moments[0].pods[pod].bad == sum(c.bad for c in counted)
    assert wide.moments[0].pods[pod].slower == tuple(map(sum, zip(*(c.slower for c in counted), strict=True)))


def test_given_a_pod_that_was_read_only_in_part_when_windows_are_merged_then_it_is_left_out() -> None:
    moments = (Moment(0.0, {"a": PodCounts(1), "b": PodCounts(1)}), Moment(10.0, {"a": PodCounts(1)}))
    assert set(History(10.0, (), moments).merged(2).moments[0].pods) == {"a"}
