"""Status of a DataContract: its revision, the last checks of its data, and where drift stands."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from weir.api.base import (
    ApiModel,
    Condition,
    Count,
    Digest,
    Label,
    MapByName,
    MapByType,
    Message,
    Name,
    Number,
    ShortText,
    Time,
)

CheckVerdict = Literal["Pass", "Warn", "Fail", "Unknown"]


class ServerCheck(ApiModel):
    """The last finished check of one server, or the one that runs."""

    name: Label = Field(description="name of the server.")
    check: Name = Field(description="check: the ContractCheck.")
    verdict: CheckVerdict = Field(description="verdict: Pass, Warn, Fail or Unknown.")
    reason: ShortText = Field(default="", description="reason in one CamelCase word.")
    message: Message = Field(default="", description="message: the first problem.")
    digest: Digest | None = Field(default=None, description="digest of the contract that was checked.")
    finished_at: Time | None = Field(default=None, description="finishedAt: when it was decided.")
    passed: Count = Field(default=0, description="passed rules.")
    warned: Count = Field(default=0, description="warned: rules that failed with the severity Warning.")
    failed: Count = Field(default=0, description="failed rules.")
    unknown: Count = Field(default=0, description="unknown: rules that could not be checked.")


class DriftStatus(ApiModel):
    """How far one property is from the reference, as one series of data shows."""

    key: ShortText = Field(description="key: NAME of the drift check, with /VERSION where a version's pods counted.")
    verdict: CheckVerdict = Field(description="verdict: Pass, Fail or Unknown.")
    samples: Count = Field(default=0, description="samples seen since the last verdict turned.")
    total_variation: Number | None = Field(default=None, description="totalVariation distance (0-1).")
    psi: Number | None = Field(default=None, description="psi: population stability index, for people.")
    jensen_shannon: Number | None = Field(default=None, description="jensenShannon distance, for people.")
    kolmogorov_smirnov: Number | None = Field(default=None, description="kolmogorovSmirnov distance, for people.")
    since: Time | None = Field(default=None, description="since when the verdict is this one.")
    at: Time | None = Field(default=None, description="at: the last look.")
    source: ShortText = Field(default="", description="source: the ContractCheck that was counted last.")
    state: Annotated[str, Field(max_length=8192)] = Field(
        default="", description="state of the sequential test, so that a restart changes nothing."
    )
    message: Message = Field(default="", description="message, for people.")


class CompatibilityStatus(ApiModel):
    """Whether the contract fits a version that uses it."""

    version: Name = Field(description="version: the ModelVersion.")
    verdict: CheckVerdict = Field(description="verdict: Pass, Warn, Fail or Unknown.")
    rule: ShortText = Field(default="", description="rule of the first problem, such as R6.")
    message: Message = Field(default="", description="message: the first problem.")


class ReferenceStatus(ApiModel):
    """The reference profile in use."""

    config_map: Name = Field(description="configMap that holds it.")
    digest: Digest = Field(description="digest of the profile.")
    rows: Count = Field(description="rows that it was made of.")


class DataContractStatus(ApiModel):
    """What Weir knows of the contract."""

    observed_generation: int | None = Field(default=None, description="observedGeneration of the spec.")
    digest: Digest | None = Field(
        default=None, description="digest of the document and its semantics; pin it as NAME@DIGEST."
    )
    revision: Name | None = Field(default=None, description="revision: ControllerRevision that keeps it.")
    contract_id: ShortText = Field(default="", description="contractId of the document.")
    version: ShortText = Field(default="", description="version of the document.")
    standard: ShortText = Field(default="", description="standard: apiVersion of the document.")
    verdict: CheckVerdict | None = Field(default=None, description="verdict: the worst of all checks.")
    checks: Annotated[list[ServerCheck], Field(max_length=16, json_schema_extra=MapByName)] = Field(
        default_factory=list, description="checks: the last result of every server."
    )
    next_check_at: Time | None = Field(default=None, description="nextCheckAt: when the schedule checks next.")
    checked_slot: Time | None = Field(default=None, description="checkedSlot: time of the schedule served last.")
    reference: ReferenceStatus | None = Field(default=None, description="reference profile in use.")
    drift: Annotated[
        list[DriftStatus],
        Field(
            max_length=256,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["key"]},
        ),
    ] = Field(default_factory=list, description="drift: where every series stands.")
    used_by: Annotated[list[Name], Field(max_length=64)] = Field(
        default_factory=list, description="usedBy: ModelVersions that name the contract."
    )
    compatibility: Annotated[list[CompatibilityStatus], Field(max_length=20)] = Field(
        default_factory=list, description="compatibility with the versions in use."
    )
    conditions: Annotated[list[Condition], Field(max_length=16, json_schema_extra=MapByType)] = Field(
        default_factory=list, description="conditions: Ready, Accepted, Compatible, DataValid, DriftFree."
    )
