"""Building blocks that all kinds share: the base model, validation rules, scalar types, conditions.

Conventions (Kubernetes API conventions): no floats in a spec (ratios and thresholds are decimal strings), durations are
Go-style strings, times are RFC 3339, lists of named objects instead of maps, every string and list bounded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel


@dataclass(frozen=True)
class Rule:
    """A CEL rule (``x-kubernetes-validations``) on the object or scalar that has it; the message tells the way out."""

    expression: str
    message: str
    field_path: str | None = None
    # FieldValueDuplicate is left out: the API server drops the rule's message with it.
    reason: Literal["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired"] | None = None

    def as_schema(self) -> dict[str, str]:
        """The rule as the API server's schema wants it."""
        schema = {"rule": self.expression, "message": self.message}
        if self.field_path:
            schema["fieldPath"] = self.field_path
        if self.reason:
            schema["reason"] = self.reason
        return schema


class ApiModel(BaseModel):
    """Base of everything in an API object: camelCase on the wire, frozen in memory, unknown fields ignored.

    ``rules`` become CEL rules of the object; ``immutable`` names fields that may be set once and never changed.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    rules: ClassVar[Sequence[Rule]] = ()
    immutable: ClassVar[Sequence[str]] = ()

    def to_dict(self) -> dict[str, Any]:
        """The wire form: camelCase, absent fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


_DURATION_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile(r"([0-9]+)(ms|h|m|s)")
# At most a year, so that a deadline is always a time that can be written.
DURATION_RULE = Rule(
    "self.matches('^([0-9]+(ms|h|m|s))+$') && duration(self) > duration('0s') && duration(self) <= duration('8760h')",
    "must be a positive duration of at most '8760h' (a year), such as '30s', '5m' or '1h30m'",
)
OPTIONAL_DURATION_RULE = Rule(
    "self.matches('^([0-9]+(ms|h|m|s))+$') && duration(self) <= duration('8760h')",
    "must be a duration of at most '8760h' (a year), such as '0s', '30s', '5m' or '1h30m'",
)


def seconds(duration: str) -> float:
    """Length in seconds of a duration such as ``1h30m``, ``30s`` or ``250ms``.

    Raises ValueError for anything else.
    """
    parts = _DURATION.findall(duration)
    if not parts or "".join(n + u for n, u in parts) != duration:
        raise ValueError(f"{duration!r} is not a duration such as '30s', '5m' or '1h30m'")
    return sum(int(n) * _DURATION_UNITS[u] for n, u in parts)


def _scalar(*rules: Rule, **schema: Any) -> WithJsonSchema:
    return WithJsonSchema(
        {"type": "string", **schema, "x-kubernetes-validations": [rule.as_schema() for rule in rules]}
        if rules
        else {"type": "string", **schema}
    )


def parse_time(value: Any) -> float:
    """Unix time (seconds, to the millisecond as ``format_time``) of an RFC 3339 string; numbers pass through."""
    if isinstance(value, int | float):
        return float(value)
    return round(datetime.fromisoformat(str(value).replace("Z", "+00:00")).timestamp(), 3)


def format_time(value: float) -> str:
    """RFC 3339 with milliseconds, in UTC, of a Unix time in seconds."""
    # In whole milliseconds first: as seconds in a float, a time far ahead is a few microseconds off.
    whole, milliseconds = divmod(round(value * 1000), 1000)
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{milliseconds:03d}Z"


Duration = Annotated[str, _scalar(DURATION_RULE, maxLength=32)]
OptionalDuration = Annotated[str, _scalar(OPTIONAL_DURATION_RULE, maxLength=32)]
Time = Annotated[
    float,
    BeforeValidator(parse_time),
    PlainSerializer(format_time, return_type=str, when_used="json"),
    _scalar(
        # The API server alone would admit the year 0, which no program can read.
        Rule(
            "self >= timestamp('1970-01-01T00:00:00Z') && self < timestamp('9999-01-01T00:00:00Z')",
            "must be a time after 1970, such as '2030-12-31T23:59:59Z'",
        ),
        format="date-time",
        maxLength=32,
    ),
]
Ratio = Annotated[
    Decimal,
    PlainSerializer(lambda value: format(value, "f"), return_type=str, when_used="json"),
    _scalar(
        Rule(
            "self.matches('^(0([.][0-9]+)?|1([.]0+)?)$')",
            "must be a decimal string between '0' and '1', such as '0.05' for five percent",
        ),
        maxLength=16,
    ),
]
Number = Annotated[
    Decimal,
    PlainSerializer(str, return_type=str, when_used="json"),
    _scalar(
        # An exponent is allowed since Python writes small numbers so; what Weir writes must pass its own rule.
        Rule("self.matches('^-?[0-9]+([.][0-9]+)?([eE][-+]?[0-9]{1,3})?$')", "must be a decimal string such as '1.5'"),
        maxLength=64,
    ),
]
Digest = Annotated[
    str,
    _scalar(
        Rule(
            "self.matches('^sha256:[0-9a-f]{64}$')",
            "must be 'sha256:' and 64 lower-case hexadecimal digits; `sha256sum FILE` prints them",
        ),
        maxLength=80,
    ),
]
Name = Annotated[
    str,
    _scalar(
        Rule(
            "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",
            "must be a Kubernetes object name: lower-case letters, digits, '-' and '.'",
        ),
        minLength=1,
        maxLength=253,
    ),
]
Label = Annotated[
    str,
    _scalar(
        Rule(
            "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
            "must be a short name: lower-case letters, digits and '-'",
        ),
        minLength=1,
        maxLength=63,
    ),
]
Text = Annotated[str, Field(max_length=1024)]
ShortText = Annotated[str, Field(max_length=253)]
Message = Annotated[str, Field(max_length=1024)]
Count = Annotated[int, Field(ge=0)]
Port = Annotated[int, Field(ge=1, le=65535)]
MapByType: dict[str, Any] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
MapByName: dict[str, Any] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
AnyObject = Annotated[dict[str, Any], WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True})]
StringMap = Annotated[
    dict[str, str],
    WithJsonSchema(
        {"type": "object", "maxProperties": 64, "additionalProperties": {"type": "string", "maxLength": 1024}}
    ),
]


class LocalRef(ApiModel):
    """Names an object in the same namespace."""

    name: Name = Field(description="name of the object in the same namespace.")


class Condition(ApiModel):
    """A standard Kubernetes condition."""

    type: ShortText = Field(description="type of the condition, such as Ready.")
    status: Literal["True", "False", "Unknown"] = Field(description="status: True, False or Unknown.")
    observed_generation: int | None = Field(default=None, description="observedGeneration the condition was set for.")
    last_transition_time: Time = Field(description="lastTransitionTime is when the status last changed.")
    reason: ShortText = Field(description="reason is one CamelCase word for programs.")
    message: Annotated[str, Field(max_length=2048)] = Field(description="message for people.")


def with_conditions(old: Sequence[Condition], new: Sequence[Condition]) -> tuple[Condition, ...]:
    """``new``, sorted by type, with the transition time of ``old`` wherever the status did not change."""
    before = {c.type: c for c in old}
    merged = []
    for condition in new:
        previous = before.get(condition.type)
        if previous is not None and previous.status == condition.status:
            condition = condition.model_copy(update={"last_transition_time": previous.last_transition_time})
        merged.append(condition)
    return tuple(sorted(merged, key=lambda c: c.type))
