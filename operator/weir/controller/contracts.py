"""Reconciling a DataContract: its revision, the checks of its data, drift, and whether it fits the versions in use."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from pydantic import ValidationError

from weir.api.assessment import Assessment
from weir.api.base import LocalRef
from weir.api.contractcheck import ContractCheckSpec
from weir.api.datacontract import DataContractSpec
from weir.api.datacontractstatus import DataContractStatus
from weir.contract.revision import Contract
from weir.controller.act import SOON, Actor
from weir.controller.checkledger import CheckLedger
from weir.controller.contractbook import ContractBook
from weir.controller.contractfits import Fits
from weir.controller.contractmetrics import ContractMetrics
from weir.controller.contractstatus import (
    Checked,
    compatible,
    data_valid,
    disposable,
    drift_free,
    overall,
    server_checks,
    stale_at,
)
from weir.controller.declarations import conditions, first_error
from weir.controller.driftwatch import DriftWatch, Scene
from weir.controller.revisions import Accepted, DocumentRefused, Revisions
from weir.controller.schedule import slots
from weir.runtime.cache import Cache, StaleGuard
from weir.runtime.client import KubeClient
from weir.runtime.errors import AlreadyExists, Conflict, NotFound
from weir.runtime.events import EventWriter
from weir.runtime.resources import CONTRACT_CHECKS, DATA_CONTRACTS, KubeObject, ObjectKey
from weir.runtime.telemetry import ReconcileScope
from weir.workload.checkjob import check_name, contract_check

_MOST_USERS = 64
_MOST_FITS = 20


@dataclass
class _Look:
    """One look at a contract: what was read, and when time alone changes it (seconds from now)."""

    obj: KubeObject
    spec: DataContractSpec
    old: DataContractStatus
    now: float
    checks: Sequence[Checked] = ()
    wakes: list[float] = field(default_factory=list)

    @property
    def namespace(self) -> str:
        return str(self.obj["metadata"]["namespace"])

    @property
    def name(self) -> str:
        return str(self.obj["metadata"]["name"])

    def wake_at(self, at: float | None) -> None:
        """Another look is needed then (seconds since the epoch)."""
        if at is not None:
            self.wakes.append(max(SOON, at - self.now))


class ContractReconciler:
    """Brings one DataContract forward; writes its status, and asks for the checks that its schedule wants."""

    def __init__(
        self,
        *,
        client: KubeClient,
        cache: Cache,
        guard: StaleGuard,
        actor: Actor,
        book: ContractBook,
        revisions: Revisions,
        ledger: CheckLedger,
        drift: DriftWatch,
        events: EventWriter,
        metrics: ContractMetrics,
        keep_checks: int,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """``keep_checks``: ended checks that stay; ``wall``: seconds since the epoch."""
        self._client = client
        self._cache = cache
        self._guard = guard
        self._actor = actor
        self._book = book
        self._revisions = revisions
        self._ledger = ledger
        self._fits = Fits(cache, book)
        self._drift = drift
        self._events = events
        self._metrics = metrics
        self._keep_checks = keep_checks
        self._wall = wall
        self._uids: dict[ObjectKey, str] = {}

    async def __call__(self, key: ObjectKey, scope: ReconcileScope) -> float | None:
        """One look; returns the seconds until time alone changes anything."""
        obj = self._cache.get(*key)
        if obj is None:
            self._forget(key)
            return None
        if self._guard.is_stale(key):
            return SOON
        self._uids[key] = obj["metadata"]["uid"]
        if obj["metadata"].get("deletionTimestamp"):
            return None
        old = DataContractStatus.model_validate(obj.get("status") or {})
        try:
            spec = DataContractSpec.model_validate(obj["spec"])
        except ValidationError as error:
            refused = Assessment("Accepted", "False", "InvalidSpec", first_error(error))
            await self._write(obj, old, self._refused(obj, old, refused), scope)
            return None
        look = _Look(obj, spec, old, self._wall())
        try:
            accepted = await self._revisions.accept(obj, spec)
        except DocumentRefused as error:
            refused = Assessment("Accepted", "False", error.reason, error.message[:1024])
            await self._write(obj, old, self._refused(obj, old, refused), scope)
            return error.again
        if self._revisions.pending(obj, accepted.kept):
            return SOON
        status = await self._status(look, accepted)
        await self._write(obj, old, status, scope)
        await self._revisions.prune(obj, accepted.revision.digest)
        await self._prune(look, status)
        return min(look.wakes, default=None)

    # --- the parts of a status ---

    def _refused(self, obj: KubeObject, old: DataContractStatus, refused: Assessment) -> DataContractStatus:
        """The status of a contract whose document does not count; what was accepted before stays written down."""
        meta = obj["metadata"]
        last = f"; its last accepted revision is {old.revision}" if old.revision else ""
        unknown = [
            Assessment(kind, "Unknown", "NotAccepted", "the contract is not accepted")
            for kind in ("Compatible", "DataValid", "DriftFree")
        ]
        ready = Assessment("Ready", "False", refused.reason, (refused.message + last)[:1024])
        made = conditions(old.conditions, [refused, ready, *unknown], meta.get("generation", 1), self._wall())
        return old.model_copy(
            update={
                "observed_generation": meta.get("generation", 1),
                "conditions": made,
                "verdict": None,
                "next_check_at": None,
                "used_by": self._users(meta["namespace"], meta["name"]),
            }
        )

    async def _status(self, look: _Look, accepted: Accepted) -> DataContractStatus:
        revision, spec, old = accepted.revision, look.spec, look.old
        ledger = await self._ledger.look((look.namespace, look.name), old, look.now)
        checks = look.checks = ledger.checks
        look.wake_at(ledger.wake_at)
        next_at, slot = await self._serve_schedule(look, checks)
        entries = server_checks(spec, revision.digest, checks, old, look.now)
        look.wake_at(stale_at(spec, entries, look.now))
        seen = await self._drift.look(Scene(look.obj, spec, revision.digest, old, checks, look.now))
        look.wake_at(seen.wake_at)
        contract = Contract(look.name, spec, old, revision)
        generation = int(look.obj["metadata"].get("generation", 1))
        fit = await self._fits.look(look.namespace, contract, generation, look.now)
        look.wake_at(fit.wake_at)
        base = DataContractStatus(
            observed_generation=generation,
            digest=revision.digest,
            revision=accepted.kept,
            contract_id=revision.document.id[:253],
            version=revision.document.version[:253],
            standard=revision.document.standard[:253],
            verdict=overall(spec, entries),
            checks=entries,
            next_check_at=next_at,
            checked_slot=slot,
            reference=seen.reference,
            drift=list(seen.drift),
            used_by=self._users(look.namespace, look.name),
            compatibility=list(fit.versions[:_MOST_FITS]),
        )
        text = "; ".join(accepted.warnings) or "the document is valid and consistent"
        found = [
            Assessment("Accepted", "True", "Accepted", text[:1024]),
            Assessment("Ready", "True", "Accepted", f"version {base.version} is kept as revision {base.revision}"),
            data_valid(spec, entries),
            drift_free(spec, seen.drift, seen.problem),
            compatible([*fit.versions, *fit.history]),
        ]
        made = conditions(old.conditions, [one for one in found if one is not None], generation, look.now)
        return base.model_copy(update={"conditions": made})

    def _users(self, namespace: str, contract: str) -> list[str]:
        return [v["metadata"]["name"] for v in self._book.users(namespace, contract)][:_MOST_USERS]

    # --- checks ---

    async def _serve_schedule(self, look: _Look, checks: Sequence[Checked]) -> tuple[float | None, float | None]:
        """Asks for the check that is due; returns the next time of the schedule, and the one that was served last."""
        if not look.spec.servers:
            return None, look.old.checked_slot
        found = slots(look.spec.schedule.cron, look.old, look.now)
        look.wake_at(found.upcoming)
        if found.due is None:
            return found.upcoming, look.old.checked_slot
        running = any(check.spec.servers is None and not check.fate.ended for check in checks)
        if not running:
            name = check_name(look.name, found.name)
            await self.ask(look.obj, name, ContractCheckSpec(contract_ref=LocalRef(name=look.name), purpose="Schedule"))
        return found.upcoming, found.due

    async def ask(self, contract: KubeObject, name: str, spec: ContractCheckSpec) -> None:
        """Creates a ContractCheck; one of that name counts as this one. Raises ApiError."""
        with suppress(AlreadyExists):
            answer = await self._client.create(CONTRACT_CHECKS, contract_check(contract, name, spec))
            self._guard.wrote(CONTRACT_CHECKS, answer)

    async def _prune(self, look: _Look, status: DataContractStatus) -> None:
        """Deletes old checks; those that run are left alone."""
        for name in disposable(look.checks, status, self._keep_checks):
            if name == self._drift.reference_check(look.name, status.digest or ""):
                continue
            check = self._cache.get(CONTRACT_CHECKS, look.namespace, name)
            if check is not None:
                with suppress(NotFound, Conflict):
                    await self._client.delete(CONTRACT_CHECKS, name, look.namespace, uid=check["metadata"]["uid"])

    # --- writing ---

    async def _write(
        self, obj: KubeObject, old: DataContractStatus, status: DataContractStatus, scope: ReconcileScope
    ) -> None:
        place = (obj["metadata"]["namespace"], obj["metadata"]["name"])
        self._metrics.show(place, status)
        made = status.to_dict()
        if (obj.get("status") or {}) == made:
            return
        # Before the status: a restart in between tells the same thing under the same name.
        await self._tell(obj, old, status, scope)
        with suppress(NotFound):
            await self._actor.status(obj, made, DATA_CONTRACTS)
            self._metrics.ended(place, old, status, self._book.checks(*place))

    async def _tell(
        self, obj: KubeObject, old: DataContractStatus, status: DataContractStatus, scope: ReconcileScope
    ) -> None:
        """An Event for every condition that has changed, apart from those that begin as Unknown."""
        before = {c.type: c for c in old.conditions}
        for condition in status.conditions:
            was = before.get(condition.type)
            unchanged = was.status == condition.status if was is not None else condition.status == "Unknown"
            if unchanged or condition.type == "Ready":
                continue
            since = was.last_transition_time if was is not None else 0
            await self._events.emit(
                obj,
                reason=condition.reason,
                action=f"{condition.type}{condition.status}",
                note=f"{condition.type} is {condition.status}: {condition.message}",
                key=f"{condition.type}/{condition.status}/{since}",
                type_="Normal" if condition.status == "True" else "Warning",
                traceparent=scope.traceparent,
            )

    def _forget(self, key: ObjectKey) -> None:
        self._guard.forget(key)
        self._book.forget(key.namespace, key.name)
        self._metrics.forget(key.namespace, key.name)
        self._drift.forget(key.namespace, key.name)
        self._ledger.forget((key.namespace, key.name))
        self._fits.forget((key.namespace, key.name))
        uid = self._uids.pop(key, None)
        if uid is not None:
            self._revisions.forget(uid)
