"""The converter from models to structural schemas."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import BaseModel, Field

from weir.api.base import ApiModel, Duration, Rule, Time
from weir.api.schema import SchemaError, cel_name, record_schema, status_schema, structural_schema


class Colour(StrEnum):
    """A colour."""

    RED = "Red"
    BLUE = "Blue"


class Part(ApiModel):
    """A part."""

    rules: ClassVar[Sequence[Rule]] = (Rule("self.size > 0", "`size` must be positive", field_path=".size"),)
    size: int = Field(default=1, description="size of it.")
    wait: Duration = Field(default="5s", description="wait for it.")
    note: str | None = Field(default=None, description="note on it.")


class Whole(ApiModel):
    """The whole."""

    immutable: ClassVar[Sequence[str]] = ("firstName", "namespace")
    first_name: str = Field(description="firstName, always.")
    namespace: str | None = Field(default=None, description="namespace, if any.")
    colour: Colour | None = Field(default=None, description="colour of it.")
    single: Literal["Only"] = Field(default="Only", description="single choice.")
    part: Part = Field(default_factory=Part, description="part with defaults.")
    parts: Annotated[list[Part], Field(max_length=3)] = Field(default_factory=list, description="parts, more.")
    at: Time | None = Field(default=None, description="at a time.")


@pytest.fixture
def schema() -> dict[str, Any]:
    return structural_schema(Whole, "Thing")


def test_given_optional_fields_then_they_are_plain_and_not_required(schema: dict[str, Any]) -> None:
    assert schema["required"] == ["firstName"]
    assert schema["properties"]["namespace"] == {"description": "namespace, if any.", "type": "string"}
    assert schema["properties"]["at"]["format"] == "date-time"


def test_given_enums_and_single_literals_then_both_become_enums_with_the_fields_description(
    schema: dict[str, Any],
) -> None:
    colour = {"description": "colour of it.", "type": "string", "enum": ["Red", "Blue"]}
    assert schema["properties"]["colour"] == colour
    assert schema["properties"]["single"]["enum"] == ["Only"]
    assert "const" not in schema["properties"]["single"]


def test_given_a_nested_model_then_it_is_inlined_with_its_rules_and_full_default(schema: dict[str, Any]) -> None:
    part = schema["properties"]["part"]
    assert part["description"] == "part with defaults. A part."
    assert part["default"] == {"size": 1, "wait": "5s"}
    assert part["properties"]["size"]["default"] == 1
    assert part["x-kubernetes-validations"][0]["message"] == "`size` must be positive"
    assert schema["properties"]["parts"]["items"]["properties"] == part["properties"]
    assert "default" not in schema["properties"]["parts"]


def test_given_immutable_fields_then_each_has_a_rule_that_names_the_kind_to_create(schema: dict[str, Any]) -> None:
    required, optional = schema["x-kubernetes-validations"]
    assert required == {
        "rule": "self.firstName == oldSelf.firstName",
        "message": "`firstName` is immutable: create a new Thing instead",
        "fieldPath": ".firstName",
        "reason": "FieldValueForbidden",
    }
    assert optional["rule"] == (
        "has(self.__namespace__) == has(oldSelf.__namespace__) && "
        "(!has(self.__namespace__) || self.__namespace__ == oldSelf.__namespace__)"
    )


def test_given_a_status_then_it_has_no_defaults_and_no_rules() -> None:
    schema = status_schema(Whole, "Thing")

    def keys(node: Any) -> set[str]:
        if isinstance(node, dict):
            return set(node).union(*map(keys, node.values()))
        return set().union(*map(keys, node)) if isinstance(node, list) else set()

    assert not keys(schema) & {"default", "x-kubernetes-validations", "pattern"}
    assert schema["properties"]["parts"]["maxItems"] == 3


def test_given_a_record_then_only_the_rules_of_the_whole_spec_stay() -> None:
    schema = record_schema(Whole, "Thing")

    assert len(schema["x-kubernetes-validations"]) == 2
    assert "x-kubernetes-validations" not in schema["properties"]["part"]


def test_given_a_reserved_word_then_its_cel_name_is_escaped() -> None:
    assert (cel_name("namespace"), cel_name("name")) == ("__namespace__", "name")


def test_given_an_immutable_name_that_is_no_field_then_the_model_is_refused() -> None:
    class Wrong(ApiModel):
        immutable: ClassVar[Sequence[str]] = ("missing",)

    with pytest.raises(SchemaError, match=r"Wrong\.immutable names 'missing'"):
        structural_schema(Wrong, "Thing")


class Union(ApiModel):
    """No structural schema has unions."""

    value: int | str = Field(description="value of two types.")


class Positive(ApiModel):
    """Exclusive bounds have another form in Kubernetes."""

    value: Annotated[int, Field(gt=0)] = Field(description="value above 0.")


class Untyped(ApiModel):
    """A field without a type."""

    value: Any = Field(description="value of any type.")


@pytest.mark.parametrize(
    ("model", "message"),
    [(Union, r"Union\.value: .*anyOf"), (Positive, r"Positive\.value: .*exclusiveMinimum"), (Untyped, "has no type")],
)
def test_given_something_no_crd_can_say_then_the_place_is_named(model: type[ApiModel], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        structural_schema(model, "Thing")


def test_given_a_foreign_base_model_then_it_is_refused() -> None:
    class Foreign(BaseModel):
        name: str

    class Holder(ApiModel):
        foreign: Foreign

    with pytest.raises(SchemaError, match="Foreign is no ApiModel"):
        structural_schema(Holder, "Thing")
