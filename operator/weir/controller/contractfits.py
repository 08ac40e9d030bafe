"""Whether a contract fits the versions in use, and its own earlier revisions."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from weir.api.datacontractstatus import CompatibilityStatus
from weir.contract.compatibility import revision_findings
from weir.contract.finding import Finding
from weir.contract.revision import Bound, Contract, Revision
from weir.controller.contractbook import ContractBook, digest_of
from weir.controller.contractstatus import compatibility_of
from weir.runtime.cache import Cache
from weir.runtime.resources import ROLLOUTS

Place = tuple[str, str]
_EARLIER = "earlier revisions"


@dataclass(frozen=True)
class Fit:
    """``versions``: those in use. ``history``: earlier revisions, as one entry that no version is meant by.

    ``wake_at``: when a waiver ends, in seconds since the epoch.
    """

    versions: tuple[CompatibilityStatus, ...] = ()
    history: tuple[CompatibilityStatus, ...] = ()
    wake_at: float | None = None


class Fits:
    """Compares in threads, since large documents take their time, and answers the same question once."""

    def __init__(self, cache: Cache, book: ContractBook) -> None:
        """Nothing is known yet."""
        self._cache = cache
        self._book = book
        self._known: dict[Place, dict[str, tuple[object, tuple[Finding, ...]]]] = {}

    async def look(self, namespace: str, contract: Contract, generation: int, now: float) -> Fit:
        """What the current revision breaks. ``generation`` of the object; ``now`` in seconds since the epoch."""
        place, before = (namespace, contract.name), self._known.get((namespace, contract.name), {})
        waivers = contract.spec.compatibility.waivers or ()
        policy = (generation, sum(waiver.expires <= now for waiver in waivers))
        known: dict[str, tuple[object, tuple[Finding, ...]]] = {}

        async def compared(
            name: str, serves: Sequence[Bound] = (), targets: Sequence[Bound] = (), history: Sequence[Revision] = ()
        ) -> CompatibilityStatus:
            pins = sorted(r.pin for bound in (*serves, *targets) for r in _revisions(bound))
            question = (policy, contract.current and contract.current.digest, bool(targets), pins, history)
            known[name] = before.get(name, ((), ()))
            if known[name][0] != question:
                work = partial(revision_findings, contract, serves, now, targets=targets, history=history)
                known[name] = (question, await asyncio.to_thread(work))
            return compatibility_of(name, known[name][1])

        serving, kept = self._in_use(namespace)
        versions = []
        for version in self._book.users(namespace, contract.name):
            name = version["metadata"]["name"]
            bound = self._book.bound(version) if name in serving | kept else None
            if bound is not None:
                serves = [bound] if name in serving else []
                versions.append(await compared(name, serves, [] if serves else [bound]))
        earlier = self._history(namespace, contract)
        history = (await compared(_EARLIER, history=earlier),) if earlier else ()
        self._known[place] = known
        wake_at = min((waiver.expires for waiver in waivers if waiver.expires > now), default=None)
        return Fit(tuple(versions), history, wake_at)

    def forget(self, place: Place) -> None:
        """The contract is gone."""
        self._known.pop(place, None)

    def _in_use(self, namespace: str) -> tuple[set[str], set[str]]:
        """ModelVersions that serve or are being released, and those one may roll back to."""
        serving, kept = set(), set()
        for rollout in self._cache.select(ROLLOUTS, namespace):
            status = rollout.get("status") or {}
            serving |= {status[arm]["version"] for arm in ("stable", "candidate") if status.get(arm)}
            kept |= {retained["version"] for retained in status.get("retained") or []}
        return serving, kept - serving

    def _history(self, namespace: str, contract: Contract) -> list[Revision]:
        """Revisions before the current one, oldest first."""
        found: list[Revision] = []
        for obj in self._book.kept(namespace, contract.name):
            digest = digest_of(obj)
            if contract.current is None or digest == contract.current.digest:
                break
            revision = self._book.revision(namespace, contract.name, digest)
            found += [revision] if revision is not None else []
        return found


def _revisions(bound: Bound) -> list[Revision]:
    return [*bound.trained_on, *(r for r in (bound.request, bound.response) if r is not None)]
