"""The checks of a contract and where each stands, with what their pods say where they do not work."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from pydantic import ValidationError

from weir.api.contractcheck import ContractCheckSpec
from weir.api.datacontractstatus import DataContractStatus
from weir.controller.checkfate import Fate, fate, trouble
from weir.controller.checks import CheckReconciler
from weir.controller.contractbook import ContractBook
from weir.controller.contractstatus import Checked
from weir.runtime.cache import Cache
from weir.runtime.client import KubeClient
from weir.runtime.resources import CONTRACT_CHECKS, JOBS, PODS, KubeObject, ObjectKey

PATIENCE = 60.0
"""Seconds that a pod may take to start before it is asked why it does not; and between two such questions."""

Place = tuple[str, str]


@dataclass(frozen=True)
class Ledger:
    """``checks``: oldest first. ``wake_at``: when time alone changes one, in seconds since the epoch."""

    checks: tuple[Checked, ...]
    wake_at: float | None = None


class CheckLedger:
    """Follows Jobs by the cache. Pods are not watched: they are asked when a Job has failed, or does not start."""

    def __init__(self, client: KubeClient, cache: Cache, book: ContractBook, checks: CheckReconciler) -> None:
        """``checks``: knows what keeps a check from getting a Job."""
        self._client = client
        self._cache = cache
        self._book = book
        self._checks = checks
        self._asked: dict[Place, dict[str, tuple[float, Fate]]] = {}
        """Contract → check → when its pods were asked last, and how it stood with what they said."""

    async def look(self, place: Place, old: DataContractStatus, now: float) -> Ledger:
        """All checks of a contract now. ``old``: the contract's status so far. Raises ApiError."""
        found, wakes = [], []
        for obj in self._book.checks(*place):
            name = obj["metadata"]["name"]
            stands = fate(obj, self._cache.get(JOBS, place[0], name), now)
            wakes += [stands.wake_at(now, PATIENCE)]
            with suppress(ValidationError):  # one that was written past the schema says nothing
                found.append(Checked(name, ContractCheckSpec.model_validate(obj["spec"]), stands))
        asked = self._asked.setdefault(place, {})
        for name in asked.keys() - {check.name for check in found}:
            del asked[name]
        told = [Checked(c.name, c.spec, await self._told(place, c.name, c.fate, old, now)) for c in found]
        return Ledger(tuple(told), min((at for at in wakes if at is not None), default=None))

    def forget(self, place: Place) -> None:
        """The contract is gone."""
        self._asked.pop(place, None)

    async def _told(self, place: Place, name: str, stands: Fate, old: DataContractStatus, now: float) -> Fate:
        """How the check stands, with everything that is known of the reason."""
        if stands.state == "Queued":
            obstacle = self._checks.obstacles.get(ObjectKey(CONTRACT_CHECKS, place[0], name))
            return stands if obstacle is None else stands.because(obstacle.reason, obstacle.message)
        if stands.state == "Running" and not stands.ready and now >= stands.at + PATIENCE:
            return await self._asked_pods(place, name, stands, now)
        if stands.state == "Failed" and stands.reason != "InvalidResult":
            kept = next((e for e in old.checks if e.check == name and e.finished_at is not None), None)
            if kept is not None and kept.reason not in ("StaleCheck", "OtherRevision"):
                return stands.because(kept.reason, kept.message.removeprefix(f"{name}: "))
            return await self._asked_pods(place, name, stands, now)
        return stands

    async def _asked_pods(self, place: Place, name: str, stands: Fate, now: float) -> Fate:
        """``stands`` with what the pods say: of a failed Job once, of one that does not start now and then."""
        asked = self._asked[place]
        at, known = asked.get(name, (float("-inf"), stands))
        if known.state == stands.state and (stands.ended or now < at + PATIENCE) and name in asked:
            return known
        told = trouble(await self._pods(place[0], name))
        if told is not None:
            made = stands.because(*told)
        elif stands.ended and known.state == "Running" and known.reason != "Running":
            # The pods of a Job that ran out of time are gone: what they said before is the reason.
            made = stands.because(stands.reason, f"{stands.message}; before that {known.message}")
        else:
            made = stands
        asked[name] = (now, made)
        return made

    async def _pods(self, namespace: str, job: str) -> list[KubeObject]:
        found = await self._client.list(PODS, namespace, label_selector=f"batch.kubernetes.io/job-name={job}")
        return found.items
