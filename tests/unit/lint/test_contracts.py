"""Documents inside DataContracts, and names of contracts, each finding at its line."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import yaml

from tests.api.objects import DIGEST
from weir.contract.digest import contract_digest
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
    - {name: rows, cel: "metrics.orders.rowCount > 0", message: no rows}
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
        ("metrics.orders.rowCount > 0", "rows > 0", 31, "spec.rules[0].cel", "no condition over `metrics`"),
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
    for name in ("orders", f"orders@{current()}") if "servedFrom" not in field else ("orders",):
        assert found(GOOD + VERSION.format(field=field.replace("NAME", name))) == []

    (finding,) = found(GOOD + VERSION.format(field=field.replace("NAME", "sales")))

    assert (finding.code, finding.path) == ("unknown-reference", f"spec.contracts.{path}")
    assert "no DataContract sales in these files" in finding.message


def current() -> str:
    return contract_digest(yaml.safe_load(GOOD)["spec"]["odcs"], ())


def test_given_a_pin_of_another_revision_than_that_in_the_files_then_its_digest_now_is_told() -> None:
    (finding,) = found(GOOD + VERSION.format(field=f"trainedOn: [orders@{DIGEST}]"))

    assert (finding.code, finding.path) == ("stale-pin", "spec.contracts.trainedOn[0]")
    assert (finding.severity, finding.mark.line) == (Severity.WARNING, 41)
    assert f"orders in these files is now {current()}" in finding.text


@pytest.mark.parametrize("field", ["uses", "imputed"])
def test_given_properties_that_the_contracts_do_not_describe_then_each_is_told(field: str) -> None:
    said = "{trainedOn: [orders], FIELD: [orders.at, orders, orders.amonut, nope]}".replace("FIELD", field)
    version = VERSION.replace("\n    {field}", " " + said.replace("{", "{{").replace("}", "}}"))

    first, second = found(GOOD + version.format())

    assert (first.code, first.path) == ("unknown-property", f"spec.contracts.{field}[2]")
    assert "did you mean orders.amount?" in first.text
    assert second.path == f"spec.contracts.{field}[3]"
    assert "no contract of the version (orders) describes nope" in second.text


def test_given_a_version_pinned_to_a_revision_that_is_not_in_the_files_then_nothing_is_said_of_its_properties() -> None:
    said = f" {{{{trainedOn: ['orders@{DIGEST}'], uses: [orders.gone]}}}}"

    told = found(GOOD + VERSION.replace("\n    {field}", said).format())

    assert [finding.code for finding in told] == ["stale-pin"]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("metrics.orders.nullRatio.amonut < 0.01", "no property 'amonut' (did you mean amount?)"),
        ("metrics.orders.nulRatio.amount < 0.01", "no metric 'nulRatio' (did you mean nullRatio?)"),
        ("metrics.order.rowCount > 10", "no object 'order' (did you mean orders?)"),
        ("metrics['order'].rowCount > 10", "no object 'order' (did you mean orders?)"),
        ("metrics.orders.rowCount > 10 || metrics.orders.min.x > 1", "no property 'x' (there are amount, at)"),
        ("metrics.orders.rowCount", "metrics.orders.rowCount is a number (compare it, as in"),
        ("metrics.orders.mean.amount", "metrics.orders.mean.amount is a number"),
        ("5000", "must be true or false, and is of type INT"),
    ],
)
def test_given_a_rule_that_no_check_can_judge_then_it_is_refused(rule: str, said: str) -> None:
    (finding,) = found(GOOD.replace("metrics.orders.rowCount > 0", rule))

    assert (finding.code, finding.path, finding.severity) == ("contract", "spec.rules[0].cel", Severity.ERROR)
    assert said in finding.text


@pytest.mark.parametrize(
    "rule",
    [
        "metrics.orders.nullRatio['amount'] < 0.01 && metrics.orders.rowCount > 1",
        "metrics.all(t, metrics[t].rowCount > 1)",
        "metrics.orders.nullRatio.all(c, metrics.orders.nullRatio[c] < 0.5)",
        "has(metrics.orders.min.at) && metrics.orders.min.at != 'metrics.sales.x'",
    ],
)
def test_given_a_rule_that_can_be_judged_then_nothing_is_found(rule: str) -> None:
    assert found(GOOD.replace("metrics.orders.rowCount > 0", rule)) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("minimum: 5000, maximum: 998.93", "minimum 5000 and maximum 998.93"),
        ("minimum: 5, exclusiveMaximum: 5", "minimum 5 and exclusiveMaximum 5"),
    ],
)
def test_given_limits_that_no_value_keeps_then_they_are_refused(options: str, said: str) -> None:
    (finding,) = found(GOOD.replace("required: true", f"logicalTypeOptions: {{{options}}}"))

    assert (finding.code, finding.severity) == ("contract", Severity.ERROR)
    assert f"no value of orders.amount can keep {said} (correct one of the two)" in finding.text


def test_given_limits_that_one_value_keeps_then_nothing_is_found() -> None:
    assert found(GOOD.replace("required: true", "logicalTypeOptions: {minimum: 5, maximum: 5}")) == []


@pytest.mark.parametrize(
    ("pattern", "said"),
    [("^ORD-[0-9{6}$", "missing ]"), ("^(?=A)B", "no look-around"), ("^[A-Z]{3}$", "")],
)
def test_given_a_pattern_that_checks_cannot_match_then_it_is_a_warning(pattern: str, said: str) -> None:
    column = f"logicalType: string\n            logicalTypeOptions: {{pattern: '{pattern}'}}"

    told = found(GOOD.replace("logicalType: number", column))

    assert [(f.code, f.severity, f.mark.line) for f in told] == ([("pattern", Severity.WARNING, 20)] if said else [])
    assert not said or said in told[0].text


@pytest.mark.parametrize(
    ("rule_id", "expires", "path", "said"),
    [
        ("type-changed", "2026-01-01T00:00:00Z", "expires", "expired at 2026-01-01T00:00:00"),
        ("type-chnged", "2026-03-01T00:00:00Z", "ruleId", "did you mean type-changed?"),
        ("R3", "2026-03-01T00:00:00Z", "ruleId", "no finding has the ruleId R3"),
        ("semantics-unit", "2026-03-01T00:00:00Z", "", ""),
        ("metadataTypeChanged", "2026-03-01T00:00:00Z", "", ""),
    ],
)
def test_given_a_waiver_that_accepts_nothing_then_it_is_a_warning(
    rule_id: str, expires: str, path: str, said: str
) -> None:
    waiver = f"{{ruleId: {rule_id}, path: orders.amount, reason: agreed, approvedBy: ada, expires: '{expires}'}}"
    now = datetime(2026, 2, 1, tzinfo=UTC).timestamp()

    told = found(GOOD + f"  compatibility: {{waivers: [{waiver}]}}\n", Options(now=now))

    assert [(f.code, f.path) for f in told] == ([("waiver", f"spec.compatibility.waivers[0].{path}")] if path else [])
    assert not said or said in told[0].text


ALONE = """apiVersion: v3.2.0
kind: DataContract
id: orders
version: 1.0.0
status: active
schema:
  - name: orders
    properties:
      - name: amount
        logicalType: number
"""


def test_given_a_document_of_the_standard_alone_then_it_is_checked_and_counted() -> None:
    report = lint([Source("doc.yaml", ALONE)])
    assert (report.objects, report.findings) == (1, ())

    (finding,) = found(ALONE.replace("logicalType: number", "logicalTyp: number"))
    assert (finding.code, finding.subject, finding.mark) == ("odcs", "DataContract/orders", Mark(10, 9))
    assert finding.path == "schema[0].properties[0].logicalTyp"

    (finding,) = found(ALONE + "      - name: amount\n        logicalType: string\n")
    assert (finding.code, finding.path, finding.severity) == ("contract", "schema", Severity.ERROR)
    assert "the name 'amount' is there 2 times" in finding.text


def test_given_a_check_of_a_contract_that_is_not_there_then_it_is_told() -> None:
    check = "---\napiVersion: weir.dev/v1alpha1\nkind: ContractCheck\nmetadata: {name: now}\nspec: {contractRef: "

    assert found(GOOD + check + "{name: orders}}\n") == []
    assert [finding.code for finding in found(GOOD + check + "{name: sales}}\n")] == ["unknown-reference"]
