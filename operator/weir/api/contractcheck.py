"""ContractCheck: one check of a DataContract on real data, and what came out. Only the pod that checks writes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from weir.api.base import (
    ApiModel,
    Count,
    Digest,
    Label,
    LocalRef,
    Message,
    ShortText,
    Text,
    Time,
)
from weir.api.datacontractstatus import CheckVerdict

_SET: dict[str, Any] = {"x-kubernetes-list-type": "set"}

PROFILE_BYTES = 102_400
"""Most bytes of the profiles of one check, as JSON."""


class ContractCheckSpec(ApiModel):
    """What to check. Made by the operator on schedule or for a release, or by a person who wants to know."""

    immutable: ClassVar[Sequence[str]] = ("contractRef", "servers", "purpose", "for")

    contract_ref: LocalRef = Field(description="contractRef: DataContract to check.")
    servers: Annotated[list[Label], Field(max_length=16, json_schema_extra=_SET)] | None = Field(
        default=None, description="servers to check; all by default."
    )
    purpose: Literal["Request", "Schedule", "Release", "Reference"] = Field(
        default="Request", description="purpose: who wants to know; Reference makes the reference profile."
    )
    requested_for: ShortText = Field(default="", alias="for", description="for: Rollout and release that wait for it.")


class RuleResult(ApiModel):
    """What one rule found, of those that did not pass."""

    server: Label = Field(description="server that holds the data.")
    table: ShortText = Field(default="", description="table of the document.")
    column: ShortText = Field(default="", description="column: path of the property in the table.")
    rule: ShortText = Field(description="rule: its kind, such as required, minimum, enum, sql, freshness or leakage.")
    name: ShortText = Field(default="", description="name or id of the rule in the contract.")
    verdict: CheckVerdict = Field(description="verdict: Warn, Fail or Unknown.")
    expected: Text = Field(default="", description="expected, as the contract says.")
    observed: Text = Field(default="", description="observed in the data.")
    message: Message = Field(default="", description="message: one sentence.")
    samples: Annotated[list[ShortText], Field(max_length=20)] | None = Field(
        default=None, description="samples of values that broke the rule, where the contract allows to show them."
    )


class ServerResult(ApiModel):
    """Totals of one server."""

    name: Label = Field(description="name of the server.")
    verdict: CheckVerdict = Field(description="verdict: the worst of its rules.")
    passed: Count = Field(default=0, description="passed rules.")
    warned: Count = Field(default=0, description="warned: rules that failed with the severity Warning.")
    failed: Count = Field(default=0, description="failed rules.")
    unknown: Count = Field(default=0, description="unknown: rules that could not be checked.")
    rows: Count = Field(default=0, description="rows that were looked at, of all tables.")
    dataset: ShortText = Field(default="", description="dataset: what identifies the state of the data that was read.")


class ContractCheckStatus(ApiModel):
    """The result, written once."""

    digest: Digest = Field(description="digest of the contract that was checked.")
    verdict: CheckVerdict = Field(description="verdict: the worst of all rules.")
    message: Message = Field(default="", description="message: the first problem, or that all rules passed.")
    started_at: Time = Field(description="startedAt: when the check began.")
    finished_at: Time = Field(description="finishedAt: when it ended.")
    servers: Annotated[list[ServerResult], Field(max_length=16)] = Field(
        default_factory=list, description="servers: totals of each."
    )
    results: Annotated[list[RuleResult], Field(max_length=200)] = Field(
        default_factory=list, description="results of rules that did not pass, worst first."
    )
    profile: Annotated[str, Field(max_length=PROFILE_BYTES)] = Field(
        default="", description="profile of the data as JSON: bins, nulls and top values of the watched properties."
    )
