"""One good contract and what may be changed in it: pairs for the comparison with the reference implementation."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Odcs = dict[str, Any]


def good() -> Odcs:
    """A contract that uses most of what the standard has."""
    return {
        "apiVersion": "v3.2.0",
        "kind": "DataContract",
        "id": "orders",
        "version": "1.0.0",
        "status": "active",
        "description": {"purpose": "Orders of the shop"},
        "team": {"name": "shop"},
        "schema": [
            {
                "name": "orders",
                "physicalType": "table",
                "quality": [{"name": "rows", "metric": "rowCount", "mustBeGreaterThan": 100}],
                "properties": [
                    {"name": "id", "logicalType": "integer", "required": True, "primaryKey": True},
                    {
                        "name": "amount",
                        "logicalType": "number",
                        "physicalType": "DOUBLE",
                        "physicalName": "amount_eur",
                        "required": True,
                        "logicalTypeOptions": {"minimum": 0, "maximum": 1000},
                    },
                    {
                        "name": "count",
                        "logicalType": "integer",
                        "logicalTypeOptions": {"exclusiveMinimum": 0, "multipleOf": 2},
                    },
                    {
                        "name": "day",
                        "logicalType": "date",
                        "logicalTypeOptions": {"minimum": "2020-01-01", "maximum": "2029-12-31"},
                    },
                    {"name": "at", "logicalType": "timestamp"},
                    {
                        "name": "email",
                        "logicalType": "string",
                        "unique": True,
                        "classification": "restricted",
                        "description": "Where to write to",
                        "tags": ["pii"],
                        "logicalTypeOptions": {"minLength": 3, "maxLength": 100, "pattern": ".+@.+"},
                        "quality": [
                            {"name": "nulls", "metric": "nullValues", "unit": "percent", "mustBeLessThan": 5},
                            {
                                "name": "invalid",
                                "metric": "invalidValues",
                                "arguments": {"pattern": ".*@.*"},
                                "mustBe": 0,
                            },
                        ],
                    },
                    {
                        "name": "country",
                        "logicalType": "string",
                        "enum": [{"value": "DE"}, {"value": "FR"}, {"value": "IT"}],
                        "quality": [
                            {
                                "name": "known",
                                "metric": "invalidValues",
                                "arguments": {"validValues": ["DE", "FR", "IT"]},
                                "mustBeLessThan": 10,
                            },
                            {
                                "name": "said",
                                "metric": "missingValues",
                                "arguments": {"missingValues": ["n/a", ""]},
                                "mustBeLessOrEqualTo": 3,
                            },
                        ],
                    },
                    {
                        "name": "labels",
                        "logicalType": "array",
                        "logicalTypeOptions": {"minItems": 1, "maxItems": 5, "uniqueItems": True},
                        "items": {"logicalType": "string", "logicalTypeOptions": {"maxLength": 20}},
                    },
                    {
                        "name": "address",
                        "logicalType": "object",
                        "properties": [
                            {"name": "street", "logicalType": "string", "required": True},
                            {"name": "zip", "logicalType": "string", "logicalTypeOptions": {"minLength": 5}},
                        ],
                    },
                    {
                        "name": "embedding",
                        "logicalType": "vector",
                        "logicalTypeOptions": {"dimensions": 384, "elementType": "float32"},
                    },
                    {
                        "name": "note",
                        "logicalType": "string",
                        "quality": [
                            {"name": "sql", "type": "sql", "query": "SELECT COUNT(*) FROM {object}", "mustBe": 0},
                            {"name": "text", "type": "text", "description": "Be polite"},
                        ],
                    },
                ],
            },
            {"name": "customers", "properties": [{"name": "id", "logicalType": "string", "required": True}]},
        ],
        "slaProperties": [
            {"property": "freshness", "value": 24, "unit": "h", "element": "orders.at"},
            {"property": "retention", "value": 3, "unit": "y", "element": "orders.at"},
            {"property": "availability", "value": 99.9, "unit": "percent"},
        ],
    }


@dataclass(frozen=True)
class Mutation:
    """A kind of change and how it is made, in place."""

    name: str
    apply: Callable[[Odcs], object]


def column(odcs: Odcs, name: str, table: str = "orders") -> dict[str, Any]:
    """A property of the contract."""
    found: dict[str, Any] = next(c for c in of_table(odcs, table)["properties"] if c["name"] == name)
    return found


def of_table(odcs: Odcs, name: str) -> dict[str, Any]:
    """A table of the contract."""
    found: dict[str, Any] = next(t for t in odcs["schema"] if t["name"] == name)
    return found


def rule(odcs: Odcs, path: str, name: str) -> dict[str, Any]:
    """A quality rule of a property, or of the table orders."""
    owner = column(odcs, path) if path else of_table(odcs, "orders")
    found: dict[str, Any] = next(q for q in owner["quality"] if q["name"] == name)
    return found


def sla(odcs: Odcs, name: str) -> dict[str, Any]:
    """A service level."""
    found: dict[str, Any] = next(s for s in odcs["slaProperties"] if s["property"] == name)
    return found


def _set(kind: str, of: str, /, **fields: Any) -> Mutation:
    return Mutation(kind, lambda odcs: column(odcs, of).update(fields))


def _option(kind: str, of: str, /, **options: Any) -> Mutation:
    """Sets options; those that are None are removed."""

    def apply(odcs: Odcs) -> None:
        found = column(odcs, of).setdefault("logicalTypeOptions", {})
        found.update(options)
        for key in [key for key, value in found.items() if value is None]:
            del found[key]

    return Mutation(kind, apply)


def _rule(kind: str, of: str, which: str, /, **fields: Any) -> Mutation:
    """Sets fields of a quality rule; those that are None are removed."""

    def apply(odcs: Odcs) -> None:
        found = rule(odcs, of, which)
        found.update(fields)
        for key in [key for key, value in found.items() if value is None]:
            del found[key]

    return Mutation(kind, apply)


def _drop(odcs: Odcs, name: str) -> None:
    found = of_table(odcs, "orders")["properties"]
    found.remove(column(odcs, name))


MUTATIONS: tuple[Mutation, ...] = (
    Mutation("nothing", lambda o: None),
    Mutation("version", lambda o: o.update(version="1.0.1")),
    Mutation("table added", lambda o: o["schema"].append({"name": "returns", "properties": [{"name": "id"}]})),
    Mutation("table physical name", lambda o: of_table(o, "orders").update(physicalName="orders_v2")),
    Mutation("kind of table", lambda o: of_table(o, "orders").update(physicalType="view")),
    Mutation("optional column removed", lambda o: _drop(o, "at")),
    Mutation("required column removed", lambda o: _drop(o, "amount")),
    Mutation("column renamed", lambda o: column(o, "at").update(name="created")),
    Mutation("columns in another order", lambda o: of_table(o, "orders")["properties"].reverse()),
    _set("nullable", "amount", required=False),
    _set("no longer unique", "email", unique=False),
    _set("no key", "id", primaryKey=False),
    Mutation("key of one more column", lambda o: column(o, "day").update(primaryKey=True)),
    _set("physical name", "amount", physicalName="amount_usd"),
    _set("physical name written out", "note", physicalName="note"),
    _set("physical type", "amount", physicalType="DECIMAL"),
    _set("physical type in lower case", "amount", physicalType="double"),
    Mutation("physical type removed", lambda o: column(o, "amount").pop("physicalType")),
    _set("integer to number", "id", logicalType="number"),
    _set("text to integer", "note", logicalType="integer"),
    Mutation("logical type removed", lambda o: column(o, "at").pop("logicalType")),
    _option("lower minimum", "amount", minimum=-5),
    _option("higher minimum", "amount", minimum=5),
    _option("no minimum", "amount", minimum=None),
    _option("lower maximum", "amount", maximum=999.5),
    _option("exclusive minimum", "amount", minimum=None, exclusiveMinimum=0),
    _option("the same integers, exclusive to inclusive", "count", exclusiveMinimum=None, minimum=1),
    _option("other multiple", "count", multipleOf=4),
    _option("later first day", "day", minimum="2021-01-01"),
    _option("last day exclusive", "day", maximum=None, exclusiveMaximum="2030-01-01"),
    _option("shorter text", "email", maxLength=50),
    _option("longer least text", "email", minLength=5),
    _option("no longest text", "email", maxLength=None),
    _option("other pattern", "email", pattern="[^@]+@[^@]+"),
    _option("no pattern", "email", pattern=None),
    _option("pattern added", "note", pattern="[a-z]*"),
    _option("format added", "email", format="email"),
    _option("time zone", "at", timezone=True),
    _option("fewer items", "labels", maxItems=3),
    _option("more least items", "labels", minItems=2),
    _option("items not unique", "labels", uniqueItems=False),
    Mutation("shorter elements", lambda o: column(o, "labels")["items"]["logicalTypeOptions"].update(maxLength=10)),
    Mutation("type of elements", lambda o: column(o, "labels").update(items={"logicalType": "integer"})),
    Mutation("member removed", lambda o: column(o, "address")["properties"].pop()),
    Mutation("member nullable", lambda o: column(o, "address")["properties"][0].update(required=False)),
    _set("value removed", "country", enum=[{"value": "DE"}, {"value": "FR"}]),
    _set("value replaced", "country", enum=[{"value": "DE"}, {"value": "FR"}, {"value": "ES"}]),
    Mutation("no list of values", lambda o: column(o, "country").pop("enum")),
    _set("list of values added", "note", enum=[{"value": "a"}]),
    _option("other dimensions", "embedding", dimensions=768),
    _option("other elements", "embedding", elementType="float16"),
    _rule("fewer rows", "", "rows", mustBeGreaterThan=50),
    _rule("rows between", "", "rows", mustBeGreaterThan=None, mustBeBetween=[100, 1000]),
    _rule("the same count, other operator", "", "rows", mustBeGreaterThan=None, mustBeGreaterOrEqualTo=101),
    _rule("more nulls", "email", "nulls", mustBeLessThan=10),
    _rule("nulls in rows", "email", "nulls", unit="rows"),
    _rule("nulls warn only", "email", "nulls", severity="warning"),
    _rule("other pattern of a rule", "email", "invalid", arguments={"pattern": ".+"}),
    _rule("fewer valid values", "country", "known", arguments={"validValues": ["DE", "FR"]}),
    _rule("fewer markers", "country", "said", arguments={"missingValues": ["n/a"]}),
    _rule("other metric", "country", "said", metric="nullValues", arguments=None),
    _rule("other query", "note", "sql", query="SELECT 1"),
    _rule("other threshold of a query", "note", "sql", mustBe=None, mustBeLessThan=5),
    _rule("other text", "note", "text", description="Be short"),
    _rule("rule renamed", "note", "sql", name="none"),
    Mutation("rule removed", lambda o: column(o, "email")["quality"].pop(0)),
    Mutation("fresher", lambda o: sla(o, "freshness").update(value=12)),
    Mutation("the same age in days", lambda o: sla(o, "freshness").update(value=1, unit="d")),
    Mutation("freshness of another column", lambda o: sla(o, "freshness").update(element="orders.day")),
    Mutation("no freshness", lambda o: o["slaProperties"].pop(0)),
    Mutation("longer retention", lambda o: sla(o, "retention").update(value=5)),
    Mutation("more available", lambda o: sla(o, "availability").update(value=99.99)),
    _set("classification", "email", classification="public"),
    _set("description", "email", description="Address"),
    _set("tags", "email", tags=["pii", "contact"]),
    Mutation("team", lambda o: o.update(team={"name": "other"})),
    Mutation(
        "custom rule",
        lambda o: column(o, "note")["quality"].append(
            {"name": "own", "type": "custom", "engine": "greatExpectations", "implementation": {"type": "expect"}}
        ),
    ),
    Mutation(
        "foreign key",
        lambda o: column(o, "email").update(relationships=[{"type": "foreignKey", "to": "customers.id"}]),
    ),
)


@dataclass(frozen=True)
class Pair:
    """Two contracts of which one is a mutation of the other."""

    name: str
    old: Odcs
    new: Odcs


def pairs() -> Iterator[Pair]:
    """Each mutation made, and taken back; and one that needs a contract of its own."""
    for mutation in MUTATIONS:
        changed = good()
        mutation.apply(changed)
        yield Pair(mutation.name, good(), changed)
        yield Pair(f"{mutation.name}, taken back", changed, good())
    keyed = good()
    column(keyed, "day").update(primaryKey=True)
    without = copy.deepcopy(keyed)
    _drop(without, "day")
    yield Pair("column of a key removed", keyed, without)
