"""Documents inside DataContracts, and names of contracts, each finding at its line."""

from __future__ import annotations

import pytest

from tests.api.objects import DIGEST
from weir.lint import Finding, Mark, Options, Severity, Source, lint

GOOD = """apiVersion: weir.dev/v1alpha1
kind: DataContract
metadata: {name: orders}
spec:
  roles: [Features]
  odcs:
    apiVersion: v3.2.0
    kind: DataContract
    id: orders
    version: 1.0.0
    servers:
      - server: lake
        type: s3
        location: s3://lake/orders/*.parquet
    schema:
      - name: orders
        properties:
          - name: amount
            logicalType: number
            required: true
          - {name: at, logicalType: timestamp}
  servers:
    - name: lake
      odcsServer: lake
  reference: {server: lake}
  drift:
    - name: amount
      property: orders.amount
  freshness: {element: orders.at, failAfter: 1h}
  rules:
    - {name: rows, cel: "metrics.orders.rows > 0", message: no rows}
"""


def found(text: str, options: Options | None = None) -> list[Finding]:
    return list(lint([Source("orders.yaml", text)], options).findings)


def test_given_a_good_contract_then_nothing_is_found() -> None:
    assert found(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "code", "path", "said"),
    [
        ("required: true", "requird: true", 20, 13, "odcs", "schema[0].properties[0].requird", "mean required?"),
        ("required: true", "required: 'yes'", 20, 23, "odcs", "schema[0].properties[0].required", "true or false"),
        ("logicalType: number", "logicalType: numbr", 19, 26, "odcs", "schema[0].properties[0].logicalType", "number?"),
        ("        type: s3\n", "", 12, 9, "odcs", "servers[0].type", "add `type`"),
        ("      - name: orders\n", "      - name: ''\n", 16, 15, "odcs", "schema[0].name", "is required"),
        ("    id: orders", "    id: ''", 9, 9, "rule", "id", "`id` is required"),
    ],
)
def test_given_a_document_that_breaks_the_standard_then_the_finding_is_where_it_is(
    old: str, new: str, line: int, column: int, code: str, path: str, said: str
) -> None:
    (finding,) = found(GOOD.replace(old, new))

    assert (finding.mark, finding.code, finding.path) == (Mark(line, column), code, f"spec.odcs.{path}")
    assert finding.severity is Severity.ERROR
    assert said in finding.text


@pytest.mark.parametrize(
    ("old", "new", "line", "path", "said"),
    [
        ("property: orders.amount", "property: orders.amout", 28, "spec.drift[0].property", "mean orders.amount?"),
        ("element: orders.at", "element: orders.amounts", 29, "spec.freshness.element", "describes no property"),
        ("odcsServer: lake", "odcsServer: pond", 24, "spec.servers[0].odcsServer", "has no server 'pond'"),
        ("{server: lake}", "{server: pond}", 25, "spec.reference.server", "has no server 'pond'"),
        ("metrics.orders.rows > 0", "rows > 0", 31, "spec.rules[0].cel", "no condition over `metrics`"),
    ],
)
def test_given_a_contract_that_its_document_contradicts_then_the_field_is_told(
    old: str, new: str, line: int, path: str, said: str
) -> None:
    (finding,) = found(GOOD.replace(old, new))

    assert (finding.mark.line, finding.code, finding.path) == (line, "contract", path)
    assert said in finding.text


def test_given_what_is_deprecated_or_of_a_later_version_then_it_is_a_warning_that_can_be_left_out() -> None:
    text = GOOD.replace("v3.2.0", "v3.9.0").replace("    id: orders", "    id: orders\n    dataProduct: sales")

    told = found(text)

    assert [(finding.mark.line, finding.severity, finding.code) for finding in told] == [
        (7, Severity.WARNING, "odcs-warning"),
        (10, Severity.WARNING, "odcs-warning"),
    ]
    assert found(text, Options(ignore=frozenset({"odcs-warning"}))) == []


def test_given_a_document_elsewhere_then_nothing_is_said_of_it() -> None:
    head, _, tail = GOOD.partition("  odcs:\n")
    rest = tail[tail.index("  servers:\n    - name: lake") :]
    source = f"  source: {{digest: '{DIGEST}', configMapRef: {{name: orders}}}}\n"

    assert found(head + source + rest) == []


VERSION = """---
apiVersion: weir.dev/v1alpha1
kind: ModelVersion
metadata: {{name: churn-1}}
spec:
  model: churn
  version: "1"
  runtime: {{image: localhost/churn:1}}
  contracts:
    {field}
"""


@pytest.mark.parametrize(
    ("field", "path"),
    [
        ("request: NAME", "request"),
        ("response: NAME", "response"),
        ("trainedOn: [NAME]", "trainedOn[0]"),
        ("servedFrom: [NAME]", "servedFrom[0]"),
    ],
)
def test_given_a_version_that_names_a_contract_then_a_digest_makes_no_difference_to_the_name(
    field: str, path: str
) -> None:
    for name in ("orders", f"orders@{DIGEST}") if "servedFrom" not in field else ("orders",):
        assert found(GOOD + VERSION.format(field=field.replace("NAME", name))) == []

    (finding,) = found(GOOD + VERSION.format(field=field.replace("NAME", "sales")))

    assert (finding.code, finding.path) == ("unknown-reference", f"spec.contracts.{path}")
    assert "no DataContract sales in these files" in finding.message


def test_given_a_check_of_a_contract_that_is_not_there_then_it_is_told() -> None:
    check = "---\napiVersion: weir.dev/v1alpha1\nkind: ContractCheck\nmetadata: {name: now}\nspec: {contractRef: "

    assert found(GOOD + check + "{name: orders}}\n") == []
    assert [finding.code for finding in found(GOOD + check + "{name: sales}}\n")] == ["unknown-reference"]
