import pytest

CSV = {"lake": {"path": "{model}.csv", "format": "csv"}}
JSON = {"lake": {"path": "{model}.json", "format": "json"}}


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("integer", "12", "1.5"),
        ("integer", "-3", "x"),
        ("number", "1.5e3", "1,5"),
        ("boolean", "true", "maybe"),
        ("date", "2026-02-28", "2026-02-30"),
        ("timestamp", "2026-02-28T10:00:00Z", "yesterday"),
        ("time", "10:00:00", "25:00:00"),
    ],
)
def test_given_text_that_is_not_of_the_type_when_checked_then_its_rows_are_counted(lab, prop, found, kind, good, bad):
    (lab.folder() / "orders.csv").write_text(f'id,x\n1,"{good}"\n2,\n3,"{bad}"\n')
    status = lab.check([prop("x", kind)], servers=CSV)
    assert found(status, "type").observed == f"1 of 3 rows are no {kind}"
    (lab.folder() / "orders.csv").write_text(f'id,x\n1,"{good}"\n2,\n')
    assert lab.check([prop("x", kind)], servers=CSV).verdict == "Pass"


def test_given_a_csv_file_when_checked_then_every_rule_sees_typed_values(lab, prop, found):
    (lab.folder() / "orders.csv").write_text("id,age,code\n1,5,007\n1,150,08\n,7,\n")
    properties = [
        prop("id", "integer", {"unique": True, "required": True}),
        prop("age", "integer", maximum=120),
        prop("code", "string", minLength=3),
    ]
    rule = {"type": "sql", "name": "old", "query": "SELECT max(age) FROM orders", "mustBeLessThan": 100}
    status = lab.check(properties, servers=CSV, table={"quality": [rule]})
    assert found(status, "required").observed == "1 of 3 rows are null"
    assert found(status, "unique").verdict == "Fail"
    assert found(status, "maximum").observed == "1 of 3 rows are above 120"
    assert found(status, "minLength").observed == "1 of 3 rows are shorter than 3 characters"
    assert found(status, "sql").observed == "150"


def test_given_another_delimiter_when_checked_then_it_is_found(lab, prop):
    (lab.folder() / "orders.csv").write_text("id;x\n1;a\n2;b\n")
    assert lab.check([prop("id", "integer"), prop("x")], servers=CSV).verdict == "Pass"


def test_given_a_broken_csv_file_when_checked_then_unknown(lab, prop):
    (lab.folder() / "orders.csv").write_bytes(b"id,x\n1,a\n2,b,c,d\n" + bytes(range(256)) + b'"unclosed')
    status = lab.check([prop("id", "integer"), prop("x")], servers=CSV)
    assert status.verdict in {"Unknown", "Fail"}


def test_given_json_lines_when_checked_then_types_and_nested_members_are(lab, prop, found):
    (lab.folder() / "orders.json").write_text(
        '{"id": 1, "day": "2026-01-01", "note": "2026-01-01", "a": {"zip": "1"}, "tags": ["x"]}\n'
        '{"id": 2, "day": "2026-13-01", "note": "x", "a": {"zip": null}, "tags": []}\n'
    )
    properties = [
        prop("id", "integer"),
        prop("day", "date"),
        prop("note"),
        prop("a", "object", {"properties": [prop("zip", more={"required": True})]}),
        prop("tags", "array", minItems=1),
    ]
    status = lab.check(properties, servers=JSON)
    assert found(status, "type", "day").observed == "1 of 2 rows are no date"
    assert found(status, "required", "a.zip").observed == "1 of 2 rows are null"
    assert found(status, "minItems").verdict == "Fail"
    assert len(status.results) == 3


def test_given_a_json_string_that_looks_like_a_date_when_a_string_is_wanted_then_it_is_one(lab, prop):
    (lab.folder() / "orders.json").write_text('[{"note": "2026-01-01"}, {"note": "2026-01-02"}]')
    assert lab.check([prop("note", pattern="^2026-")], servers=JSON).verdict == "Pass"


def test_given_json_of_mixed_types_when_an_integer_is_wanted_then_the_type_fails(lab, prop, found):
    (lab.folder() / "orders.json").write_text('{"id": 1}\n{"id": "one"}\n')
    assert found(lab.check([prop("id", "integer")], servers=JSON), "type").verdict == "Fail"
