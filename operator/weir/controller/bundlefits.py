"""What agents' bundles say of a Rollout's versions, from the watch cache (the rules are in ``weir.agent.bundles``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from weir.agent.bundles import Fit, Served, concerned, fit
from weir.api.agentpolicy import POLICY_NAME, AgentPolicySpec
from weir.api.modelversion import ModelVersionSpec
from weir.runtime.cache import Cache
from weir.runtime.resources import AGENT_POLICIES, MODEL_VERSIONS, ROLLOUTS, KubeObject

_MOST_READ = 10_000
"""ModelVersions that are remembered; those that are gone must not fill the memory for ever."""


class BundleFits:
    """Costs nothing where no subject of the namespace's AgentPolicy names a Rollout."""

    def __init__(self, cache: Cache) -> None:
        """Nothing is read yet."""
        self._cache = cache
        self._read: dict[str, ModelVersionSpec] = {}

    def of(self, namespace: str, rollout: str, version: str) -> Fit:
        """What is said of a version that a Rollout serves, releases or is to release."""
        policy = _policy(self._cache, namespace)
        if policy is None:
            return Fit()
        served = _served(self._cache, namespace)
        if rollout not in served:
            return Fit()
        return fit(policy, served[rollout], version, served, _Specs(self._cache, namespace, self._read))


def rollouts_concerned(cache: Cache, namespace: str, rollout: str) -> frozenset[str]:
    """Rollouts to look at again when that one serves or releases another version."""
    policy = _policy(cache, namespace)
    return concerned(policy, rollout, _served(cache, namespace)) if policy is not None else frozenset()


class _Specs(Mapping[str, ModelVersionSpec]):
    """ModelVersions of a namespace, read when they are asked for; all that matters of one never changes."""

    def __init__(self, cache: Cache, namespace: str, known: dict[str, ModelVersionSpec]) -> None:
        self._cache = cache
        self._namespace = namespace
        self._known = known

    def __getitem__(self, name: str) -> ModelVersionSpec:
        obj = self._cache.get(MODEL_VERSIONS, self._namespace, name)
        if obj is None:
            raise KeyError(name)
        uid = str(obj["metadata"]["uid"])
        if uid not in self._known:
            if len(self._known) >= _MOST_READ:
                self._known.clear()
            try:
                self._known[uid] = ModelVersionSpec.model_validate(obj["spec"])
            except ValidationError as error:
                raise KeyError(name) from error
        return self._known[uid]

    def __iter__(self) -> Iterator[str]:
        return (key.name for key in self._cache.keys(MODEL_VERSIONS, self._namespace))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _policy(cache: Cache, namespace: str) -> AgentPolicySpec | None:
    """The AgentPolicy, where one of its subjects is served by a Rollout. What cannot be read lets no agent act."""
    obj = cache.get(AGENT_POLICIES, namespace, POLICY_NAME)
    if obj is None or not any(subject.get("rollout") for subject in obj["spec"].get("subjects") or ()):
        return None
    try:
        return AgentPolicySpec.model_validate(obj["spec"])
    except ValidationError:
        return None


def _served(cache: Cache, namespace: str) -> dict[str, Served]:
    return {obj["metadata"]["name"]: _serving(obj) for obj in cache.select(ROLLOUTS, namespace)}


def _serving(rollout: KubeObject) -> Served:
    meta, status = rollout["metadata"], rollout.get("status") or {}
    stable, candidate = ((status.get(arm) or {}).get("version", "") for arm in ("stable", "candidate"))
    return Served(meta["name"], meta.get("labels") or {}, stable, candidate)
