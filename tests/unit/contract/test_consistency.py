"""What a DataContract says of its document must be true of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api import objects as good
from tests.api.cases import DELETE, edited
from weir.api.datacontract import DataContractSpec
from weir.contract.cel import RuleError
from weir.contract.consistency import contradictions, inconsistencies
from weir.contract.document import parse
from weir.contract.metricrules import holds, metric_paths
from weir.contract.validation import problems


def found(changes: dict[str, Any] | None = None) -> tuple[str, ...]:
    spec = DataContractSpec.model_validate(edited(good.CONTRACT_FULL, changes or {}))
    assert spec.odcs is not None
    return inconsistencies(spec, parse(spec.odcs))


def test_given_a_contract_that_sets_everything_then_it_is_consistent_and_its_document_valid() -> None:
    assert found() == ()
    assert problems(good.ODCS) == ()


def test_given_the_smallest_contract_then_it_is_consistent() -> None:
    spec = DataContractSpec.model_validate(good.CONTRACT)

    assert inconsistencies(spec, parse(good.ODCS)) == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"environments.1.exclude": ["orders.labels"]},
            "spec.environments[serving].exclude: the document describes no property 'orders.labels' "
            "(did you mean orders.label?)",
        ),
        (
            {"freshness.element": "at"},
            "spec.freshness.element: the document describes no property 'at' (write OBJECT.PROPERTY as in the "
            "document)",
        ),
        (
            {"freshness.element": "orders.place"},
            "spec.freshness.element: 'orders.place' is of the logical type object, which has no time (name a property "
            "of type timestamp or date)",
        ),
        (
            {"drift.0.property": "orders.amounts"},
            "spec.drift[amount].property: the document describes no property 'orders.amounts' "
            "(did you mean orders.amount?)",
        ),
        (
            {"drift.0.property": "orders.place"},
            "spec.drift[amount].property: 'orders.place' is of the logical type object, which has no distribution "
            "(name a property that holds single values)",
        ),
        (
            {"parity.profile.0.property": "x"},
            "spec.parity.profile[x].property: the document describes no property 'x' (write OBJECT.PROPERTY as in the "
            "document)",
        ),
        (
            {
                "semantics.0.property": "orders.x",
                "semantics.0.eventTime": DELETE,
                "semantics.0.availableAt": "orders.y",
            },
            "spec.semantics[orders.x].property: the document describes no property 'orders.x' (write OBJECT.PROPERTY "
            "as in the document)",
        ),
        (
            {"parity.rowReplay.object": "order"},
            "spec.parity.rowReplay.object: the document describes no object 'order' (did you mean orders?)",
        ),
        (
            {"parity.rowReplay.joinKey": ["key"]},
            "spec.parity.rowReplay.joinKey: object 'orders' of the document has no property 'key' (name a property of "
            "it)",
        ),
        (
            {"parity.rowReplay.properties": ["amounts"]},
            "spec.parity.rowReplay.properties: object 'orders' of the document has no property 'amounts' (did you mean "
            "amount?)",
        ),
        (
            {"leakage.0.object": "sales"},
            "spec.leakage[seen].object: the document describes no object 'sales' (name an entry of the document's "
            "`schema`)",
        ),
        (
            {"leakage.0.key": ["idd"]},
            "spec.leakage[seen].key: object 'orders' of the document has no property 'idd' (name a property of it)",
        ),
        (
            {"servers.0.odcsServer": "pond"},
            "spec.servers[lake].odcsServer: the document has no server 'pond' (name an entry of the document's "
            "`servers`)",
        ),
        (
            {"reference.server": "lakes"},
            "spec.reference.server: `spec.servers` has no server 'lakes' (did you mean lake?)",
        ),
        (
            {"parity.training": "warehouse"},
            "spec.parity.training: `spec.servers` has no server 'warehouse' (add it there)",
        ),
        ({"parity.serving": "fed"}, "spec.parity.serving: `spec.servers` has no server 'fed' (did you mean feed?)"),
        (
            {"leakage.0.training": "x"},
            "spec.leakage[seen].training: `spec.servers` has no server 'x' (add it there)",
        ),
        ({"leakage.0.other": "x"}, "spec.leakage[seen].other: `spec.servers` has no server 'x' (add it there)"),
        (
            {"rules.0.cel": "metric.orders > 1"},
            "spec.rules[few-nulls].cel: is no condition over `metrics`: 1:7: undeclared reference to 'metric.orders' "
            "(in container '')",
        ),
        (
            {"rules.0.cel": "1 + 1"},
            "spec.rules[few-nulls].cel: is no condition over `metrics`: must be true or false, and is of type INT",
        ),
        (
            {"schedule.cron": "61 * * * *"},
            "spec.schedule.cron: '61 * * * *' cannot be read: Bad minute (write '0 * * * *' for hourly)",
        ),
        (
            {"odcs.schema": [*good.ODCS["schema"], *good.ODCS["schema"]]},
            "spec.odcs.schema: the name 'orders' is there 2 times (give each its own name)",
        ),
        (
            {"odcs.schema.0.properties.1.name": "label", "drift.0.property": "orders.label"},
            "spec.odcs.schema[orders].properties: the name 'label' is there 2 times (give each its own name)",
        ),
        (
            {"odcs.servers": [*good.ODCS["servers"], good.ODCS["servers"][0]]},
            "spec.odcs.servers: the name 'lake' is there 2 times (give each its own name)",
        ),
    ],
)
def test_given_something_that_is_not_true_of_the_document_then_the_field_and_the_way_out_are_told(
    changes: dict[str, Any], said: str
) -> None:
    assert said in found(changes)


def test_given_a_nested_property_then_its_path_is_known() -> None:
    assert found({"drift.0.property": "orders.place.zone"}) == ()


def test_given_programs_that_ask_then_the_path_leads_to_the_field() -> None:
    changes = {"drift.1.property": "orders.x", "rules.0.cel": "("}
    content = edited(good.CONTRACT_FULL, changes)
    spec = DataContractSpec.model_validate(content)
    assert spec.odcs is not None

    for wrong in contradictions(spec, parse(spec.odcs)):
        value: Any = {"spec": content}
        for step in wrong.at:
            value = value[step]
        assert value in changes.values()


def test_given_metrics_when_a_rule_is_asked_then_it_holds_or_not_or_cannot_be_told() -> None:
    metrics = {"orders": {"nullRatio": {"amount": 0.005}}}

    assert holds("metrics.orders.nullRatio.amount < 0.01", metrics)
    assert not holds("metrics.orders.nullRatio.amount > 0.01", metrics)
    with pytest.raises(RuleError, match="refunds"):
        holds("metrics.refunds.nullRatio.amount < 0.01", metrics)
    with pytest.raises(RuleError):
        holds("metrics.orders", metrics)


@pytest.mark.parametrize(
    ("logical", "value", "said"),
    [
        (
            "string",
            True,
            "the value true is not a text, but logicalType is string (put the value in quotes as it is in",
        ),
        ("string", 1000.0, "the value 1000.0 is not a text, but logicalType is string (put the value in quotes"),
        ("date", 2026, "the value 2026 is not a text, but logicalType is date"),
        (
            "number",
            "5",
            "the value 5 is not a number, but logicalType is number (write a number, or correct logicalType)",
        ),
        ("integer", 1.5, "the value 1.5 is not an integer, but logicalType is integer"),
        ("integer", False, "the value false is not an integer"),
        ("boolean", "true", "the value true is not true or false, but logicalType is boolean"),
        ("string", "y", ""),
        ("number", 1.5, ""),
        ("integer", 3.0, ""),
        ("boolean", False, ""),
        (None, True, ""),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_given_a_permitted_value_of_another_type_than_the_property_then_it_is_told(
    logical: str | None, value: Any, said: str, nested: bool
) -> None:
    column = {"name": "c", "enum": [{"value": value}], **({"logicalType": logical} if logical else {})}
    outer = {"name": "o", "logicalType": "object", "properties": [column]} if nested else column
    odcs = {**good.ODCS, "schema": [{"name": "t", "logicalType": "object", "properties": [outer]}]}
    spec = DataContractSpec.model_validate({"roles": ["Features"], "odcs": odcs})
    told = inconsistencies(spec, parse(odcs))
    assert len(told) == bool(said)
    if said:
        place = "spec.odcs.schema[t].properties" + ("[o].properties[c].enum" if nested else "[c].enum")
        assert told[0].startswith(f"{place}: {said}")


def test_given_a_rule_that_names_what_no_check_measures_then_the_operator_refuses_it_too() -> None:
    assert found({"rules.0.cel": "metrics.orders.nullRatio.amonut < 0.01"}) == (
        "spec.rules[few-nulls].cel: object 'orders' of the document has no property 'amonut' (did you mean amount?)",
    )


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        (
            "metrics.a.nullRatio['b c'] < 1 && metrics[\"d\"].rowCount > 2",
            [("a", "nullRatio", "b c"), ("d", "rowCount")],
        ),
        ("metrics.a.min.all(c, metrics.a.min[c] > 1)", [("a", "min"), ("a", "min")]),
        ("metrics.exists(t, t == 'metrics.x.y')", []),
        ("metrics.a.min.b == 'metrics.x.y' && x.metrics.b", [("a", "min", "b")]),
    ],
)
def test_given_a_rule_then_what_it_names_is_found_and_texts_are_not(
    expression: str, names: list[tuple[str, ...]]
) -> None:
    assert list(metric_paths(expression)) == names
