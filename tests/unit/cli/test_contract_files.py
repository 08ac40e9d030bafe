"""Contracts in files: digest, diff, init, profile, and checks on this machine."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner, Result

from weir.cli.contract_diff import MODES
from weir.cli.contract_yaml import yaml_text
from weir.cli.main import app
from weir.contract.loading import ManifestLoader, PlainLoader
from weir.lint import Source, lint

ROOT = Path(__file__).parents[3]
HEAVY = ("duckdb", "ibis", "pyarrow", "pandas", "numpy", "jsonschema", "open_data_contract_standard", "rfc8785")


def weir(*arguments: object, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, ["contract", *map(str, arguments)], input=stdin)


def table(**changed: Any) -> dict[str, list[Any]]:
    """Forty rows of orders."""
    now = dt.datetime(2026, 11, 21, 8, tzinfo=dt.UTC)
    rows = range(40)
    return {
        "id": [f"o-{i:04d}" for i in rows],
        "at": [now + dt.timedelta(minutes=i) for i in rows],
        "day": [now.date()] * 40,
        "amount": [1.5 * i for i in rows],
        "items": [i % 7 for i in rows],
        "state": [("new", "paid", "sent")[i % 3] for i in rows],
        "email": [("a@x.org", "b@x.org")[i % 2] for i in rows],
        "gift": [i % 2 == 0 for i in rows],
        "note": [None if i % 10 == 0 else f"n{i}" for i in rows],
        **changed,
    }


def write(path: Path, columns: dict[str, list[Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
        return path
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, default=str) + "\n" for row in rows))
    else:
        lines = [",".join("" if value is None else str(value) for value in row.values()) for row in rows]
        path.write_text("\n".join([",".join(columns), *lines]) + "\n")
    return path


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    return write(tmp_path / "orders.parquet", table())


def contract(tmp_path: Path, change: Callable[[dict[str, Any]], None] = lambda _: None, name: str = "c.yaml") -> Path:
    """The contract of one table with two columns, changed."""
    properties: list[dict[str, Any]] = [
        {"name": "id", "logicalType": "string", "required": True},
        {"name": "items", "logicalType": "integer", "logicalTypeOptions": {"minimum": 0, "maximum": 6}},
    ]
    odcs = {
        "apiVersion": "v3.2.0",
        "kind": "DataContract",
        "id": "orders",
        "version": "1.0.0",
        "schema": [{"name": "orders", "logicalType": "object", "properties": properties}],
    }
    made = {
        "apiVersion": "weir.dev/v1alpha1",
        "kind": "DataContract",
        "metadata": {"name": "orders"},
        "spec": {"roles": ["Features"], "odcs": odcs},
    }
    change(made)
    path = tmp_path / name
    path.write_text(yaml.safe_dump(made, sort_keys=False))
    return path


def items(made: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = made["spec"]["odcs"]["schema"][0]["properties"][1]
    return found


# --- the program


def test_given_help_when_it_is_printed_then_no_engine_and_no_validator_was_imported() -> None:
    code = (
        "import sys; sys.argv = ['weir', 'contract', '--help']\n"
        "from weir.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT / "operator"
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert " run " not in done.stdout


def test_given_no_engine_when_data_is_checked_then_the_way_to_install_it_is_told(
    tmp_path: Path, orders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(sys.modules):
        if name == "duckdb" or name.startswith("weir.jobs"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "duckdb", None)
    for done in (weir("check", "-f", contract(tmp_path), "--data", orders), weir("init", orders)):
        assert done.exit_code == 2
        assert (
            "needs duckdb, which is not installed; install it with: pip install 'weir-operator[check]'" in done.stderr
        )


# --- digest


def test_given_a_manifest_and_its_document_alone_then_the_digest_is_the_same(tmp_path: Path) -> None:
    manifest = contract(tmp_path)
    alone = tmp_path / "odcs.yaml"
    alone.write_text(yaml.safe_dump(yaml.safe_load(manifest.read_text())["spec"]["odcs"]))
    pins = {weir("digest", path).stdout for path in (manifest, alone)}
    assert len(pins) == 1
    assert pins.pop().startswith("orders@sha256:")


def test_given_semantics_then_they_are_part_of_the_digest(tmp_path: Path) -> None:
    def meant(made: dict[str, Any]) -> None:
        made["spec"]["semantics"] = [{"property": "orders.items", "unit": "pieces"}]

    assert weir("digest", contract(tmp_path)).stdout != weir("digest", contract(tmp_path, meant, "m.yaml")).stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "c.yaml"),
        ("kind: Other\n", "holds no DataContract"),
        ("apiVersion: v3.2.0\nkind: DataContract\nid: x\n", "version"),
        (
            "apiVersion: weir.dev/v1alpha1\nkind: DataContract\nmetadata: {name: x}\nspec: {roles: [Label], source: {}}\n",
            "the document of x is not in the file",
        ),
    ],
)
def test_given_a_file_that_holds_no_contract_then_one_line_says_why(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    done = weir("digest", path)
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_given_several_contracts_in_a_file_then_one_is_chosen_by_name(tmp_path: Path) -> None:
    first = contract(tmp_path).read_text()
    both = tmp_path / "both.yaml"
    both.write_text(first + "---\n" + first.replace("name: orders\nspec", "name: others\nspec", 1))
    assert "has 2 DataContracts (orders, others)" in weir("digest", both).stderr
    assert weir("digest", both, "--name", "others").stdout.startswith("others@sha256:")


def test_given_several_contracts_in_a_file_then_check_and_diff_take_a_name_as_well(
    tmp_path: Path, orders: Path
) -> None:
    first = contract(tmp_path).read_text()
    both = tmp_path / "both.yaml"
    others = first.replace("name: orders\nspec", "name: others\nspec", 1).replace("maximum: 6", "maximum: 5")
    both.write_text(first + "---\n" + others)

    for arguments in (("check", "-f", both, "--data", orders), ("diff", both, tmp_path / "c.yaml")):
        assert "has 2 DataContracts (orders, others); name one with --name" in weir(*arguments).stderr
    assert weir("check", "-f", both, "--data", orders, "--name", "orders").exit_code == 0
    assert weir("check", "-f", both, "--data", orders, "--name", "others").exit_code == 1
    assert "No change" in weir("diff", both, both, "--name", "others").stdout
    assert "give it with -f FILE" in weir("check", "--name", "others").stderr


def spec(made: dict[str, Any], **fields: Any) -> None:
    made["spec"].update(fields)


LAKE = {"server": "lake", "type": "local", "path": "x", "format": "parquet"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda made: made["spec"]["odcs"]["schema"][0]["properties"].append({"name": "id"}), "the name 'id' is there"),
        (lambda made: spec(made, servers=[{"name": "lake", "odcsServer": "pond"}]), "no server 'pond'"),
        (lambda made: spec(made, schedule={"cron": "0 0 * * * *"}), "`cron` must have five fields"),
        (lambda made: spec(made, schedule={"maxAge": "3x"}), "spec.schedule.maxAge: must be a positive duration"),
        (
            lambda made: spec(made, freshness={"element": "orders.itmes", "failAfter": "1h"}),
            "did you mean orders.items",
        ),
        (lambda made: spec(made, compatibility={"waivers": [{"ruleId": "R1"}]}), "waivers[0].expires: Required value"),
        (lambda made: items(made)["logicalTypeOptions"].update(minimum=7), "minimum 7 and maximum 6"),
    ],
)
def test_given_a_contract_that_lint_refuses_then_no_data_is_checked_and_its_errors_are_shown(
    tmp_path: Path, orders: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    path = contract(tmp_path, change)

    done = weir("check", "-f", path, "--data", orders)

    told = [finding for finding in lint([Source(str(path), path.read_text())]).findings if said in finding.text]
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert all(
        f"{path}:{finding.mark.line}:{finding.mark.column}: error: {finding.text}" in done.stderr for finding in told
    )
    assert told


def test_given_a_document_alone_that_contradicts_itself_then_it_is_refused_as_well(
    tmp_path: Path, orders: Path
) -> None:
    made = yaml.safe_load(contract(tmp_path, lambda m: items(m)["logicalTypeOptions"].update(minimum=7)).read_text())
    alone = tmp_path / "alone.yaml"
    alone.write_text(yaml.safe_dump(made["spec"]["odcs"]))

    done = weir("check", "-f", alone, "--data", orders)

    assert done.exit_code == 2
    assert "minimum 7 and maximum 6" in done.stderr


def test_given_an_invalid_spec_then_diff_and_digest_show_what_lint_says(tmp_path: Path) -> None:
    waiver = {"ruleId": "type-changed", "path": "orders.id", "reason": "x", "approvedBy": "ada", "expires": "soon"}
    path = contract(tmp_path, lambda made: spec(made, compatibility={"waivers": [waiver]}))

    done = weir("digest", path)

    assert done.exit_code == 2
    assert "Value error" not in done.stderr
    assert f"{path}:" in done.stderr
    assert "spec.compatibility.waivers[0].expires" in done.stderr


def test_given_a_name_and_a_file_then_the_way_to_choose_is_told(tmp_path: Path) -> None:
    done = weir("check", "orders", "-f", contract(tmp_path))

    assert done.exit_code == 2
    assert "give one of the two" in done.stderr
    assert "--name orders" in done.stderr


def test_given_a_folder_or_a_mistyped_file_then_it_is_said_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    path = contract(tmp_path)
    for text, said in ((tmp_path / "sub", "is a folder; name the file in it"), (tmp_path / "x.yaml", "No such file")):
        assert said in weir("diff", path, text).stderr
    assert "the folder has no files" in weir("check", "-f", path, "--data", tmp_path / "sub").stderr
    missing = weir("diff", path, "ordres", "--kubeconfig", tmp_path / "none")
    assert missing.exit_code == 2
    assert "there is no file ordres here, so the cluster was asked" in missing.stderr


def test_given_a_document_alone_with_a_server_then_its_files_can_be_given_by_that_name(
    tmp_path: Path, orders: Path
) -> None:
    path = contract(tmp_path, lambda made: made["spec"]["odcs"].update(servers=[LAKE]))
    alone = tmp_path / "alone.yaml"
    alone.write_text(yaml.safe_dump(yaml.safe_load(path.read_text())["spec"]["odcs"]))

    assert "--data lake/TABLE=PATH" in weir("check", "-f", alone, "--server", "lake").stderr
    done = weir("check", "-f", alone, "--data", f"lake/orders={orders}", "-o", "json")

    assert done.exit_code == 0
    assert [one["name"] for one in json.loads(done.stdout)["status"]["servers"]] == ["lake"]
    alone.write_text(alone.read_text().replace("server: lake", "server: The Lake"))
    bad = weir("check", "-f", alone, "--data", f"The Lake/orders={orders}")
    assert (bad.exit_code, bad.stderr.count("\n")) == (2, 1)
    alone.write_text(alone.read_text().replace("server: The Lake", "server: lake"))
    assert "no server 'pond'; it has lake" in weir("check", "-f", alone, "--data", f"pond/orders={orders}").stderr


# --- diff


def loosened(made: dict[str, Any]) -> None:
    items(made)["logicalTypeOptions"]["maximum"] = 9


def tightened(made: dict[str, Any]) -> None:
    items(made)["logicalTypeOptions"]["maximum"] = 5


def widened(made: dict[str, Any]) -> None:
    items(made)["logicalType"] = "number"


def undetermined(made: dict[str, Any]) -> None:
    made["spec"]["odcs"]["schema"][0]["properties"][0]["logicalTypeOptions"] = {"pattern": "^o-[0-9]*$"}


def patterned(made: dict[str, Any]) -> None:
    made["spec"]["odcs"]["schema"][0]["properties"][0]["logicalTypeOptions"] = {"pattern": "^o-[0-9]+$"}


@pytest.mark.parametrize(
    ("change", "mode", "code", "breaks"),
    [
        (lambda _: None, "", 0, []),
        (loosened, "", 1, ["consumers"]),
        (loosened, "Backward", 0, ["consumers"]),
        (loosened, "Full", 1, ["consumers"]),
        (loosened, "None", 0, ["consumers"]),
        (tightened, "", 0, ["producers"]),
        (tightened, "BackwardTransitive", 1, ["producers"]),
    ],
)
def test_given_a_change_then_the_mode_decides_what_breaks(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], mode: str, code: int, breaks: list[str]
) -> None:
    old, new = contract(tmp_path), contract(tmp_path, change, "new.yaml")
    done = weir("diff", old, new, "-o", "json", *(["--mode", mode] if mode else []))
    told = json.loads(done.stdout)
    assert done.exit_code == code
    assert [c["breaks"] for c in told["changes"]] == ([breaks] if breaks else [])
    assert told["verdict"] == ("Breaking" if code else "Compatible")


def test_given_a_pattern_that_changes_then_people_have_to_judge(tmp_path: Path) -> None:
    old, new = contract(tmp_path, patterned), contract(tmp_path, undetermined, "new.yaml")
    done = weir("diff", old, new)
    assert done.exit_code == 4
    assert "Cannot be judged, so people have to: orders.id: pattern" in done.stdout
    assert weir("diff", old, new, "--mode", "None").exit_code == 0


def test_given_widening_that_the_new_contract_allows_then_it_does_not_break(tmp_path: Path) -> None:
    def allowed(made: dict[str, Any]) -> None:
        widened(made)
        made["spec"]["compatibility"] = {"mode": "Full", "allow": ["Widening"]}

    old = contract(tmp_path)
    assert weir("diff", old, contract(tmp_path, widened, "n.yaml")).exit_code == 1
    assert weir("diff", old, contract(tmp_path, allowed, "a.yaml")).exit_code == 0


def test_given_a_breaking_change_then_the_table_names_path_and_both_values(tmp_path: Path) -> None:
    done = weir("diff", contract(tmp_path), contract(tmp_path, loosened, "new.yaml"))
    assert done.stdout.startswith("The change breaks consumers (mode ForwardTransitive).")
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("consumers")]
    for word in ("loosens", "orders.items", "6", "9"):
        assert word in line


def test_given_a_change_that_the_mode_permits_then_it_says_whom_it_breaks_and_who_that_is(tmp_path: Path) -> None:
    done = weir("diff", contract(tmp_path), contract(tmp_path, tightened, "new.yaml"))
    assert done.exit_code == 0
    assert done.stdout.startswith("The change breaks producers, which the mode ForwardTransitive permits.")
    assert "Nothing breaks" not in done.stdout
    assert "Producers write the data" in done.stdout
    assert "Tell the producers before you apply it" in done.stdout


def test_given_a_change_that_breaks_then_the_way_out_is_named(tmp_path: Path) -> None:
    done = weir("diff", contract(tmp_path), contract(tmp_path, loosened, "new.yaml"))
    assert "Consumers read the data" in done.stdout
    assert "Way out: keep what the old contract promised" in done.stdout
    assert "spec.compatibility.waivers" in done.stdout


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("1.0.0", "The version is still 1.0.0"),
        ("0.9.0", "The version goes down from 1.0.0 to 0.9.0"),
        ("1.0.10", ""),
        ("2026-a", ""),
    ],
)
def test_given_other_content_then_a_version_that_was_not_raised_is_said_and_the_exit_code_stays(
    tmp_path: Path, version: str, said: str
) -> None:
    def changed(made: dict[str, Any]) -> None:
        tightened(made)
        made["spec"]["odcs"]["version"] = version

    def first(made: dict[str, Any]) -> None:
        made["spec"]["odcs"]["version"] = "1.0.0"

    old, new = contract(tmp_path, first), contract(tmp_path, changed, "new.yaml")
    done = weir("diff", old, new)
    assert done.exit_code == 0
    assert said in done.stdout
    assert ("The version" in done.stdout) == bool(said)
    warnings = json.loads(weir("diff", old, new, "-o", "json").stdout)["warnings"]
    assert bool(warnings) == bool(said)
    assert "The version" not in weir("diff", old, old).stdout


def test_given_a_change_without_effect_on_data_then_people_read_that_and_programs_the_direction(tmp_path: Path) -> None:
    def classified(made: dict[str, Any]) -> None:
        made["spec"]["odcs"]["schema"][0]["properties"][0]["classification"] = "restricted"

    old, new = contract(tmp_path), contract(tmp_path, classified, "new.yaml")
    done = weir("diff", old, new)
    assert "no effect on data" in done.stdout
    assert "untested" not in done.stdout
    (change,) = json.loads(weir("diff", old, new, "-o", "json").stdout)["changes"]
    assert change["direction"] == "untested"


def test_given_a_mode_in_small_letters_then_it_is_taken(tmp_path: Path) -> None:
    done = weir("diff", contract(tmp_path), contract(tmp_path, loosened, "new.yaml"), "--mode", "fulltransitive")
    assert (done.exit_code, "(mode FullTransitive)" in done.stdout) == (1, True)


def test_given_a_mode_that_does_not_exist_then_it_is_wrong_usage(tmp_path: Path) -> None:
    done = weir("diff", contract(tmp_path), contract(tmp_path), "--mode", "Sideways")
    assert done.exit_code == 2
    assert MODES[-1] in done.stderr


# --- init


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
@pytest.mark.parametrize("options", [(), ("--ranges", "--enums")])
def test_given_data_when_a_contract_is_made_of_it_then_it_lints_clean_and_the_data_keeps_it(
    tmp_path: Path, suffix: str, options: tuple[str, ...]
) -> None:
    data, made = write(tmp_path / f"orders{suffix}", table()), tmp_path / "c.yaml"
    done = weir("init", data, *options, "-o", made)
    assert (done.exit_code, done.stdout) == (0, "")
    assert lint([Source("c.yaml", made.read_text())]).findings == ()
    checked = weir("check", "-f", made, "--data", f"orders={data}")
    assert checked.exit_code == 0, checked.output
    assert checked.stdout.startswith("Pass: all ")


def test_given_data_then_types_nulls_ranges_and_values_are_those_of_the_data(orders: Path) -> None:
    text = weir("init", orders, "--ranges", "--enums", "--role", "Label", "--name", "my-orders").stdout
    made = yaml.safe_load(text)
    assert made["metadata"]["name"] == "my-orders"
    assert made["spec"]["roles"] == ["Label"]
    columns = {p["name"]: p for p in made["spec"]["odcs"]["schema"][0]["properties"]}
    assert {name: p["logicalType"] for name, p in columns.items()} == {
        "id": "string",
        "at": "timestamp",
        "day": "date",
        "amount": "number",
        "items": "integer",
        "state": "string",
        "email": "string",
        "gift": "boolean",
        "note": "string",
    }
    assert [name for name, p in columns.items() if not p.get("required")] == ["note"]
    assert columns["items"]["logicalTypeOptions"] == {"minimum": 0, "maximum": 6}
    assert [v["value"] for v in columns["state"]["enum"]] == ["new", "paid", "sent"]
    assert [name for name, p in columns.items() if "enum" in p] == ["state"]


def test_given_keys_and_personal_columns_then_keys_are_proposed_and_the_others_are_classified_without_a_value(
    orders: Path,
) -> None:
    text = weir("init", orders, "--ranges", "--enums").stdout
    lines = text.splitlines()

    def below(name: str) -> str:
        start = lines.index(next(line for line in lines if line.strip() == f"- name: {name}"))
        end = next((i for i in range(start + 1, len(lines)) if "- name:" in lines[i]), len(lines))
        return "\n".join(lines[start:end])

    assert "# primaryKey: true" in below("id")
    assert "\n        classification: restricted\n        # the name speaks of a person" in below("email")
    assert "classification" not in below("state")
    (key,) = (line for line in lines if "primaryKey" in line)
    assert yaml.safe_load(key.replace("# ", "", 1)) == {"primaryKey": True}
    assert "# 10 % are null" in below("note")
    assert "x.org" not in text
    assert "primaryKey: true" not in below("state")


def test_given_lists_and_embeddings_then_they_are_arrays_and_vectors(tmp_path: Path) -> None:
    columns = {
        "tags": pa.array([["a"], ["b", "c"]]),
        "vector": pa.array([[0.0] * 32, [1.0] * 32], pa.list_(pa.float32())),
        "uneven": pa.array([[0.0] * 32, [1.0] * 31], pa.list_(pa.float32())),
        "place": pa.array([{"city": "Ulm", "lat": 1.0}] * 2),
    }
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table(columns), path)
    made = tmp_path / "c.yaml"
    assert weir("init", path, "-o", made).exit_code == 0
    found = {p["name"]: p for p in yaml.safe_load(made.read_text())["spec"]["odcs"]["schema"][0]["properties"]}
    assert found["tags"]["items"] == {"logicalType": "string"}
    assert found["vector"]["logicalTypeOptions"] == {"dimensions": 32, "elementType": "float32"}
    assert found["uneven"]["logicalType"] == "array"
    assert [p["name"] for p in found["place"]["properties"]] == ["city", "lat"]
    assert weir("check", "-f", made, "--data", path).exit_code == 0


def test_given_numbers_that_are_none_then_they_are_no_limits(tmp_path: Path) -> None:
    data = write(tmp_path / "t.parquet", {"x": [float("nan"), 1.0, 2.0], "y": [float("inf"), 1.0, 2.0]})
    text = weir("init", data, "--ranges").stdout
    found = yaml.safe_load(text)["spec"]["odcs"]["schema"][0]["properties"]
    assert "logicalTypeOptions" not in found[0]
    assert "# 1 row is NaN, which no limit permits; none is written" in text
    assert found[1]["logicalTypeOptions"] == {"minimum": 1.0}


def test_given_numbers_with_more_digits_than_a_contract_holds_then_no_limit_excludes_them(tmp_path: Path) -> None:
    wide = [Decimal("12345678901234567890.1234"), Decimal("1.5000"), Decimal("-0.1000")]
    columns = {
        "wide": pa.array(wide, pa.decimal128(30, 4)),
        "money": pa.array([Decimal("0.10"), Decimal("12.34"), Decimal("7.00")], pa.decimal128(10, 2)),
        "unsigned": pa.array([0, 1, 2**64 - 1], pa.uint64()),
        "nan": pa.array([1.0, float("nan"), 1.0]),
    }
    data, made = tmp_path / "t.parquet", tmp_path / "c.yaml"
    pq.write_table(pa.table(columns), data)
    assert weir("init", data, "--ranges", "-o", made).exit_code == 0
    properties = yaml.safe_load(made.read_text())["spec"]["odcs"]["schema"][0]["properties"]
    assert {p["name"]: p.get("logicalTypeOptions") for p in properties} == {
        "wide": {"minimum": -0.1},
        "money": {"minimum": 0.1, "maximum": 12.34},
        "unsigned": {"minimum": 0},
        "nan": None,
    }
    assert "from 0 to 18446744073709551615: where a contract cannot hold all digits, no limit" in made.read_text()
    checked = weir("check", "-f", made, "--data", data)
    assert checked.exit_code == 0, checked.output


AMBIGUOUS = (
    "y",
    "n",
    "Y",
    "N",
    "no",
    "Off",
    "1e3",
    "0o7",
    "010",
    "1_0",
    "12:30:45",
    ".inf",
    "=",
    "~",
    "null",
    "x\u2028y",
)


def test_given_texts_that_yaml_may_read_as_something_else_then_every_reader_gets_the_texts(tmp_path: Path) -> None:
    data, made = tmp_path / "t.parquet", tmp_path / "c.yaml"
    pq.write_table(pa.table({"on": AMBIGUOUS * 2, "flag": ["y", "n"] * len(AMBIGUOUS)}), data)
    assert weir("init", data, "--enums", "-o", made).exit_code == 0
    for loader in (yaml.SafeLoader, PlainLoader, ManifestLoader):
        first, second = yaml.load(made.read_text(), loader)["spec"]["odcs"]["schema"][0]["properties"]
        assert first["name"] == "on"
        assert {entry["value"] for entry in first["enum"]} == set(AMBIGUOUS)
        assert [entry["value"] for entry in second["enum"]] == ["n", "y"]
    assert lint([Source("c.yaml", made.read_text())]).findings == ()
    assert weir("check", "-f", made, "--data", data).exit_code == 0


@pytest.mark.parametrize(
    "text", [*AMBIGUOUS, "2026-01-01", "a: b", "a #b", "-", "", " a", "a\nb", "\x85", "0x1F", "None"]
)
def test_given_any_text_when_it_is_written_as_yaml_then_it_is_in_quotes_and_read_back(text: str) -> None:
    written = yaml_text({"value": text})
    assert written.removeprefix("value: ")[0] in "'\""
    assert yaml.safe_load(written) == {"value": text}


def test_given_values_of_persons_in_columns_with_plain_names_then_none_is_written_and_the_rest_is_told(
    tmp_path: Path,
) -> None:
    columns = {
        "reach": ["a@x.org", "b@x.org"] * 20,
        "seldom": ["c@x.org", "none", "none", "none"] * 10,
        "kunde": ["Meier", "Huber"] * 20,
        "state": ["new", "paid"] * 20,
    }
    done = weir("init", write(tmp_path / "t.parquet", columns), "--enums")
    assert not any(text in done.stdout for text in ("x.org", "Meier"))
    made = {p["name"]: p for p in yaml.safe_load(done.stdout)["spec"]["odcs"]["schema"][0]["properties"]}
    assert [name for name, p in made.items() if p.get("classification") == "restricted"] == ["reach", "kunde"]
    assert "most values look like e-mail addresses" in done.stdout
    assert done.stderr == "warning: the contract holds values of state; remove those that are personal\n"


def test_given_unique_values_of_no_key_or_of_few_rows_then_no_key_is_proposed(tmp_path: Path) -> None:
    salaries = write(tmp_path / "a.parquet", {"salary": list(range(40))})
    few = write(tmp_path / "b.csv", {"id": [1, 2]})
    assert "primaryKey" not in weir("init", salaries).stdout + weir("init", few).stdout


@pytest.mark.parametrize("command", ["init", "profile"])
def test_given_a_file_that_is_there_then_it_is_replaced_only_by_force(
    tmp_path: Path, orders: Path, command: str
) -> None:
    kept = tmp_path / "kept"
    kept.write_text("edited")
    arguments = [command, orders, *(("-f", contract(tmp_path)) if command == "profile" else ()), "-o", kept]
    done = weir(*arguments)
    assert (done.exit_code, kept.read_text()) == (2, "edited")
    assert "is there already; replace it with --force" in done.stderr
    assert weir(*arguments, "--force").exit_code == 0
    assert kept.read_text() != "edited"


def test_given_names_that_kubernetes_refuses_then_one_line_says_which_it_takes(tmp_path: Path, orders: Path) -> None:
    named = weir("init", orders, "--name", "Bad Name")
    mapped = weir("profile", orders, "-f", contract(tmp_path), "--config-map", "Bad_Name")
    assert (named.exit_code, mapped.exit_code) == (2, 2)
    assert "--name 'Bad Name' is no name that Kubernetes permits" in named.stderr
    assert "such as bad-name" in named.stderr
    assert "--config-map 'Bad_Name' is no name" in mapped.stderr


def test_given_a_folder_then_init_and_check_read_the_same_files_and_say_how_many(tmp_path: Path) -> None:
    folder, made = tmp_path / "sub", tmp_path / "c.yaml"
    folder.mkdir()
    for name in ("sub.PARQUET", "more.PARQUET"):
        write(tmp_path / "x.parquet", table()).rename(folder / name)
    (folder / "notes.txt").write_text("no data")
    assert weir("init", folder, "-o", made).exit_code == 0
    assert "from sub, 2 files (80 rows)" in made.read_text()
    done = weir("check", "-f", made, "--data", folder)
    assert f"reading sub: 2 files of {folder}" in done.stderr
    assert "80 rows" in done.stdout


def test_given_a_folder_with_unfinished_files_then_a_pattern_is_asked_for(tmp_path: Path) -> None:
    unfinished = tmp_path / "orders" / "_temporary"
    unfinished.mkdir(parents=True)
    write(unfinished / "part.parquet", table())
    done = weir("check", "-f", contract(tmp_path), "--data", tmp_path / "orders")
    assert done.exit_code == 2
    assert "leaves out what starts with _; give a pattern" in done.stderr


def test_given_a_folder_with_files_of_several_endings_then_a_pattern_is_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "orders"
    folder.mkdir()
    for suffix in (".json", ".jsonl"):
        write(tmp_path / "x.jsonl", {"id": ["a"], "items": [1]}).rename(folder / f"part{suffix}")
    done = weir("check", "-f", contract(tmp_path), "--data", folder)
    assert done.exit_code == 2
    assert "end with .json and .jsonl; give a pattern such as" in done.stderr


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nowhere.parquet", "there is no such file"),
        ("s3://bucket/x.parquet", "s3:// cannot be read here"),
        ("postgres://localhost/db", "say which table"),
    ],
)
def test_given_data_that_cannot_be_read_then_one_line_says_why(source: str, said: str) -> None:
    done = weir("init", source)
    assert done.exit_code == 2
    assert said in done.stderr


def test_given_a_file_that_is_no_parquet_then_one_line_says_so(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_text("no parquet")
    done = weir("init", path)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: {path} cannot be read: ")


# --- check on this machine


def test_given_broken_data_then_table_column_rule_and_both_values_are_told(tmp_path: Path) -> None:
    data = write(tmp_path / "orders.parquet", table(items=[99] * 3 + [1] * 37))
    done = weir("check", "-f", contract(tmp_path), "--data", data)
    assert done.exit_code == 1
    assert done.stdout.startswith("Fail: of ")
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("Fail  ")]
    for word in ("orders", "items", "maximum", "3 of 40", "6"):
        assert word in line


def test_given_json_then_the_result_is_that_of_a_contract_check(tmp_path: Path, orders: Path) -> None:
    done = weir("check", "-f", contract(tmp_path), "--data", orders, "-o", "json")
    told = json.loads(done.stdout)
    assert (told["kind"], told["status"]["verdict"], told["spec"]["servers"]) == ("ContractCheck", "Pass", ["local"])
    assert told["status"]["digest"] == weir("digest", contract(tmp_path)).stdout.strip().partition("@")[2]


def test_given_a_rule_that_cannot_be_checked_then_the_exit_code_is_its_own(tmp_path: Path, orders: Path) -> None:
    def custom(made: dict[str, Any]) -> None:
        made["spec"]["odcs"]["schema"][0]["quality"] = [{"type": "custom", "engine": "soda", "implementation": "x"}]

    done = weir("check", "-f", contract(tmp_path, custom), "--data", orders)
    assert done.exit_code == 4
    assert done.stdout.startswith("Unknown: of ")


def test_given_tables_in_several_folders_then_each_is_checked_with_its_own_rules(tmp_path: Path) -> None:
    def two(made: dict[str, Any]) -> None:
        schema = made["spec"]["odcs"]["schema"]
        schema.append({"name": "lines", "properties": [{"name": "number", "logicalType": "integer", "required": True}]})

    (tmp_path / "a").mkdir()
    (tmp_path / "b" / "deep").mkdir(parents=True)
    first = write(tmp_path / "a" / "x.parquet", table())
    write(tmp_path / "b" / "deep" / "1.parquet", {"number": [1, 2]})
    write(tmp_path / "b" / "deep" / "2.parquet", {"number": [3, None]})
    given = ("--data", f"orders={first}", "--data", f"lines={tmp_path}/b/deep/*.parquet")
    done = weir("check", "-f", contract(tmp_path, two), *given, "-o", "json")
    told = json.loads(done.stdout)["status"]
    assert [(r["table"], r["column"], r["rule"]) for r in told["results"]] == [("lines", "number", "required")]
    assert told["servers"][0]["rows"] == 44


def test_given_servers_then_their_environments_count_and_leakage_between_them_is_found(
    tmp_path: Path, orders: Path
) -> None:
    def sides(made: dict[str, Any]) -> None:
        made["spec"]["odcs"]["servers"] = [
            {"server": s, "type": "local", "path": "x", "format": "parquet"} for s in ("train", "serve")
        ]
        made["spec"] |= {
            "environments": [{"name": "serving", "exclude": ["orders.items"]}],
            "servers": [
                {"name": "train", "odcsServer": "train"},
                {"name": "serve", "odcsServer": "serve", "environment": "serving"},
            ],
            "leakage": [
                {"name": "twice", "object": "orders", "training": "train", "other": "serve", "key": ["id"]},
            ],
        }

    unlabelled = {name: values for name, values in table().items() if name != "items"}
    served = write(tmp_path / "served.parquet", unlabelled)
    path = contract(tmp_path, sides)
    done = weir("check", "-f", path, "--data", f"train/orders={orders}", "--data", f"serve/orders={served}")
    assert done.exit_code == 1
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("Fail  ")]
    assert "leakage (twice)" in line
    alone = weir("check", "-f", path, "--data", f"serve/orders={served}")
    assert alone.exit_code == 0
    assert "not checked here: leakage twice (needs data of train and serve)" in alone.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((), "say which files to check"),
        (("--data", "other=x.parquet"), "the contract has no table 'other'; it has orders"),
        (("--data", "orders=nowhere.parquet"), "there is no such file"),
        (("--data", "orders={dir}/c.yaml"), "the name does not tell the format"),
        (("--data", "nope/orders={data}"), "the contract has no server 'nope'"),
        (("--data", "{data}", "--data", "{data}"), "given twice"),
        (("--server", "nope"), "the contract has no server 'nope'"),
    ],
)
def test_given_data_that_makes_no_sense_then_one_line_says_what_would(
    tmp_path: Path, orders: Path, given: tuple[str, ...], said: str
) -> None:
    path = contract(tmp_path)
    done = weir("check", "-f", path, *(g.format(data=orders, dir=tmp_path) for g in given))
    assert done.exit_code == 2
    assert said in done.stderr


# --- metadata of models


def test_given_an_mlmodel_file_then_its_signature_is_compared_with_the_contract(tmp_path: Path) -> None:
    def model(*columns: tuple[str, str]) -> Path:
        inputs = json.dumps([{"name": name, "type": kind} for name, kind in columns])
        path = tmp_path / "MLmodel"
        path.write_text(yaml.safe_dump({"signature": {"inputs": inputs, "outputs": "[]"}}))
        return path

    path = contract(tmp_path)
    fits = weir("check", "-f", path, "--mlmodel", model(("items", "double"), ("id", "string")))
    assert (fits.exit_code, fits.stdout) == (0, "Pass: what the model takes fits the contract\n")
    wrong = weir("check", "-f", path, "--mlmodel", model(("items", "string"), ("age", "long")))
    assert wrong.exit_code == 1
    assert "orders.items: the contract says integer, the model takes BYTES" in wrong.stdout
    assert "needs the input 'age'" in wrong.stdout
    answers = weir("check", "-f", path, "--mlmodel", model(("items", "long")), "--role", "response")
    assert answers.stdout.startswith("Warn: what the model answers fits")


def test_given_the_metadata_of_a_server_then_it_is_read_as_well(tmp_path: Path) -> None:
    path = tmp_path / "metadata.json"
    path.write_text(json.dumps({"name": "m", "inputs": [{"name": "items", "datatype": "BOOL", "shape": [-1]}]}))
    done = weir("check", "-f", contract(tmp_path), "--mlmodel", path, "-o", "json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["findings"][0]["change"] == "metadataTypeChanged"


# --- profile


def test_given_data_when_it_is_profiled_then_the_profile_is_json_or_a_config_map(tmp_path: Path, orders: Path) -> None:
    path = contract(tmp_path)
    told = json.loads(weir("profile", orders, "-f", path).stdout)
    assert told["tables"]["orders"]["rows"] == 40
    assert sum(told["tables"]["orders"]["columns"]["items"]["counts"]) == 40
    text = weir("profile", orders, "-f", path, "--config-map", "orders-reference").stdout
    manifest = yaml.safe_load(text)
    assert manifest["metadata"]["name"] == "orders-reference"
    assert json.loads(manifest["data"]["profile.json"]) == told
    assert "reference: {configMapRef: {name: orders-reference, key: profile.json}}" in text


def test_given_values_in_a_profile_then_their_columns_are_told_and_those_of_classified_ones_are_absent(
    tmp_path: Path,
) -> None:
    data = write(tmp_path / "orders.parquet", table(items=["x@y.org"] * 40, id=["a", "b"] * 20))
    typed = contract(tmp_path, lambda made: items(made).update(logicalType="string", logicalTypeOptions={}))
    done = weir("profile", data, "-f", typed)
    assert "the profile holds values of orders.id, orders.items; orders.items looks personal; set" in done.stderr
    hidden = contract(
        tmp_path,
        lambda made: items(made).update(logicalType="string", logicalTypeOptions={}, classification="restricted"),
    )
    done = weir("profile", data, "-f", hidden)
    assert "y.org" not in done.stdout
    assert "orders.items" not in done.stderr


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"id": ["a"] * 3}, "items"),
        ({"id": ["a"] * 3, "items": ["one"] * 3}, "items"),
        ({"id": pa.array([], pa.string()), "items": pa.array([], pa.int64())}, "no rows"),
    ],
)
def test_given_data_that_is_not_that_of_the_contract_then_there_is_no_profile_of_it(
    tmp_path: Path, columns: dict[str, list[Any]], said: str
) -> None:
    done = weir("profile", write(tmp_path / "orders.parquet", columns), "-f", contract(tmp_path))
    assert (done.exit_code, done.stdout) == (2, "")
    assert "the data is no reference for this contract: " in done.stderr
    assert said in done.stderr
