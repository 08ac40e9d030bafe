"""What DataContracts say of a Rollout's versions, from the watch cache; and checks of data that a release waits for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from weir.agent.bundles import Fit
from weir.api.rolloutstatus import RolloutStatus
from weir.contract.finding import Finding, Standing
from weir.contract.revision import Bound, Contract
from weir.contract.signature import metadata_findings
from weir.contract.standing import standing
from weir.controller.bundlefits import BundleFits
from weir.controller.contractbook import CheckWait
from weir.release.observation import RolloutView, Target
from weir.runtime.cache import Cache
from weir.runtime.errors import ApiError, Fenced
from weir.runtime.resources import DATA_CONTRACTS, MODEL_VERSIONS, KubeObject

_log = logging.getLogger(__name__)

_RETRY = 30.0
"""Seconds after which a check that the API server did not take is asked for again."""


class Book(Protocol):
    """Where contracts are read, and checks of their data asked for."""

    def contracts(self, version: KubeObject) -> dict[str, Contract]:
        """Every DataContract that a ModelVersion names and that exists, by name."""

    def bound(self, version: KubeObject) -> Bound | None:
        """A ModelVersion and its revisions; None where it names no contract."""

    async def request_check(self, rollout: KubeObject, release: int, contract: Contract) -> CheckWait:
        """Makes sure that a release gets a verdict on the data. Raises ApiError."""


@dataclass(frozen=True)
class _Inputs:
    """All that a standing is made of but the time."""

    candidate: Bound | None
    stable: Bound | None
    previous: Bound | None
    contracts: Mapping[str, Contract]
    metadata: tuple[Finding, ...]
    agents: Fit


@dataclass(frozen=True)
class _Known:
    """A standing that holds from ``since`` until it changes by time alone."""

    inputs: _Inputs
    since: float
    found: Standing

    def holds(self, inputs: _Inputs, now: float) -> bool:
        """Whether nothing has changed that it depends on."""
        ends = self.found.changes_at
        return self.since <= now and (ends is None or now < ends) and inputs == self.inputs


class Standings:
    """Works a standing out anew only when something that it depends on has changed."""

    def __init__(self, cache: Cache, book: Book, wall: Callable[[], float]) -> None:
        """``wall``: seconds since the epoch."""
        self._cache = cache
        self._book = book
        self._wall = wall
        self._bundles = BundleFits(cache)
        self._known: dict[str, dict[str, _Known]] = {}

    def of(
        self, view: RolloutView, status: RolloutStatus, target: Target | None, metadata: Mapping[str, Any] | None
    ) -> dict[str, Standing | None]:
        """ModelVersion → what its contracts say: of the version that is, or is to be, rolled out, and of stable.

        None where that cannot be told yet. Empty where no version names a contract and no agent is concerned, or the
        Rollout ignores them.
        ``metadata``: what the candidate's pods say of the model (Open Inference Protocol), None where they say nothing.
        """
        stable = status.stable.version if status.stable is not None else None
        asked = status.candidate.version if status.candidate is not None else target.version if target else None
        previous = _previous(status)
        names = {name for name in (stable, asked, previous) if name is not None}
        versions = {n: v for n in names if (v := self._cache.get(MODEL_VERSIONS, view.namespace, n)) is not None}
        looked_at = tuple(dict.fromkeys(n for n in (asked, stable) if n is not None))
        agents = {name: self._bundles.of(view.namespace, view.name, name) for name in looked_at}
        names_contracts = any(versions[name]["spec"].get("contracts") for name in looked_at if name in versions)
        if view.spec.contracts.mode == "Ignore" or not (names_contracts or any(map(_says, agents.values()))):
            self._known.pop(view.uid, None)
            return {}
        contracts = {name: c for v in versions.values() for name, c in self._book.contracts(v).items()}
        bound = {name: self._book.bound(version) or Bound(name) for name, version in versions.items()}
        found: dict[str, Standing | None] = {}
        fresh: dict[str, _Known] = {}
        for name in looked_at:
            if name not in bound:
                found[name] = None
                continue
            rolled_out = name == asked and (name != stable or status.candidate is not None)
            beside = bound.get(stable) if stable is not None and not (rolled_out and name == stable) else None
            inputs = _Inputs(
                candidate=bound[name] if rolled_out else None,
                stable=beside,
                previous=bound.get(previous or "") if not rolled_out else None,
                contracts=contracts,
                metadata=_said(bound[name], metadata) if rolled_out and status.candidate is not None else (),
                agents=agents[name],
            )
            if not self._settled(view.namespace, inputs, versions):
                found[name] = None
                continue
            fresh[name] = self._one(view.uid, name, inputs)
            found[name] = fresh[name].found
        # What could not be told just now is likely to be what it was.
        self._known[view.uid] = {**self._known.get(view.uid, {}), **fresh} if None in found.values() else fresh
        return found

    def _one(self, uid: str, name: str, inputs: _Inputs) -> _Known:
        now = self._wall()
        known = self._known.get(uid, {}).get(name)
        if known is not None and known.holds(inputs, now):
            return known
        found = standing(
            inputs.candidate, inputs.stable, inputs.contracts, inputs.metadata, now, previous=inputs.previous
        )
        return _Known(inputs, now, inputs.agents.added_to(found))

    def _settled(self, namespace: str, inputs: _Inputs, versions: Mapping[str, KubeObject]) -> bool:
        """Whether the operator has looked at the newest change of everything that the standing is made of."""
        subjects = [b for b in (inputs.candidate, inputs.stable) if b is not None]
        if not all(_seen(versions[b.version]) for b in subjects if b.version in versions):
            return False
        names = {name for b in subjects for name in b.names}
        for name in names & inputs.contracts.keys():
            obj = self._cache.get(DATA_CONTRACTS, namespace, name)
            if obj is None or not _seen(obj):
                return False
            if inputs.contracts[name].current is None and _accepted(obj):
                return False  # its revision is about to be kept
        return True

    async def ask(
        self, rollout: KubeObject, status: RolloutStatus, told: Mapping[str, Standing | None]
    ) -> float | None:
        """Asks for the checks that the running release waits for; returns the seconds until it should ask again."""
        candidate = status.candidate
        if candidate is None or status.ending is not None or status.restoring:
            return None
        found = told.get(candidate.version)
        version = self._cache.get(MODEL_VERSIONS, rollout["metadata"]["namespace"], candidate.version)
        if found is None or not found.awaited or version is None:
            return None
        contracts, again = self._book.contracts(version), []
        for name in found.awaited:
            if name not in contracts:
                continue
            try:
                wait = await self._book.request_check(rollout, status.release, contracts[name])
            except Fenced:
                raise
            except ApiError as error:
                # The finding stays, so nothing advances; the release itself must go on being looked after.
                _log.warning("no check of data", extra={"contract": name, "reason": str(error)})
                again.append(_RETRY)
                continue
            if wait.again is not None:
                again.append(wait.again)
        return min(again, default=None)

    def forget(self, uid: str) -> None:
        """The Rollout is gone."""
        self._known.pop(uid, None)


def _says(agents: Fit) -> bool:
    return agents != Fit()


def _said(candidate: Bound, metadata: Mapping[str, Any] | None) -> tuple[Finding, ...]:
    return () if metadata is None else metadata_findings(metadata, candidate.request, candidate.response)


def _previous(status: RolloutStatus) -> str | None:
    """The version that a Rollback would go back to, once no release runs."""
    served = [(r.served_until, r.version) for r in status.retained if r.served_until is not None]
    return max(served)[1] if served else None


def _seen(obj: KubeObject) -> bool:
    status = obj.get("status") or {}
    return bool(status.get("observedGeneration") == obj["metadata"].get("generation", 1))


def _accepted(obj: KubeObject) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or []
    return any(c.get("type") == "Accepted" and c.get("status") == "True" for c in conditions)
