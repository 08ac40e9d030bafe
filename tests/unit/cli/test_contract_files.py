"""Contracts in files: digest, diff, init, profile, and checks on this machine."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner, Result

from weir.cli.contract_diff import MODES
from weir.cli.main import app
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
    text = weir("init", orders, "--ranges", "--enums", "--role", "Label", "--name", "My Orders").stdout
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


def test_given_keys_and_personal_columns_then_both_are_proposed_in_comments_and_no_value_is_written(
    orders: Path,
) -> None:
    text = weir("init", orders, "--ranges", "--enums").stdout
    lines = text.splitlines()

    def below(name: str) -> str:
        start = lines.index(next(line for line in lines if line.strip() == f"- name: {name}"))
        end = next((i for i in range(start + 1, len(lines)) if "- name:" in lines[i]), len(lines))
        return "\n".join(lines[start:end])

    assert "# primaryKey: true" in below("id")
    assert "# classification: restricted" in below("email")
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
    data = write(tmp_path / "t.parquet", {"x": [float("nan"), 1.0, 2.0], "y": [float("nan")] * 3})
    found = yaml.safe_load(weir("init", data, "--ranges").stdout)["spec"]["odcs"]["schema"][0]["properties"]
    assert found[0]["logicalTypeOptions"] == {"minimum": 1.0, "maximum": 2.0}
    assert "logicalTypeOptions" not in found[1]


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
