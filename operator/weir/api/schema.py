"""From pydantic models to the structural schemas that the API server takes.

Pydantic emits JSON Schema with references, unions with null and other keys that a CRD refuses; here they become the
plain form, and the models' ``rules`` and ``immutable`` become CEL rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.alias_generators import to_camel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema, to_jsonable_python

from weir.api.base import ApiModel, Rule

Schema = dict[str, Any]

VALIDATIONS = "x-kubernetes-validations"
_DROPPED = frozenset({"title", "examples", "deprecated", "readOnly", "writeOnly"})
_ALLOWED = frozenset(
    {
        "type",
        "description",
        "default",
        "enum",
        "format",
        "pattern",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "properties",
        "required",
        "items",
        "additionalProperties",
        VALIDATIONS,
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-map-type",
    }
)
_CEL_RESERVED = frozenset(
    {"as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop"}
    | {"namespace", "null", "package", "return", "true", "var", "void", "while"}
)


class SchemaError(Exception):
    """A model holds something that no structural schema can say; the message names the place."""


def cel_name(field: str) -> str:
    """The field's name in a CEL expression: reserved words are written with two underscores around them."""
    return f"__{field}__" if field in _CEL_RESERVED else field


def immutability_rule(field: str, kind: str, required: bool) -> Rule:
    """The rule that a field of the carrying object is never changed, nor, where it is optional, added or removed."""
    name = cel_name(field)
    same = f"self.{name} == oldSelf.{name}"
    if not required:
        same = f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || {same})"
    return Rule(
        same,
        f"`{field}` is immutable: create a new {kind} instead",
        field_path=f".{field}",
        reason="FieldValueForbidden",
    )


def model_rules(model: type[ApiModel], kind: str) -> tuple[Rule, ...]:
    """All CEL rules of a model's object: its own first, then one for each immutable field."""
    fixed = []
    for field in model.immutable:
        info = next((f for n, f in model.model_fields.items() if field in (n, f.alias, to_camel(n))), None)
        if info is None:
            raise SchemaError(f"{model.__name__}.immutable names {field!r}, which is no field")
        fixed.append(immutability_rule(to_camel(info.alias or field), kind, info.is_required()))
    return (*model.rules, *fixed)


class _Generator(GenerateJsonSchema):
    """Pydantic's generator without its unions with null, and with CEL rules and the defaults that factories make."""

    kind = ""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        return {"type": "string", "enum": [str(value) for value in schema["expected"]]}

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        value = _default(schema)
        # An empty name is no name: the model fills it in.
        unset = value is None or value == [] or (value == "" and inner.get("minLength", 0) > 0)
        return inner if unset else {**inner, "default": value}

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        inner = super().model_schema(schema)
        model = schema["cls"]
        if not issubclass(model, ApiModel):
            raise SchemaError(f"{model.__name__} is no ApiModel")
        rules = model_rules(model, self.kind)
        return {**inner, VALIDATIONS: [rule.as_schema() for rule in rules]} if rules else inner


def _default(schema: core_schema.WithDefaultSchema) -> Any:
    value = schema["default"] if "default" in schema else schema["default_factory"]()  # type: ignore[call-arg]
    if isinstance(value, BaseModel):
        # In full: the API server checks a default against the rules before it fills in the defaults inside.
        return value.model_dump(mode="json", by_alias=True, exclude_none=True)
    return to_jsonable_python(value)


def _inline(node: Schema, definitions: Mapping[str, Schema], path: str) -> Schema:
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[1]]
        merged = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
        if "properties" in target and "description" in node:
            # What the field is for, then what such an object is: `kubectl explain` shows both.
            merged["description"] = f"{node['description']} {target['description']}"
        return _inline(merged, definitions, path)
    result = {key: value for key, value in node.items() if key not in _DROPPED}
    if isinstance(result.get("additionalProperties"), bool):
        del result["additionalProperties"]
    if unknown := sorted(result.keys() - _ALLOWED):
        raise SchemaError(f"{path}: no structural schema can hold {', '.join(unknown)}")
    if "type" not in result and not result.get("x-kubernetes-int-or-string"):
        raise SchemaError(f"{path}: has no type")
    if "properties" in result:
        result["properties"] = {
            name: _inline(child, definitions, f"{path}.{name}") for name, child in result["properties"].items()
        }
    if "items" in result:
        result["items"] = _inline(result["items"], definitions, f"{path}[]")
    if isinstance(result.get("additionalProperties"), dict):
        result["additionalProperties"] = _inline(result["additionalProperties"], definitions, f"{path}{{}}")
    return dict(sorted(result.items(), key=lambda item: _position(item[0])))


def _position(key: str) -> tuple[int, str]:
    order = ("description", "type", "format", "enum", "default", "required", "properties", "items")
    return (order.index(key), key) if key in order else (len(order), key)


def _without_user_checks(node: Schema) -> Schema:
    """What Weir writes itself: no defaults (absent means not known), and no rules or patterns, so that a rule that a
    later release tightens can never stop a status or a record from being written.
    """
    kept = {key: value for key, value in node.items() if key not in {"default", VALIDATIONS, "pattern"}}
    if "properties" in kept:
        kept["properties"] = {name: _without_user_checks(child) for name, child in kept["properties"].items()}
    if "items" in kept:
        kept["items"] = _without_user_checks(kept["items"])
    return kept


def structural_schema(model: type[ApiModel], kind: str) -> Schema:
    """The structural schema of a spec, with defaults and CEL rules; ``kind`` appears in messages.

    Raises SchemaError, naming the place, when the model holds something a CRD cannot express.
    """
    generator = type("Generator", (_Generator,), {"kind": kind})
    raw = model.model_json_schema(by_alias=True, schema_generator=generator, mode="validation")
    definitions = raw.pop("$defs", {})
    return _inline(raw, definitions, model.__name__)


def status_schema(model: type[ApiModel], kind: str) -> Schema:
    """The structural schema of a status: like a spec's, but without defaults, rules and patterns."""
    return _without_user_checks(structural_schema(model, kind))


def record_schema(model: type[ApiModel], kind: str) -> Schema:
    """The structural schema of a spec that Weir writes itself: only the rules of the whole spec are kept."""
    rules = [rule.as_schema() for rule in model_rules(model, kind)]
    return {**status_schema(model, kind), **({VALIDATIONS: rules} if rules else {})}
