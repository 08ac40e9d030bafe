import pyarrow as pa
import pytest

SERVERS = {"training": {}, "serving": {}}
PROPERTIES = [("id", "integer"), ("age", "integer"), ("city", "string")]


@pytest.fixture
def properties(prop):
    return [prop(name, kind) for name, kind in PROPERTIES]


def leakage(**fields):
    return {"leakage": [{"name": "eval", "object": "orders", "training": "training", "other": "serving", **fields}]}


def replay(**fields):
    row_replay = {"object": "orders", "joinKey": ["id"], **fields}
    return {"parity": {"training": "training", "serving": "serving", "rowReplay": row_replay}}


def sides(lab, training, serving):
    lab.parquet(training, server="training")
    lab.parquet(serving, server="serving")


def test_given_rows_that_both_sides_hold_when_checked_then_leakage_fails_with_their_number(lab, properties, found):
    sides(
        lab,
        {"id": [1, 2, 3], "age": [1, 2, None], "city": ["a", "b", "c"]},
        {"id": [2, 3, 9, 8], "age": [2, None, 1, 1], "city": ["b", "c", "c", "c"]},
    )
    result = found(lab.check(properties, servers=SERVERS, spec=leakage()), "leakage")
    assert (result.verdict, result.server, result.name) == ("Fail", "serving", "eval")
    assert result.observed == "2 of 4 rows (50 percent)"


def test_given_a_share_that_is_allowed_when_checked_then_leakage_passes(lab, properties):
    sides(lab, {"id": [1, 2], "age": [1, 2], "city": ["a", "b"]}, {"id": [2, 3], "age": [2, 3], "city": ["b", "c"]})
    assert lab.check(properties, servers=SERVERS, spec=leakage(maxSharedRatio="0.5")).verdict == "Pass"


def test_given_a_key_when_checked_then_only_its_properties_make_rows_the_same(lab, properties, found):
    sides(lab, {"id": [1, 1], "age": [1, 2], "city": ["a", "b"]}, {"id": [1, 3], "age": [9, 9], "city": ["z", "z"]})
    spec = leakage(key=["id"])
    assert found(lab.check(properties, servers=SERVERS, spec=spec), "leakage").observed.startswith("1 of 2 rows")


def test_given_one_side_is_a_text_file_when_checked_then_rows_are_compared_by_type(lab, properties, found):
    lab.parquet({"id": [1, 2], "age": [1, 2], "city": ["a", "b"]}, server="training")
    (lab.folder("serving") / "orders.csv").write_text("id,age,city\n2,2,b\n")
    servers = {"training": {}, "serving": {"path": "{model}.csv", "format": "csv"}}
    assert found(lab.check(properties, servers=servers, spec=leakage()), "leakage").verdict == "Fail"


def test_given_no_rows_on_the_other_side_when_checked_then_leakage_is_unknown(lab, properties, found):
    empty = {"id": pa.array([], pa.int64()), "age": pa.array([], pa.int64()), "city": pa.array([], pa.string())}
    sides(lab, {"id": [1], "age": [1], "city": ["a"]}, empty)
    assert found(lab.check(properties, servers=SERVERS, spec=leakage()), "leakage").verdict == "Unknown"


def test_given_the_training_data_is_missing_when_checked_then_leakage_is_unknown(lab, properties, found):
    lab.parquet({"id": [1], "age": [1], "city": ["a"]}, server="serving")
    status = lab.run(lab.plan(properties, servers=SERVERS, spec=leakage()).model_copy(update={"servers": ["serving"]}))
    assert found(status, "leakage").verdict == "Unknown"


def test_given_features_that_differ_when_replayed_then_rows_and_properties_are_named(lab, properties, found):
    sides(
        lab,
        {"id": [1, 2, 3, 4], "age": [1, 2, 3, 4], "city": ["a", None, "c", "d"]},
        {"id": [1, 2, 3, 5], "age": [1, 9, 3, 4], "city": ["a", None, "x", "d"]},
    )
    result = found(lab.check(properties, servers=SERVERS, spec=replay()), "rowReplay")
    assert result.verdict == "Fail"
    assert result.observed.startswith("2 of 3 joined rows differ")
    assert "age (1)" in result.message
    assert "city (1)" in result.message


@pytest.mark.parametrize(("tolerance", "verdict"), [("0.05", "Fail"), ("0.11", "Pass")])
def test_given_a_tolerance_when_replayed_then_smaller_differences_are_equal(lab, prop, tolerance, verdict):
    sides(lab, {"id": [1], "score": [0.5]}, {"id": [1], "score": [0.6]})
    status = lab.check(
        [prop("id", "integer"), prop("score", "number")], servers=SERVERS, spec=replay(tolerance=tolerance)
    )
    assert status.verdict == verdict


def test_given_a_key_that_repeats_when_replayed_then_unknown(lab, properties, found):
    sides(lab, {"id": [1, 1], "age": [1, 2], "city": ["a", "a"]}, {"id": [1], "age": [1], "city": ["a"]})
    result = found(lab.check(properties, servers=SERVERS, spec=replay()), "rowReplay")
    assert result.verdict == "Unknown"
    assert "more than one row" in result.message


def test_given_no_common_rows_when_replayed_then_unknown(lab, properties, found):
    sides(lab, {"id": [1], "age": [1], "city": ["a"]}, {"id": [2], "age": [1], "city": ["a"]})
    assert found(lab.check(properties, servers=SERVERS, spec=replay()), "rowReplay").verdict == "Unknown"


@pytest.mark.parametrize(("tolerance", "verdict"), [("0.2", "Fail"), ("0.9", "Pass")])
def test_given_other_distributions_when_profiled_then_the_distance_decides(lab, properties, found, tolerance, verdict):
    sides(
        lab,
        {"id": list(range(100)), "age": [i % 10 for i in range(100)], "city": ["a"] * 100},
        {"id": list(range(100)), "age": [9] * 50 + [i % 10 for i in range(50)], "city": ["a"] * 100},
    )
    rule = [{"property": "orders.age", "tolerance": tolerance}, {"property": "orders.city", "tolerance": "0"}]
    spec = {"parity": {"training": "training", "serving": "serving", "profile": rule}}
    status = lab.check(properties, servers=SERVERS, spec=spec)
    assert status.verdict == verdict
    if verdict == "Fail":
        assert found(status, "parity").column == "age"
