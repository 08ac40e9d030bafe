"""What is asked of whole distributions and of two sides of data: reference, drift, parity, leakage."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from weir.api.base import ApiModel, Duration, Label, Name, Number, Ratio, Rule, ShortText

MapByProperty: dict[str, Any] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["property"]}
Set: dict[str, Any] = {"x-kubernetes-list-type": "set"}
PropertyPath = Annotated[str, Field(min_length=1, max_length=253)]


class ConfigMapKey(ApiModel):
    """A key of a ConfigMap in the same namespace."""

    name: Name = Field(description="name of the ConfigMap.")
    key: ShortText = Field(default="contract.yaml", description="key that holds the document.")


class Reference(ApiModel):
    """Where the reference profile of the data comes from."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule("has(self.server) != has(self.configMapRef)", "set exactly one of `server` and `configMapRef`"),
    )
    server: Label | None = Field(
        default=None, description="server that holds the training snapshot; it is profiled once for every revision."
    )
    config_map_ref: ConfigMapKey | None = Field(
        default=None, description="configMapRef that holds a profile, as `kubectl weir contract profile` writes it."
    )


class Live(ApiModel):
    """Distributions that model servers count themselves, as a Prometheus histogram."""

    metric: Annotated[str, Field(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$", max_length=128)] = Field(
        default="weir_feature_value",
        description="metric: histogram with the label `property` and the reference profile's edges as buckets.",
    )
    interval: Duration = Field(default="1m", description="interval between two looks.")


class Drift(ApiModel):
    """How far a property's distribution may be from the reference."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule("double(self.tolerance) > 0.0", "`tolerance` must be more than 0", field_path=".tolerance"),
        Rule(
            "double(self.alpha) > 0.0 && double(self.alpha) <= 0.5",
            "`alpha` must be more than 0 and at most '0.5'",
            field_path=".alpha",
        ),
    )
    name: Label = Field(description="name of the check.")
    property: PropertyPath = Field(description="property (OBJECT.PROPERTY) to watch.")
    tolerance: Ratio = Field(
        default=Decimal("0.1"),
        description="tolerance: total variation distance (0-1) that is tolerated: the share of rows that would have to "
        "be others for the distributions to be equal.",
    )
    alpha: Ratio = Field(default=Decimal("0.01"), description="alpha: chance of a false alarm.")
    min_samples: Annotated[int, Field(ge=1, le=1_000_000_000)] = Field(
        default=1000, description="minSamples for a verdict; with fewer it is Unknown."
    )
    source: Literal["Checks", "Live"] = Field(
        default="Checks", description="source: profiles of the checks, or what model servers count (`live`)."
    )


class ProfileParity(ApiModel):
    """A bound on the distance between a property's distributions in training and serving."""

    property: PropertyPath = Field(description="property (OBJECT.PROPERTY) to compare.")
    tolerance: Ratio = Field(default=Decimal("0.1"), description="tolerance: total variation distance (0-1).")


class RowReplay(ApiModel):
    """Compares the features of the same rows as both sides have computed them."""

    object: ShortText = Field(description="object: table of the document.")
    join_key: Annotated[list[ShortText], Field(min_length=1, max_length=8, json_schema_extra=Set)] = Field(
        description="joinKey: properties that find the same row on both sides."
    )
    properties: Annotated[list[ShortText], Field(max_length=256, json_schema_extra=Set)] | None = Field(
        default=None, description="properties to compare; all by default."
    )
    tolerance: Number = Field(default=Decimal(0), description="tolerance: largest difference of equal numbers.")
    max_mismatch_ratio: Ratio = Field(
        default=Decimal(0), description="maxMismatchRatio: share of rows (0-1) that may differ."
    )


class Parity(ApiModel):
    """Whether training and serving see the same features."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "has(self.profile) || has(self.rowReplay)",
            "set at least one of `profile` and `rowReplay`",
            reason="FieldValueRequired",
        ),
        Rule("self.training != self.serving", "`training` and `serving` must be two servers", field_path=".serving"),
    )
    training: Label = Field(description="training: server with the features as training saw them.")
    serving: Label = Field(description="serving: server with the features as serving saw them.")
    profile: (
        Annotated[list[ProfileParity], Field(min_length=1, max_length=128, json_schema_extra=MapByProperty)] | None
    ) = Field(default=None, description="profile: distributions to compare.")
    row_replay: RowReplay | None = Field(default=None, description="rowReplay: rows to compare.")


class Leakage(ApiModel):
    """Rows of the training data that the evaluation or serving data must not hold."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule("self.training != self.other", "`training` and `other` must be two servers", field_path=".other"),
    )
    name: Label = Field(description="name of the check.")
    object: ShortText = Field(description="object: table of the document.")
    training: Label = Field(description="training: server with the training snapshot.")
    other: Label = Field(description="other: server with the evaluation or serving data.")
    key: Annotated[list[ShortText], Field(max_length=256, json_schema_extra=Set)] | None = Field(
        default=None, description="key: properties that make two rows the same; all by default."
    )
    max_shared_ratio: Ratio = Field(
        default=Decimal(0), description="maxSharedRatio: share of the other data's rows (0-1) that training may hold."
    )
