"""The eight kinds: names, models, printer columns; everything that a CRD says beside the schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from weir.api import GROUP
from weir.api.actionrequest import ActionRequestSpec, ActionRequestStatus
from weir.api.agentpolicy import POLICY_NAME, AgentPolicySpec
from weir.api.agentstatus import AgentPolicyStatus
from weir.api.base import ApiModel, Rule
from weir.api.clusteragentpolicy import ClusterAgentPolicySpec, ClusterAgentPolicyStatus
from weir.api.contractcheck import ContractCheckSpec, ContractCheckStatus
from weir.api.datacontract import DataContractSpec
from weir.api.datacontractstatus import DataContractStatus
from weir.api.modelversion import ModelVersionSpec, ModelVersionStatus
from weir.api.rollout import RolloutSpec
from weir.api.rolloutrecord import RolloutRecordSpec
from weir.api.rolloutstatus import RolloutStatus

CATEGORY = "weir"


@dataclass(frozen=True)
class Column:
    """A column of ``kubectl get``; those with ``wide`` appear with ``-o wide`` only."""

    name: str
    path: str
    description: str
    type: str = "string"
    wide: bool = False


@dataclass(frozen=True)
class Kind:
    """One kind of the API group.

    ``rules`` are CEL rules of the whole object (they may look at metadata.name). Of a kind that is ``written_by_weir``
    the spec gets no defaults and only the rules of the spec as a whole.
    """

    name: str
    plural: str
    short_name: str
    description: str
    spec: type[ApiModel]
    status: type[ApiModel] | None
    columns: Sequence[Column]
    selectable: Sequence[str] = ()
    rules: Sequence[Rule] = ()
    written_by_weir: bool = False
    cluster_scoped: bool = False

    @property
    def singular(self) -> str:
        """Name of one object on the command line."""
        return self.name.lower()

    @property
    def crd_name(self) -> str:
        """Name of the CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"


def condition_path(condition: str) -> str:
    """JSON path of a condition's status."""
    return f'.status.conditions[?(@.type=="{condition}")].status'


AGE = Column("Age", ".metadata.creationTimestamp", "Age of the object.", type="date")

MODEL_VERSION = Kind(
    name="ModelVersion",
    plural="modelversions",
    short_name="mver",
    description="ModelVersion is one immutable version of a model: weights, runtime, prompts and where they come from.",
    spec=ModelVersionSpec,
    status=ModelVersionStatus,
    columns=(
        Column("Model", ".spec.model", "Model that this is a version of."),
        Column("Version", ".spec.version", "Version of the model."),
        Column("Digest", ".status.digest", "Digest of the version's content.", wide=True),
        Column("Stage", ".status.stage", "Stage in the version's life."),
        Column("Served By", ".status.servedBy", "Rollouts that use the version."),
        Column("Ready", condition_path("Ready"), "Whether the version can be released."),
        AGE,
    ),
    selectable=(".spec.model", ".spec.version"),
)

ROLLOUT = Kind(
    name="Rollout",
    plural="rollouts",
    short_name="wro",
    description="Rollout says which ModelVersion should serve, how traffic moves to it and what must hold on the way.",
    spec=RolloutSpec,
    status=RolloutStatus,
    columns=(
        Column("Stable", ".status.stable.label", "Version that serves."),
        Column("Candidate", ".status.candidate.label", "Version being rolled out."),
        Column("Weight", ".status.weight", "Percent of requests for the candidate.", type="integer"),
        Column("Stage", ".status.stage.name", "Stage of the current release."),
        Column("Verdict", ".status.verdict", "Worst verdict of all gates."),
        Column("Phase", ".status.phase", "Where the Rollout is."),
        Column("Message", ".status.message", "What the Rollout is waiting for.", wide=True),
        AGE,
    ),
    selectable=(".spec.versionRef.name",),
    rules=(
        Rule(
            "self.metadata.name.matches('^[a-z]([-a-z0-9]{0,48}[a-z0-9])?$')",
            "the name of a Rollout must start with a letter, hold only lower-case letters, digits and '-', and have at "
            "most 50 characters: Services are named after it",
        ),
    ),
)

ROLLOUT_RECORD = Kind(
    name="RolloutRecord",
    plural="rolloutrecords",
    short_name="wrec",
    description="RolloutRecord is the sealed account of one finished release: every decision and its evidence.",
    spec=RolloutRecordSpec,
    status=None,
    columns=(
        Column("Rollout", ".spec.rollout", "Rollout that released."),
        Column("Release", ".spec.release", "Number of the release.", type="integer"),
        Column("Candidate", ".spec.candidate.label", "Candidate of the release."),
        Column("Outcome", ".spec.outcome", "How the release ended."),
        Column("Reason", ".spec.reason", "Why it ended so.", wide=True),
        Column("Finished", ".spec.finishedAt", "When the release ended.", type="date"),
    ),
    selectable=(".spec.rollout", ".spec.outcome"),
    written_by_weir=True,
)

ACTION_REQUEST = Kind(
    name="ActionRequest",
    plural="actionrequests",
    short_name="areq",
    description="ActionRequest asks for one action on a Rollout, once, or answers another ActionRequest.",
    spec=ActionRequestSpec,
    status=ActionRequestStatus,
    columns=(
        Column("Action", ".spec.action", "What is asked for."),
        Column("Rollout", ".spec.rolloutRef.name", "Rollout to act on."),
        Column("Phase", ".status.phase", "Succeeded or Refused; empty while pending."),
        Column("Message", ".status.message", "What became of it."),
        AGE,
    ),
    selectable=(".spec.rolloutRef.name", ".spec.action"),
)

DATA_CONTRACT = Kind(
    name="DataContract",
    plural="datacontracts",
    short_name="dcon",
    description="DataContract is an Open Data Contract Standard document and how its promises are checked.",
    spec=DataContractSpec,
    status=DataContractStatus,
    columns=(
        Column("Contract", ".status.contractId", "Identifier of the contract."),
        Column("Version", ".status.version", "Version of the contract."),
        Column("Verdict", ".status.verdict", "Worst verdict of all checks."),
        Column("Compatible", condition_path("Compatible"), "Whether it fits the versions in use."),
        Column("Drift Free", condition_path("DriftFree"), "Whether the data is like the reference."),
        Column("Ready", condition_path("Ready"), "Whether nothing is wrong."),
        Column("Reason", '.status.conditions[?(@.type=="Ready")].reason', "Why.", wide=True),
        Column("Digest", ".status.digest", "Digest to pin.", wide=True),
        AGE,
    ),
)

CONTRACT_CHECK = Kind(
    name="ContractCheck",
    plural="contractchecks",
    short_name="ccheck",
    description="ContractCheck is one check of a DataContract on real data and its result.",
    spec=ContractCheckSpec,
    status=ContractCheckStatus,
    columns=(
        Column("Contract", ".spec.contractRef.name", "DataContract that is checked."),
        Column("Purpose", ".spec.purpose", "Who wants to know."),
        Column("Verdict", ".status.verdict", "Worst verdict of all rules; empty while it runs."),
        Column("Message", ".status.message", "The first problem."),
        AGE,
    ),
    selectable=(".spec.contractRef.name",),
)

_ONE_NAME = Rule(
    f"self.metadata.name == '{POLICY_NAME}'",
    f"its name must be '{POLICY_NAME}': there is one, and the admission policies look for it by name",
)

AGENT_POLICY = Kind(
    name="AgentPolicy",
    plural="agentpolicies",
    short_name="agp",
    description="AgentPolicy says what agents may ask for, within which bounds, and what happens without them.",
    spec=AgentPolicySpec,
    status=AgentPolicyStatus,
    columns=(
        Column("Mode", ".spec.mode", "Audit or Enforce."),
        Column("Paused", ".spec.paused", "Whether all agents of the policy are stopped.", type="boolean"),
        Column("Ready", condition_path("Ready"), "Whether the policy is in force and nothing is wrong."),
        Column("Guardrails", condition_path("GuardrailsInstalled"), "Whether the API server enforces it."),
        Column("Message", ".status.message", "What is going on."),
        Column("Reason", '.status.conditions[?(@.type=="Ready")].reason', "Why.", wide=True),
        AGE,
    ),
    rules=(_ONE_NAME,),
)

CLUSTER_AGENT_POLICY = Kind(
    name="ClusterAgentPolicy",
    plural="clusteragentpolicies",
    short_name="cagp",
    description="ClusterAgentPolicy sets outer bounds to what the AgentPolicy of any namespace can allow.",
    spec=ClusterAgentPolicySpec,
    status=ClusterAgentPolicyStatus,
    columns=(
        Column("Paused", ".spec.paused", "Whether all agents of the cluster are stopped.", type="boolean"),
        Column("Namespaces", ".status.namespaces", "Namespaces that have an AgentPolicy.", type="integer"),
        AGE,
    ),
    rules=(_ONE_NAME,),
    cluster_scoped=True,
)

KINDS: tuple[Kind, ...] = (
    MODEL_VERSION,
    ROLLOUT,
    ROLLOUT_RECORD,
    ACTION_REQUEST,
    DATA_CONTRACT,
    CONTRACT_CHECK,
    AGENT_POLICY,
    CLUSTER_AGENT_POLICY,
)
