import pytest

from weir.jobs.outcome import Undecidable
from weir.jobs.partition import filled

NOW = 1_790_000_000.0


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("x = 1", 1),
        ("x <> 1 AND x < 4", 2),
        ("NOT (x = 1 OR x = 2)", 2),
        ("x IN (1, 2, 9)", 2),
        ("x BETWEEN 2 AND 3", 2),
        ("x >= -1", 4),
        ("3 < x", 1),
        ("s LIKE 'b%'", 1),
        ("s IS NULL", 1),
        ("s IS NOT NULL", 3),
        ("day = '{{date}}'", 1),
        ("day < DATE '{{ date }}'", 3),
        ("day = '2026-09-21' AND s = 'd'", 1),
    ],
)
def test_given_a_condition_when_checked_then_only_its_rows_count(lab, prop, condition, rows):
    import datetime as dt

    days = [dt.date(2026, 9, 18 + i) for i in range(4)]
    lab.parquet({"x": [1, 2, 3, 4], "s": ["a", "b", None, "d"], "day": days})
    status = lab.check([prop("x", "integer")], servers={"lake": {"spec": {"partition": condition}}})
    assert (status.verdict, status.servers[0].rows) == ("Pass", rows)


def test_given_partition_folders_when_checked_then_the_folder_is_the_column(lab, prop):
    lab.parquet({"x": [1]}, name="orders/dt=2026-09-20/a.parquet")
    lab.parquet({"x": [2, 3]}, name="orders/dt=2026-09-21/a.parquet")
    servers = {"lake": {"path": "orders", "spec": {"partition": "dt = '{{date}}'"}}}
    assert lab.check([prop("x", "integer")], servers=servers).servers[0].rows == 2


@pytest.mark.parametrize(
    "condition",
    [
        "x = 1; DROP TABLE orders",
        "x = (SELECT 1)",
        "x IN (SELECT 1)",
        "EXISTS (SELECT 1)",
        "x = getenv('HOME')",
        "lower(s) = 'a'",
        "x = 1 UNION SELECT 1",
        "x = 1 LIMIT 1",
        "x = 1 GROUP BY x",
        "1 = 1",
        "x",
        "x = y",
        "missing = 1",
        "x = '{{secret}}'",
        "x = 'text'",
        "(",
        "read_csv('/etc/passwd') = 1",
    ],
)
def test_given_anything_but_comparisons_when_checked_then_unknown(lab, prop, condition):
    lab.parquet({"x": [1], "y": [1], "s": ["a"]})
    status = lab.check([prop("x", "integer")], servers={"lake": {"spec": {"partition": condition}}})
    assert status.verdict == "Unknown"


def test_given_variables_when_filled_then_they_are_those_of_the_plan():
    assert filled("dt = '{{date}}' AND h = '{{ hour }}'", NOW) == "dt = '2026-09-21' AND h = '14'"
    with pytest.raises(Undecidable, match="unknown variable"):
        filled("{{x}}", NOW)
