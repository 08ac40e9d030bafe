"""A contract that is made from a table of PostgreSQL, and checked there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict
from typer.testing import CliRunner, Result

from tests.unit.postgres import postgres
from weir.cli.main import app
from weir.lint import Source, lint


def weir(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["contract", *map(str, arguments)])


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The address of a PostgreSQL with the table shop.orders of three rows."""
    with postgres(
        "CREATE SCHEMA shop",
        "CREATE TABLE shop.orders (id bigint, email text, at timestamptz, total numeric(10,2))",
        "INSERT INTO shop.orders VALUES (1, 'a@x', '2026-09-21T14:00:00Z', 1.5), "
        "(2, NULL, '2026-09-20T00:00:00Z', 2), (3, 'b@x', '2026-09-20T00:00:00Z', 'NaN')",
    ) as address:
        yield address


def test_given_a_table_then_its_contract_lints_clean_and_the_table_keeps_it(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "c.yaml"
    done = weir("init", database, "--table", "shop.orders", "-o", made)
    assert done.exit_code == 0, done.output
    assert lint([Source("c.yaml", made.read_text())]).findings == ()
    contract = yaml.safe_load(made.read_text())
    (table,) = contract["spec"]["odcs"]["schema"]
    assert (contract["metadata"]["name"], table["name"]) == ("orders", "orders")
    assert {p["name"]: (p["logicalType"], p.get("required", False)) for p in table["properties"]} == {
        "id": ("integer", True),
        "email": ("string", False),
        "at": ("timestamp", True),
        "total": ("number", True),
    }
    (server,) = contract["spec"]["odcs"]["servers"]
    assert (server["type"], server["schema"]) == ("postgres", "shop")
    assert "password" not in made.read_text()

    monkeypatch.setenv("DATABASE_USER", str(conninfo_to_dict(database)["user"]))
    checked = weir("check", "-f", made, "--server", "database")
    assert checked.exit_code == 0, checked.output
    assert "database: Pass" in checked.stdout


@pytest.mark.parametrize(
    ("url", "table", "said"),
    [
        (None, "shop.nothing", "the database has no table shop.nothing"),
        ("postgres://localhost:9/x", "t", "cannot connect to the database"),
    ],
)
def test_given_nothing_to_read_then_one_line_says_why(database: str, url: str | None, table: str, said: str) -> None:
    done = weir("init", url or database, "--table", table)
    assert done.exit_code == 2
    assert said in done.stderr
