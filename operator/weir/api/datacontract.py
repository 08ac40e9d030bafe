"""DataContract: an Open Data Contract Standard document, and how Weir is to check and enforce its promises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, WithJsonSchema

from weir.api.base import (
    AnyObject,
    ApiModel,
    Digest,
    Duration,
    Label,
    LocalRef,
    MapByName,
    Name,
    OptionalDuration,
    Rule,
    ShortText,
    Text,
    Time,
)
from weir.api.distribution import (
    ConfigMapKey,
    Drift,
    Leakage,
    Live,
    MapByProperty,
    Parity,
    PropertyPath,
    Reference,
    Set,
)

Cel = Annotated[str, Field(min_length=1, max_length=2048)]

ODCS_RULES: tuple[Rule, ...] = (
    Rule(
        "has(self.apiVersion) && self.apiVersion.matches('^v3[.][0-9]+[.][0-9]+$')",
        "`apiVersion` must name a version 3 of the Open Data Contract Standard, such as 'v3.1.0'",
        field_path=".apiVersion",
    ),
    Rule(
        "has(self.kind) && self.kind == 'DataContract'",
        "`kind` of the document must be 'DataContract'",
        field_path=".kind",
    ),
    Rule(
        "has(self.id) && self.id.size() > 0",
        "`id` is required by the Open Data Contract Standard: give the contract a stable identifier",
        field_path=".id",
        reason="FieldValueRequired",
    ),
    Rule(
        "has(self.version) && self.version.size() > 0",
        "`version` is required by the Open Data Contract Standard: give the document a version such as '1.0.0'",
        field_path=".version",
        reason="FieldValueRequired",
    ),
    Rule(
        "!has(self.version) || !has(oldSelf.version) || self.version != oldSelf.version || self == oldSelf",
        "a version of a contract never changes: raise `version` together with the change",
        field_path=".version",
        reason="FieldValueForbidden",
    ),
)
_ODCS_FIELDS = {
    "apiVersion": "apiVersion of the standard, such as v3.1.0.",
    "kind": "kind of the document, always DataContract.",
    "id": "id of the contract.",
    "version": "version of the contract.",
    "name": "name of the contract.",
    "status": "status of the contract, such as draft or active.",
}
Odcs = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
            "properties": {
                name: {"type": "string", "maxLength": 253, "description": text} for name, text in _ODCS_FIELDS.items()
            },
            "x-kubernetes-validations": [rule.as_schema() for rule in ODCS_RULES],
        }
    ),
]


class GitFile(ApiModel):
    """A file of a Git repository, read over HTTPS."""

    url: Annotated[
        str,
        Field(min_length=1, max_length=1024, pattern=r"^https://[^ ]+$"),
    ] = Field(description="url of the repository, such as https://git.example/data/contracts.git.")
    revision: ShortText = Field(default="HEAD", description="revision: branch, tag or commit.")
    path: Annotated[str, Field(min_length=1, max_length=1024)] = Field(description="path of the file in it.")


class Source(ApiModel):
    """Where a document is that is too large to be written inline."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "[has(self.configMapRef), has(self.oci), has(self.git)].filter(x, x).size() == 1",
            "set exactly one of `configMapRef`, `oci` and `git`",
        ),
        Rule(
            "!has(self.oci) || self.oci.startsWith('oci://')",
            "`oci` must start with oci://, such as oci://registry.example/contracts/orders:1.0.0",
            field_path=".oci",
        ),
    )
    config_map_ref: ConfigMapKey | None = Field(default=None, description="configMapRef that holds the document.")
    oci: Text | None = Field(default=None, description="oci: artifact that holds the document.")
    git: GitFile | None = Field(default=None, description="git: file that holds the document.")
    digest: Digest = Field(description="digest that the document's bytes must have.")


class Environment(ApiModel):
    """What differs in one environment; labels, for example, exist in training only."""

    name: Label = Field(description="name of the environment, such as training or serving.")
    exclude: Annotated[list[PropertyPath], Field(max_length=256, json_schema_extra=Set)] | None = Field(
        default=None, description="exclude: properties (OBJECT.PROPERTY) that are absent there."
    )


class Sampling(ApiModel):
    """Checks a sample instead of every row."""

    rows: Annotated[int, Field(ge=1, le=1_000_000_000)] = Field(description="rows to look at.")
    seed: Annotated[int, Field(ge=0)] = Field(default=0, description="seed of the sample, so that it can be repeated.")


class Engine(ApiModel):
    """What executes the checks: DuckDB in the pod for files, else the engine that holds the data."""

    image: Text | None = Field(
        default=None, description="image that runs the checks; by default Weir's own, with DuckDB and PostgreSQL."
    )
    resources: AnyObject | None = Field(default=None, description="resources of the container, as in a pod.")
    timeout: Duration = Field(default="30m", description="timeout of one run of all checks.")
    service_account_name: Name | None = Field(
        default=None, description="serviceAccountName of the pod that runs the checks, for access to its data."
    )
    sampling: Sampling | None = Field(default=None, description="sampling of rows; without it every row counts.")
    exact: bool = Field(default=False, description="exact: count distinct values exactly, which needs more memory.")
    failing_samples: Annotated[int, Field(ge=0, le=20)] = Field(
        default=0,
        description="failingSamples: values to show of each failed rule; none by default, since they may be personal. "
        "Properties with a classification are never shown.",
    )


class Volume(ApiModel):
    """A claim in the same namespace, mounted read-only; paths of the server are looked up under it and nowhere else."""

    claim_name: Name = Field(description="claimName of the PersistentVolumeClaim.")


class Server(ApiModel):
    """A place where the data is, with the credentials that the standard leaves out on purpose."""

    name: Label = Field(description="name of the server here.")
    odcs_server: ShortText = Field(description="odcsServer: name under `servers` of the document.")
    environment: Label | None = Field(default=None, description="environment that the server belongs to.")
    secret_ref: LocalRef | None = Field(
        default=None, description="secretRef: Secret whose keys become environment variables of the check."
    )
    volume: Volume | None = Field(default=None, description="volume that holds the files of a server of type local.")
    partition: Text | None = Field(
        default=None, description="partition: SQL condition that limits the rows, such as \"dt = '{{date}}'\"."
    )


class Schedule(ApiModel):
    """When checks run and how long their verdict counts."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "!has(self.cron) || self.cron.matches('^([^ ]+ ){4}[^ ]+$')",
            "`cron` must have five fields, such as '0 * * * *' for every hour",
            field_path=".cron",
        ),
    )
    cron: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        default=None, description="cron line in UTC; without it checks run only when a release asks."
    )
    max_age: Duration = Field(
        default="26h", description="maxAge of a verdict; an older one counts as Unknown, never as a pass."
    )


class Freshness(ApiModel):
    """How old the newest row may be."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "!has(self.warnAfter) || duration(self.warnAfter) < duration(self.failAfter)",
            "`warnAfter` must be shorter than `failAfter`",
            field_path=".warnAfter",
        ),
    )
    element: PropertyPath = Field(description="element: property (OBJECT.PROPERTY) that holds the event time.")
    warn_after: Duration | None = Field(default=None, description="warnAfter this age the check warns.")
    fail_after: Duration = Field(description="failAfter this age the check fails.")


class Embedding(ApiModel):
    """Identity of an embedding."""

    model: ShortText = Field(description="model that makes the vectors.")
    dimensions: Annotated[int, Field(ge=1, le=1_000_000)] = Field(description="dimensions of a vector.")


class Semantics(ApiModel):
    """What a property means; a difference between two contracts is a breaking change."""

    property: PropertyPath = Field(description="property (OBJECT.PROPERTY) that is described.")
    unit: ShortText | None = Field(default=None, description="unit of measure, such as EUR or km/h.")
    timezone: ShortText | None = Field(default=None, description="timezone of times without an offset.")
    meaning_ref: Text | None = Field(default=None, description="meaningRef: where the definition is.")
    encoding: ShortText | None = Field(default=None, description="encoding, such as utf-8 or one-hot.")
    vocabulary_digest: Digest | None = Field(default=None, description="vocabularyDigest of the list of categories.")
    transform_digest: Digest | None = Field(default=None, description="transformDigest of the code that computes it.")
    embedding: Embedding | None = Field(default=None, description="embedding that the property holds.")
    event_time: PropertyPath | None = Field(
        default=None, description="eventTime: property that says when the value became true."
    )
    available_at: PropertyPath | None = Field(
        default=None, description="availableAt: property that says when the value could first be read."
    )


class MetricRule(ApiModel):
    """A condition over the metrics of the checks (not over rows)."""

    name: Label = Field(description="name of the rule.")
    cel: Cel = Field(description="cel expression that must be true, such as metrics.orders.nullRatio.email < 0.01.")
    message: Text = Field(description="message when it is false.")
    severity: Literal["Warning", "Error"] = Field(default="Error", description="severity: Warning or Error.")


class Waiver(ApiModel):
    """Somebody accepted one incompatibility for a time."""

    rule_id: ShortText = Field(description="ruleId of the compatibility rule.")
    path: PropertyPath = Field(description="path (OBJECT.PROPERTY) that it is for.")
    reason: Text = Field(description="reason for accepting it.")
    approved_by: ShortText = Field(description="approvedBy whom.")
    expires: Time = Field(description="expires: the waiver does not count after this time.")


Against = Literal["ServedBy", "RollbackTargets"]


def _all_against() -> list[Against]:
    return ["ServedBy", "RollbackTargets"]


class Compatibility(ApiModel):
    """Which changes of the contract are allowed."""

    mode: Literal[
        "None", "Backward", "BackwardTransitive", "Forward", "ForwardTransitive", "Full", "FullTransitive"
    ] = Field(default="ForwardTransitive", description="mode: which readers must understand which data.")
    against: Annotated[list[Against], Field(max_length=2, json_schema_extra=Set)] = Field(
        default_factory=_all_against,
        description="against: versions that must stay compatible: those that serve, those one may roll back to.",
    )
    allow: Annotated[list[Literal["Widening"]], Field(max_length=1, json_schema_extra=Set)] | None = Field(
        default=None, description="allow: changes that do not count as loosening, such as integer to number."
    )
    on_unknown: Literal["RequireApproval", "Block"] = Field(
        default="RequireApproval", description="onUnknown: policy for a change that cannot be judged."
    )
    waivers: Annotated[list[Waiver], Field(max_length=64)] | None = Field(
        default=None, description="waivers for single incompatibilities."
    )


OnFail = Literal["BlockPromotion", "Pause", "Rollback", "Warn"]


class Enforcement(ApiModel):
    """What a verdict does to Rollouts of the versions that use the contract.

    BlockPromotion holds the release where it is while its deadlines go on, Pause stops its clock too, Rollback puts
    traffic back after ``grace``, Warn only tells.
    """

    on_fail: OnFail = Field(default="BlockPromotion", description="onFail: policy when a check failed.")
    on_unknown: Literal["BlockPromotion", "Warn"] = Field(
        default="BlockPromotion", description="onUnknown: policy without a current verdict."
    )
    on_drift: OnFail = Field(default="Warn", description="onDrift: policy when data drifts beyond its tolerance.")
    grace: OptionalDuration = Field(
        default="0s", description="grace: time that a failure is held before Rollback, in which it may be repaired."
    )


class DataContractSpec(ApiModel):
    """The contract and how it is checked."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "has(self.odcs) != has(self.source)",
            "set exactly one of `odcs` (the document itself) and `source` (where it is)",
        ),
        Rule(
            "!has(self.servers) || self.servers.all(s, !has(s.environment) || "
            "has(self.environments) && self.environments.exists(e, e.name == s.environment))",
            "`environment` of a server must be the name of one of `environments`",
            field_path=".servers",
        ),
        Rule(
            "!has(self.drift) || has(self.reference)",
            "`drift` needs `reference`: the profile that the data is compared with",
            field_path=".drift",
            reason="FieldValueRequired",
        ),
        Rule(
            "!has(oldSelf.odcs) || !has(self.odcs) || !has(self.odcs.version) || !has(oldSelf.odcs.version) || "
            "self.odcs.version != oldSelf.odcs.version || has(self.semantics) == has(oldSelf.semantics) && "
            "(!has(self.semantics) || self.semantics == oldSelf.semantics)",
            "`semantics` belong to the version of the contract: raise `odcs.version` together with the change",
            field_path=".semantics",
            reason="FieldValueForbidden",
        ),
    )
    odcs: Odcs | None = Field(
        default=None, description="odcs: a document of the Open Data Contract Standard 3, kept as it is."
    )
    source: Source | None = Field(default=None, description="source of the document, for large ones.")
    roles: Annotated[
        list[Literal["TrainingInput", "ServingInput", "Features", "Label", "Prediction"]],
        Field(min_length=1, max_length=5, json_schema_extra=Set),
    ] = Field(description="roles that the described data plays for models.")
    environments: Annotated[list[Environment], Field(max_length=8, json_schema_extra=MapByName)] | None = Field(
        default=None, description="environments and what differs in them."
    )
    engine: Engine = Field(default_factory=Engine, description="engine that executes the checks.")
    servers: Annotated[list[Server], Field(max_length=16, json_schema_extra=MapByName)] | None = Field(
        default=None, description="servers to check, with their credentials."
    )
    schedule: Schedule = Field(default_factory=Schedule, description="schedule of the checks.")
    freshness: Freshness | None = Field(default=None, description="freshness that the data must have.")
    drift: Annotated[list[Drift], Field(max_length=128, json_schema_extra=MapByName)] | None = Field(
        default=None, description="drift: bounds on the change of distributions."
    )
    reference: Reference | None = Field(default=None, description="reference: profile that drift is measured from.")
    live: Live = Field(default_factory=Live, description="live: where model servers show their distributions.")
    parity: Parity | None = Field(default=None, description="parity of training and serving.")
    leakage: Annotated[list[Leakage], Field(max_length=16, json_schema_extra=MapByName)] | None = Field(
        default=None, description="leakage: data that must not hold rows of the training data."
    )
    semantics: Annotated[list[Semantics], Field(max_length=256, json_schema_extra=MapByProperty)] | None = Field(
        default=None, description="semantics of properties."
    )
    metric_rules: Annotated[list[MetricRule], Field(max_length=64, json_schema_extra=MapByName)] | None = Field(
        default=None, alias="rules", description="rules over the metrics of the checks."
    )
    compatibility: Compatibility = Field(
        default_factory=Compatibility, description="compatibility that changes of the contract must keep."
    )
    enforcement: Enforcement = Field(default_factory=Enforcement, description="enforcement of verdicts.")
