"""Observation of a namespace's agents: what the watch cache shows, read once for each state of an object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from weir.agent.observation import AgentObservation, AgentRequest, MadeVersion, RolloutFacts
from weir.agent.signals import Signals, signals_of
from weir.agent.templates import MADE_BY, MADE_FOR
from weir.api.actionrequest import ActionRequestSpec, action_digest
from weir.api.agentpolicy import POLICY_NAME, AgentPolicySpec
from weir.api.agentstatus import AgentPolicyStatus
from weir.api.base import parse_time
from weir.api.clusteragentpolicy import ClusterAgentPolicySpec
from weir.api.modelversion import ModelVersionSpec
from weir.api.rollout import RolloutSpec
from weir.api.rolloutstatus import RolloutStatus
from weir.contract.revision import Contract
from weir.controller.agentstanding import asks_policy, namespace_paused
from weir.controller.contractbook import ContractBook
from weir.controller.declarations import first_error
from weir.runtime.cache import Cache
from weir.runtime.resources import (
    ACTION_REQUESTS,
    CLUSTER_AGENT_POLICIES,
    DATA_CONTRACTS,
    MODEL_VERSIONS,
    NAMESPACES,
    ROLLOUTS,
    KubeObject,
    Resource,
)

T = TypeVar("T")

NO_OUTER = f"there is none named {POLICY_NAME}, and the chart's admission.agents.requireClusterPolicy asks for one"
"""What is said while there are no outer bounds, though there must be."""


@dataclass(frozen=True)
class Live:
    """What no watch shows: see AgentObservation for each of them."""

    heartbeats: Mapping[str, float | None] = field(default_factory=dict)
    objects: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    identity: str = ""


class _Reader(Generic[T]):
    """Objects of one kind as the core sees them; one that cannot be read is left out."""

    def __init__(self, cache: Cache, resource: Resource, read: Callable[[KubeObject], T]) -> None:
        self._cache, self._resource, self._read = cache, resource, read
        self._known: dict[str, dict[str, tuple[str, T | None]]] = {}
        """Namespace → uid → resourceVersion and content."""

    def of(self, namespace: str, keep: Callable[[KubeObject], bool] = lambda _: True) -> dict[str, T]:
        """By name, all of a namespace that ``keep`` says yes to."""
        before, now, found = self._known.get(namespace, {}), {}, {}
        for obj in self._cache.select(self._resource, namespace):
            if not keep(obj):
                continue
            meta = obj["metadata"]
            entry = before.get(meta["uid"])
            if entry is None or entry[0] != meta["resourceVersion"]:
                entry = (meta["resourceVersion"], self._made(obj))
            now[meta["uid"]] = entry
            if entry[1] is not None:
                found[meta["name"]] = entry[1]
        self._known[namespace] = now
        return found

    def _made(self, obj: KubeObject) -> T | None:
        try:
            return self._read(obj)
        except ValidationError:
            return None

    def forget(self, namespace: str) -> None:
        self._known.pop(namespace, None)


@dataclass(frozen=True)
class _Signals:
    """Signals of a namespace's Rollouts, and what they were made of."""

    contracts: Mapping[str, Contract]
    versions: Mapping[str, ModelVersionSpec]
    made: Mapping[str, tuple[RolloutFacts, Signals]] = field(default_factory=dict)

    def of(self, facts: RolloutFacts) -> Signals:
        """Those of one Rollout."""
        known = self.made.get(facts.name)
        if known is not None and known[0] is facts:
            return known[1]
        return signals_of(facts, self.contracts, self.versions)


class AgentObserver:
    """Reads the cache. ``guardrails`` gives what is wrong with the admission policies, None for nothing."""

    def __init__(
        self,
        cache: Cache,
        book: ContractBook,
        guardrails: Callable[[], str | None],
        *,
        missing: Callable[[], frozenset[Resource]] = frozenset,
        outer_required: bool = False,
    ) -> None:
        """``missing``: kinds that are not served; ``outer_required``: there must be a ClusterAgentPolicy."""
        self._cache = cache
        self._book = book
        self._guardrails = guardrails
        self._missing = missing
        self._outer_required = outer_required
        self._requests = _Reader(cache, ACTION_REQUESTS, _request)
        self._rollouts = _Reader(cache, ROLLOUTS, _facts)
        self._versions = _Reader(cache, MODEL_VERSIONS, lambda obj: ModelVersionSpec.model_validate(obj["spec"]))
        self._signals: dict[str, _Signals] = {}

    def observe(self, policy: KubeObject, live: Live) -> AgentObservation:
        """Everything that a decision under the policy may look at."""
        meta = policy["metadata"]
        namespace = meta["namespace"]
        spec, broken = policy_of(policy)
        outer, outer_broken = self._outer()
        rollouts, versions = self._rollouts.of(namespace), self._versions.of(namespace)
        ruled = spec is not None and bool(spec.signal_rules)
        return AgentObservation(
            generation=meta.get("generation", 1),
            policy=spec,
            status=AgentPolicyStatus.model_validate(policy.get("status") or {}),
            broken=broken,
            outer=outer,
            outer_broken=outer_broken,
            namespace_paused=namespace_paused(self._cache.get(NAMESPACES, None, namespace)),
            guardrails=self._guardrails(),
            requests=tuple(self._requests.of(namespace, asks_policy).values()),
            rollouts=rollouts,
            heartbeats=live.heartbeats,
            objects=live.objects,
            versions=versions,
            signals=self._signals_of(namespace, rollouts, versions) if ruled else {},
            made=self._made(namespace),
            refused=live.refused,
            identity=live.identity,
        )

    def _signals_of(
        self, namespace: str, rollouts: Mapping[str, RolloutFacts], versions: Mapping[str, ModelVersionSpec]
    ) -> Mapping[str, Signals]:
        """What rules look at, by Rollout; made anew only where something that it comes from has changed."""
        names = [key.name for key in self._cache.keys(DATA_CONTRACTS, namespace)]
        read = ((name, self._book.contract(namespace, name)) for name in names)
        contracts = {name: contract for name, contract in read if contract is not None}
        known = self._signals.get(namespace)
        if known is None or known.contracts != contracts or known.versions != versions:
            known = _Signals(contracts, versions)
        made = {name: (facts, known.of(facts)) for name, facts in rollouts.items()}
        self._signals[namespace] = _Signals(contracts, versions, made)
        return {name: signals for name, (_, signals) in made.items()}

    def _made(self, namespace: str) -> tuple[MadeVersion, ...]:
        """ModelVersions that a Retrain made, oldest first."""
        found = []
        for obj in self._cache.select(MODEL_VERSIONS, namespace):
            meta = obj["metadata"]
            labels = meta.get("labels") or {}
            if MADE_BY in labels and MADE_FOR in labels:
                created = parse_time(meta["creationTimestamp"])
                found.append(MadeVersion(meta["name"], labels[MADE_FOR], labels[MADE_BY], created))
        return tuple(sorted(found, key=lambda made: (made.created, made.name)))

    def _outer(self) -> tuple[ClusterAgentPolicySpec | None, str]:
        """The outer bounds, and why they cannot be read."""
        if CLUSTER_AGENT_POLICIES in self._missing():
            return None, "the API server does not serve this kind now"
        obj = self._cache.get(CLUSTER_AGENT_POLICIES, None, POLICY_NAME)
        if obj is None:
            return None, NO_OUTER if self._outer_required else ""
        try:
            return ClusterAgentPolicySpec.model_validate(obj["spec"]), ""
        except ValidationError as error:
            return None, first_error(error)

    def forget(self, namespace: str) -> None:
        """The policy of that namespace is gone."""
        for reader in (self._requests, self._rollouts, self._versions):
            reader.forget(namespace)
        self._signals.pop(namespace, None)


def policy_of(obj: KubeObject) -> tuple[AgentPolicySpec | None, str]:
    """The policy's spec, or None and why it cannot be read."""
    try:
        return AgentPolicySpec.model_validate(obj["spec"]), ""
    except ValidationError as error:
        return None, first_error(error)


def _request(obj: KubeObject) -> AgentRequest:
    meta, status = obj["metadata"], obj.get("status") or {}
    spec = ActionRequestSpec.model_validate(obj["spec"])
    ended = status.get("completedAt")
    return AgentRequest(
        uid=meta["uid"],
        name=meta["name"],
        spec=spec,
        created=parse_time(meta["creationTimestamp"]),
        digest=action_digest(spec),
        phase=status.get("phase") or "",
        message=status.get("message") or "",
        ended_at=parse_time(ended) if ended else None,
        deleting=bool(meta.get("deletionTimestamp")),
    )


def _facts(obj: KubeObject) -> RolloutFacts:
    meta = obj["metadata"]
    return RolloutFacts(
        name=meta["name"],
        uid=meta["uid"],
        labels=meta.get("labels") or {},
        spec=RolloutSpec.model_validate(obj["spec"]),
        status=RolloutStatus.model_validate(obj.get("status") or {}),
        created=parse_time(meta["creationTimestamp"]),
    )
