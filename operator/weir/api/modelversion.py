"""ModelVersion: one immutable bundle of weights, runtime, prompts and provenance, identified by its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from weir.api.base import (
    AnyObject,
    ApiModel,
    Condition,
    Digest,
    Duration,
    Label,
    LocalRef,
    Name,
    Number,
    Port,
    Rule,
    ShortText,
    StringMap,
    Text,
    Time,
)

Set: dict[str, Any] = {"x-kubernetes-list-type": "set"}
MapByModel: dict[str, Any] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["model"]}


class Artifact(ApiModel):
    """Where the weights are and what they must be."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "self.uri.matches('^(https?|s3|oci|pvc)://.+')",
            "`uri` must start with http://, https://, s3://, oci:// or pvc://",
            field_path=".uri",
        ),
    )
    uri: Annotated[str, Field(min_length=1, max_length=2048)] = Field(
        description="uri of the weights: http(s)://, s3://BUCKET/KEY, oci://REGISTRY/REPOSITORY or pvc://CLAIM/PATH."
    )
    digest: Digest = Field(
        description="digest that the fetched bytes must have: SHA-256 of the file, of the OCI manifest, "
        "or of the sorted 'DIGEST  PATH' list for a folder."
    )
    signature: Text | None = Field(default=None, description="signature: where a signature bundle of the artifact is.")
    credentials: LocalRef | None = Field(
        default=None, description="credentials: Secret whose keys become the environment of the fetching container."
    )


class EnvVar(ApiModel):
    """One environment variable with a literal value; secrets belong in the Rollout's template."""

    name: Annotated[str, Field(min_length=1, max_length=253)] = Field(description="name of the variable.")
    value: Annotated[str, Field(max_length=4096)] = Field(default="", description="value of the variable.")


class WarmUp(ApiModel):
    """Synthetic requests that a pod must answer before it gets live traffic."""

    requests: Annotated[int, Field(ge=0, le=10000)] = Field(
        default=20, description="requests to send to each pod; 0 switches the warm-up off."
    )
    path: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None, description="path to POST to; by default the Open Inference Protocol's infer path of the model."
    )
    body: Annotated[str, Field(max_length=65536)] | None = Field(
        default=None,
        description="body to POST, JSON; by default made from the model's Open Inference Protocol metadata.",
    )
    timeout: Duration = Field(default="10s", description="timeout of one warm-up request.")


class Runtime(ApiModel):
    """What serves the weights."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "has(self.image) != has(self.serviceRef)",
            "set exactly one of `image` (Weir runs the pods) and `serviceRef` (you run them)",
        ),
        Rule(
            "!has(self.serviceRef) || "
            "(!has(self.command) && !has(self.args) && !has(self.env) && !has(self.resources))",
            "`command`, `args`, `env` and `resources` belong to `image`; remove them or replace `serviceRef`",
        ),
    )
    image: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        default=None, description="image of the model server; pin it by digest."
    )
    service_ref: LocalRef | None = Field(
        default=None, description="serviceRef: a Service that you run; Weir then only shifts traffic and judges."
    )
    command: Annotated[list[Text], Field(max_length=64)] | None = Field(
        default=None, description="command of the container."
    )
    args: Annotated[list[Text], Field(max_length=64)] | None = Field(default=None, description="args of the container.")
    env: (
        Annotated[
            list[EnvVar],
            Field(
                max_length=64,
                json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
            ),
        ]
        | None
    ) = Field(default=None, description="env: literal environment variables.")
    resources: AnyObject | None = Field(default=None, description="resources of the container, as in a pod.")
    port: Port = Field(default=8080, description="port that the model server listens on.")
    protocol: Literal["OpenInference", "OpenAI", "HTTP"] = Field(
        default="OpenInference", description="protocol that the server speaks; decides warm-up and readiness defaults."
    )
    model_name: Annotated[str, Field(min_length=1, max_length=253)] | None = Field(
        default=None, description="modelName that the server answers to; by default spec.model."
    )
    warmup: WarmUp | None = Field(default=None, description="warmup requests before any live traffic.")


class BundlePart(ApiModel):
    """A further part that changes the model's behaviour and so its identity."""

    kind: Literal["Prompt", "Policy", "Tools", "Adapter", "Tokenizer", "Config"] = Field(
        description="kind of the part."
    )
    name: Label = Field(description="name of the part.")
    uri: Annotated[str, Field(min_length=1, max_length=2048)] = Field(description="uri where the part is.")
    digest: Digest = Field(description="digest of the part.")


VersionPattern = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*[*]?$")]
"""A ``version``, or the beginning of versions and ``*``."""


class DrivenModel(ApiModel):
    """A model that an agent may drive."""

    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "!has(self.versions) || !has(self.digests)",
            "set `versions` or `digests`, not both; leave both out for every version of the model",
        ),
    )
    model: Label = Field(description="model that the agent may drive.")
    versions: Annotated[list[VersionPattern], Field(min_length=1, max_length=64, json_schema_extra=Set)] | None = Field(
        default=None,
        description="versions of the model that the agent knows, each as in `version` or its beginning and '*', such "
        "as '2.*'; by default all.",
    )
    digests: Annotated[list[Digest], Field(min_length=1, max_length=64, json_schema_extra=Set)] | None = Field(
        default=None, description="digests of ModelVersions (status.digest) that the agent knows, instead of versions."
    )

    def names(self, spec: ModelVersionSpec) -> bool:
        """Whether a version is one of them."""
        if spec.model != self.model:
            return False
        if self.digests is not None:
            return version_digest(spec) in self.digests
        return self.versions is None or any(_matches(pattern, spec.version) for pattern in self.versions)


def _matches(pattern: str, version: str) -> bool:
    return version.startswith(pattern[:-1]) if pattern.endswith("*") else version == pattern


class DataSnapshot(ApiModel):
    """Data that the version was trained on."""

    name: ShortText = Field(description="name of the data set.")
    snapshot: ShortText | None = Field(default=None, description="snapshot identifier.")
    digest: Digest | None = Field(default=None, description="digest of the snapshot.")
    interval: ShortText | None = Field(default=None, description="interval of time covered, ISO 8601.")


class FeatureRevision(ApiModel):
    """A feature view and its revision."""

    name: ShortText = Field(description="name of the feature view.")
    revision: ShortText = Field(description="revision of the feature view.")


class Provenance(ApiModel):
    """Where the version comes from."""

    code: Text | None = Field(default=None, description="code: repository and commit that trained it.")
    data: Annotated[list[DataSnapshot], Field(max_length=64)] | None = Field(
        default=None, description="data it was trained on."
    )
    features: Annotated[list[FeatureRevision], Field(max_length=256)] | None = Field(
        default=None, description="features and their revisions."
    )
    hyperparameters: StringMap | None = Field(default=None, description="hyperparameters of the training.")
    seed: int | None = Field(default=None, description="seed of the training.")
    environment: Text | None = Field(default=None, description="environment: image or lock file of the training.")
    parents: Annotated[list[Name], Field(max_length=16)] | None = Field(
        default=None, description="parents: ModelVersions it was derived from."
    )


ContractPin = Annotated[
    str,
    Field(max_length=330, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?(@sha256:[0-9a-f]{64})?$"),
]
"""NAME or NAME@DIGEST of a DataContract; without a digest the revision counts that is current when Weir first looks."""


class VersionContracts(ApiModel):
    """DataContracts that the version takes part in, each NAME or NAME@DIGEST (`kubectl weir contract explain`)."""

    request: ContractPin | None = Field(default=None, description="request: DataContract of the requests.")
    response: ContractPin | None = Field(default=None, description="response: DataContract of the answers.")
    trained_on: Annotated[list[ContractPin], Field(max_length=32)] | None = Field(
        default=None, description="trainedOn: DataContracts of the training data."
    )
    served_from: Annotated[list[Name], Field(max_length=32)] | None = Field(
        default=None,
        description="servedFrom: DataContracts of the data that feeds the version while it serves; those of trainedOn "
        "by default. Their current revision counts.",
    )
    uses: Annotated[list[ShortText], Field(max_length=1024)] | None = Field(
        default=None, description="uses: properties (OBJECT.PROPERTY) that the version reads; all by default."
    )
    imputed: Annotated[list[ShortText], Field(max_length=1024)] | None = Field(
        default=None, description="imputed: properties that the version can do without, having a default for them."
    )


class Evaluation(ApiModel):
    """One offline result."""

    name: ShortText = Field(description="name of the evaluation.")
    dataset: ShortText = Field(description="dataset it ran on.")
    metric: ShortText = Field(description="metric, such as accuracy.")
    value: Number = Field(description="value of the metric, a decimal string.")
    interval: ShortText | None = Field(default=None, description="interval: confidence interval of the value.")
    slice: ShortText | None = Field(default=None, description="slice of the data the value is for.")


class Support(ApiModel):
    """How long the version is supported; the only part that may change."""

    deprecated_after: Time | None = Field(default=None, description="deprecatedAfter this time new releases warn.")
    retired_after: Time | None = Field(default=None, description="retiredAfter this time new releases are refused.")
    replaced_by: Name | None = Field(default=None, description="replacedBy: ModelVersion to use instead.")


class ModelVersionSpec(ApiModel):
    """What the version is. Everything but `support` is immutable: a change is a new ModelVersion."""

    immutable: ClassVar[Sequence[str]] = (
        "model",
        "version",
        "artifact",
        "runtime",
        "bundle",
        "provenance",
        "contracts",
        "compatibleWith",
        "evaluations",
    )
    rules: ClassVar[Sequence[Rule]] = (
        Rule(
            "!has(self.bundle) || self.bundle.all(a, self.bundle.exists_one(b, b.kind == a.kind && b.name == a.name))",
            "parts in `bundle` must differ in kind or name",
            field_path=".bundle",
        ),
    )
    model: Label = Field(description="model that this is a version of.")
    version: Annotated[
        str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")
    ] = Field(description="version, unique for the model; any label value.")
    artifact: Artifact | None = Field(
        default=None, description="artifact: the weights, fetched and checked before start."
    )
    runtime: Runtime = Field(description="runtime that serves them.")
    bundle: Annotated[list[BundlePart], Field(max_length=16)] | None = Field(
        default=None, description="bundle: further parts (prompts, policies, tools, adapters, tokenizers)."
    )
    provenance: Provenance | None = Field(default=None, description="provenance: code, data and parents.")
    contracts: VersionContracts | None = Field(
        default=None, description="contracts of requests, answers and training data."
    )
    compatible_with: (
        Annotated[list[DrivenModel], Field(min_length=1, max_length=32, json_schema_extra=MapByModel)] | None
    ) = Field(
        default=None,
        description="compatibleWith: models that this version, being an agent, may drive. Checked before a release "
        "of the agent and of those models, where a subject of the AgentPolicy names the agent's Rollout.",
    )
    evaluations: Annotated[list[Evaluation], Field(max_length=64)] | None = Field(
        default=None, description="evaluations: offline results."
    )
    support: Support | None = Field(default=None, description="support window; may change.")

    def may_drive(self, other: ModelVersionSpec) -> bool:
        """Whether this version, being an agent, knows another one."""
        return any(driven.names(other) for driven in self.compatible_with or ())

    @property
    def model_name(self) -> str:
        """Name the server answers to."""
        return self.runtime.model_name or self.model


class ContractInUse(ApiModel):
    """The revision of a DataContract that a version is bound to."""

    role: Literal["Request", "Response", "TrainedOn"] = Field(description="role: Request, Response or TrainedOn.")
    name: Name = Field(description="name of the DataContract.")
    digest: Digest = Field(description="digest of the revision.")


class ModelVersionStatus(ApiModel):
    """What Weir knows of the version."""

    observed_generation: int | None = Field(default=None, description="observedGeneration of the spec.")
    digest: Digest | None = Field(default=None, description="digest of the version's canonical content.")
    stage: Literal["Candidate", "Validated", "Serving", "Deprecated", "Retired"] | None = Field(
        default=None, description="stage in its life."
    )
    served_by: Annotated[list[Name], Field(max_length=64)] | None = Field(
        default=None, description="servedBy: Rollouts that use it as stable, candidate or warm fallback."
    )
    contracts: Annotated[list[ContractInUse], Field(max_length=66)] = Field(
        default_factory=list, description="contracts: the revisions that the version is bound to."
    )
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
        ),
    ] = Field(default_factory=list, description="conditions: Ready, Complete.")


def canonical(value: Any) -> str:
    """Canonical JSON (sorted keys, no blanks, absent fields left out): the text that digests are made of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256(text: str) -> str:
    """``sha256:`` and the hexadecimal digest of the text's UTF-8 bytes."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def version_digest(spec: ModelVersionSpec) -> str:
    """Identity of a version: the digest of what determines its behaviour.

    Covers model, artifact, runtime, bundle and feature revisions; not labels, evaluations, support or provenance notes,
    so that adding an evaluation elsewhere never makes another release. Prefixed with the rule's number so that a later
    rule cannot make every version look new.
    """
    content = spec.to_dict()
    identity: dict[str, Any] = {
        key: content[key] for key in ("model", "version", "artifact", "runtime", "bundle") if key in content
    }
    features = content.get("provenance", {}).get("features")
    if features:
        identity["features"] = features
    identity["rule"] = 1
    return sha256(canonical(identity))
