"""Documents for tests: small ones, and two that together use every name which the standard's JSON Schema defines."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

Odcs = dict[str, Any]

BASE: Odcs = {"apiVersion": "v3.2.0", "kind": "DataContract", "id": "orders", "version": "1.0.0"}


def document(*properties: Odcs, **more: Any) -> Odcs:
    """A document with one object, `orders`, of these properties."""
    return {**BASE, "schema": [{"name": "orders", "properties": list(properties)}], **more}


DEFINITIONS = [
    {"id": "def-1", "type": "businessDefinition", "url": "https://glossary.example/x", "description": "what"}
]
CUSTOM = [{"id": "cp-1", "property": "tier", "value": {"gold": [1, None]}, "description": "of it", "vendor": "us"}]
TAGS = ["pii", "finance"]
ROLES = [
    {
        "id": "role-1",
        "role": "reader",
        "description": "reads",
        "access": "read",
        "firstLevelApprovers": "lead",
        "secondLevelApprovers": "owner",
        "customProperties": CUSTOM,
    }
]
CONTEXT = {
    "instructions": "Amounts are in EUR.",
    "verifiedStatements": [
        {
            "id": "vs-1",
            "question": "How much?",
            "answer": "See amount.",
            "authoritativeDefinitions": DEFINITIONS,
            "tags": TAGS,
            "customProperties": CUSTOM,
        }
    ],
    "constraints": [
        {
            "id": "co-1",
            "constraint": "Never show names.",
            "authoritativeDefinitions": DEFINITIONS,
            "tags": TAGS,
            "customProperties": CUSTOM,
        }
    ],
}
QUALITY_BASE: Odcs = {
    "id": "q-1",
    "authoritativeDefinitions": DEFINITIONS,
    "businessImpact": "operational",
    "customProperties": CUSTOM,
    "description": "few are missing",
    "dimension": "completeness",
    "method": "reconciliation",
    "name": "few-missing",
    "schedule": "0 20 * * *",
    "scheduler": "cron",
    "severity": "warning",
    "tags": TAGS,
    "type": "library",
    "unit": "percent",
    "metric": "missingValues",
    "rule": "missingValues",
    "arguments": {"missingValues": [None, "N/A"]},
}
OPERATORS: Odcs = {
    "mustBe": 0,
    "mustNotBe": 7,
    "mustBeGreaterThan": 0.1,
    "mustBeGreaterOrEqualTo": 1,
    "mustBeLessThan": 5,
    "mustBeLessOrEqualTo": 4.5,
    "mustBeBetween": [1, 100],
    "mustNotBeBetween": [10, 20.5],
}
QUALITY: list[Odcs] = [
    {**QUALITY_BASE, "mustBeLessThan": 5},
    *({"metric": "rowCount", operator: value} for operator, value in OPERATORS.items()),
    {"type": "sql", "query": "SELECT count(*) FROM {object} WHERE {property} IS NULL", "mustBe": 0},
    {"type": "custom", "engine": "cel", "implementation": "metrics.rows > 0"},
    {"type": "custom", "engine": "soda", "implementation": {"checks": ["row_count > 0"]}},
    {"type": "text", "description": "Names are spelt as on the invoice."},
]


def _property(name: str, logical_type: str, options: Odcs | None = None, **more: Any) -> Odcs:
    given = {"logicalTypeOptions": options} if options is not None else {}
    return {"name": name, "logicalType": logical_type, **given, **more}


BOUNDS = {"minimum": 1, "maximum": 99.5, "exclusiveMinimum": 0, "exclusiveMaximum": 100, "multipleOf": 0.5}
DATES = {"minimum": "2020-01-01", "maximum": "2029-12-31", "exclusiveMinimum": "2019-12-31"}
ZONED = {**DATES, "exclusiveMaximum": "2030-01-01", "timezone": True, "defaultTimezone": "Etc/UTC", "format": "ISO8601"}
PROPERTIES: list[Odcs] = [
    {
        "id": "p-1",
        "name": "sku",
        "physicalName": "SKU",
        "physicalType": "VARCHAR(12)",
        "description": "what was sold",
        "businessName": "article number",
        "deprecated": False,
        "synonyms": [
            {
                "id": "s-1",
                "synonym": "article",
                "description": "in the shops",
                "locale": "en-GB",
                "source": "glossary",
                "status": "approved",
                "customProperties": CUSTOM,
            }
        ],
        "authoritativeDefinitions": DEFINITIONS,
        "tags": TAGS,
        "customProperties": CUSTOM,
        "primaryKey": True,
        "primaryKeyPosition": 1,
        "logicalType": "string",
        "logicalTypeOptions": {"minLength": 1, "maxLength": 12, "pattern": "^[A-Z]+$", "format": "uri"},
        "required": True,
        "unique": True,
        "semanticType": "dimension",
        "partitioned": True,
        "partitionKeyPosition": 1,
        "classification": "public",
        "encryptedName": "sku_encrypted",
        "transformSourceObjects": ["raw.sales"],
        "transformLogic": "trim(sku)",
        "transformDescription": "without blanks",
        "examples": ["ABC", None, 5],
        "enum": [
            {
                "value": "ABC",
                "label": "the first",
                "id": "e-1",
                "description": "first of all",
                "customProperties": CUSTOM,
                "authoritativeDefinitions": DEFINITIONS,
                "tags": TAGS,
            },
            {"value": 5},
            {"value": 1.5},
            {"value": True},
            {"value": None},
        ],
        "criticalDataElement": True,
        "relationships": [
            {"id": "r-1", "type": "foreignKey", "to": "articles.sku", "customProperties": CUSTOM},
            {"to": "/schema/articles/properties/sku"},
        ],
        "quality": QUALITY,
    },
    _property("day", "date", {**DATES, "exclusiveMaximum": "2030-01-01", "format": "yyyy-MM-dd"}),
    _property("at", "timestamp", ZONED),
    _property("daily", "time", {"minimum": "08:00:00", "maximum": "20:00:00"}),
    _property("amount", "number", {**BOUNDS, "format": "f64"}),
    _property("count", "integer", {**BOUNDS, "format": "i64"}),
    _property("paid", "boolean"),
    _property(
        "place",
        "object",
        {"minProperties": 1, "maxProperties": 3, "required": ["zone"]},
        properties=[_property("zone", "string"), _property("geo", "object", properties=[{"name": "lat"}])],
    ),
    _property(
        "lines",
        "array",
        {"minItems": 1, "maxItems": 50, "uniqueItems": True},
        items={"logicalType": "object", "properties": [_property("sku", "string", {"maxLength": 12})]},
    ),
    _property(
        "labels",
        "map",
        map={"key": {"logicalType": "string"}, "value": _property("anything", "integer", {"minimum": 0})},
    ),
    _property(
        "embedding",
        "vector",
        {
            "dimensions": 384,
            "elementType": "float32",
            "distanceMetric": "cosine",
            "embeddingModel": "e5",
            "embeddingModelVersion": "2",
            "normalized": True,
        },
    ),
]
FULL: Odcs = {
    **BASE,
    "name": "Orders",
    "tenant": "shop",
    "tags": TAGS,
    "status": "active",
    "dataProduct": "sales",
    "domain": "retail",
    "contractCreatedTs": "2026-01-02T03:04:05Z",
    "context": CONTEXT,
    "description": {
        "usage": "features",
        "purpose": "models",
        "limitations": "none",
        "authoritativeDefinitions": DEFINITIONS,
        "customProperties": CUSTOM,
    },
    "servers": [
        {
            "id": "srv-1",
            "server": "lake",
            "type": "s3",
            "description": "the lake",
            "environment": "production",
            "roles": ROLES,
            "customProperties": CUSTOM,
            "location": "s3://lake/orders/*.parquet",
            "format": "parquet",
        }
    ],
    "schema": [
        {
            "id": "o-1",
            "name": "orders",
            "physicalName": "tbl_orders",
            "physicalType": "table",
            "logicalType": "object",
            "description": "all orders",
            "businessName": "Orders",
            "deprecated": False,
            "synonyms": [{"synonym": "sales"}],
            "authoritativeDefinitions": DEFINITIONS,
            "tags": TAGS,
            "customProperties": CUSTOM,
            "dataGranularityDescription": "one row an order",
            "properties": PROPERTIES,
            "relationships": [{"from": ["orders.sku"], "to": ["articles.sku"]}, {"from": "orders.sku", "to": "a.sku"}],
            "quality": [{"metric": "rowCount", "mustBeGreaterThan": 0}],
            "context": "One row an order.",
        }
    ],
    "support": [
        {
            "id": "sup-1",
            "channel": "#orders",
            "url": "https://chat.example/orders",
            "description": "ask here",
            "tool": "slack",
            "scope": "interactive",
            "invitationUrl": "https://chat.example/join",
            "customProperties": CUSTOM,
        }
    ],
    "price": {"id": "price-1", "priceAmount": 9.95, "priceCurrency": "EUR", "priceUnit": "GB"},
    "team": {
        "id": "team-1",
        "name": "orders",
        "description": "who knows",
        "members": [
            {
                "id": "m-1",
                "username": "ada",
                "name": "Ada",
                "description": "owner",
                "role": "owner",
                "dateIn": "2024-01-01",
                "dateOut": "2025-01-01",
                "replacedByUsername": "bob",
                "tags": TAGS,
                "customProperties": CUSTOM,
                "authoritativeDefinitions": DEFINITIONS,
            }
        ],
        "tags": TAGS,
        "customProperties": CUSTOM,
        "authoritativeDefinitions": DEFINITIONS,
    },
    "roles": ROLES,
    "slaDefaultElement": "orders.at",
    "slaProperties": [
        {
            "id": "sla-1",
            "property": "latency",
            "value": 4,
            "valueExt": 8,
            "unit": "h",
            "element": "orders.day",
            "driver": "operational",
            "description": "four hours",
            "scheduler": "cron",
            "schedule": "0 30 * * *",
            "customProperties": CUSTOM,
            "authoritativeDefinitions": DEFINITIONS,
        },
        {"property": "retention", "value": 3, "unit": "y"},
        {"property": "endOfSupport", "value": None},
    ],
    "authoritativeDefinitions": DEFINITIONS,
    "customProperties": CUSTOM,
}
"""Everything but the fields of single types of servers, which are asked for from the schema."""


def changed(odcs: Odcs, path: str, value: Any) -> Odcs:
    """A copy with the value at a dotted path; numbers are positions in lists, None takes the field away."""
    copy = deepcopy(odcs)
    *parents, last = path.split(".")
    node: Any = copy
    for key in parents:
        node = node[int(key)] if isinstance(node, list) else node[key]
    if value is None:
        del node[int(last) if isinstance(node, list) else last]
    elif isinstance(node, list):
        node[int(last)] = value
    else:
        node[last] = value
    return copy


def wide(columns: int) -> Odcs:
    """A contract of so many columns, with the descriptions, limits and rules that real ones have."""
    kinds: list[tuple[str, Odcs]] = [
        ("string", {"minLength": 1, "maxLength": 20, "pattern": "^[a-z]*$"}),
        ("integer", {"minimum": 1, "format": "i64"}),
        ("number", {"minimum": 0.5, "maximum": 99.5}),
        ("date", {"minimum": "2020-01-01"}),
    ]
    properties = []
    for number in range(columns):
        logical_type, options = kinds[number % len(kinds)]
        rule = {"metric": "nullValues", "mustBeLessThan": 1, "unit": "percent", "severity": "error"}
        more = {"description": "what the column holds, in a sentence or two, " * 3, "required": True, "quality": [rule]}
        properties.append(_property(f"column_{number}", logical_type, options, tags=TAGS, **more))
    return document(*properties)
