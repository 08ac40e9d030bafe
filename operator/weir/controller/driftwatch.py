"""Drift of a contract's data: the reference profile, what checks and model servers have counted, and the verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pydantic import ValidationError

from weir.api.assessment import Assessment
from weir.api.base import LocalRef, seconds
from weir.api.contractcheck import ContractCheckSpec
from weir.api.datacontract import DataContractSpec
from weir.api.datacontractstatus import DataContractStatus, DriftStatus, ReferenceStatus
from weir.api.distribution import Drift
from weir.api.rolloutstatus import RolloutStatus
from weir.contract.drift import judge, unjudged
from weir.contract.profile import ColumnProfile, Profile, ProfileError
from weir.controller.contractbook import ContractBook, digest_of
from weir.controller.contractstatus import Checked
from weir.controller.observe import Observer, view_of
from weir.controller.revisions import DocumentRefused, Revisions
from weir.evidence.fingerprints import FingerprintReader, Increments, Live, Target
from weir.runtime.client import KubeClient
from weir.runtime.errors import AlreadyExists, Conflict, NotFound
from weir.runtime.resources import CONFIG_MAPS, CONTRACT_CHECKS, KubeObject
from weir.workload.checkjob import check_name, contract_check, reference_map

RETRY = 600.0
"""Seconds after which a reference profile that could not be made is tried again."""
_REREAD = 60.0

Place = tuple[str, str]


@dataclass(frozen=True)
class Found:
    """What a look at drift has found.

    ``problem``: why nothing can be told, if so. ``wake_at``: when to look again, in seconds since the epoch.
    """

    reference: ReferenceStatus | None = None
    drift: tuple[DriftStatus, ...] = ()
    problem: Assessment | None = None
    wake_at: float | None = None


@dataclass(frozen=True)
class Scene:
    """What one look is about: the DataContract, the digest that counts now, its status so far, and its checks.

    ``checks`` oldest first; ``now`` in seconds since the epoch.
    """

    obj: KubeObject
    spec: DataContractSpec
    digest: str
    old: DataContractStatus
    checks: Sequence[Checked]
    now: float

    @property
    def place(self) -> Place:
        """Namespace and name of the DataContract."""
        return self.obj["metadata"]["namespace"], self.obj["metadata"]["name"]

    @property
    def watched(self) -> Sequence[Drift]:
        """The drift checks."""
        return self.spec.drift or ()


class DriftWatch:
    """Keeps the reference profile of every contract at hand and judges what is seen against it."""

    def __init__(
        self,
        *,
        client: KubeClient,
        book: ContractBook,
        revisions: Revisions,
        observer: Observer,
        reader: FingerprintReader,
    ) -> None:
        """``revisions``: reads ConfigMaps; ``reader``: what model servers count."""
        self._client = client
        self._book = book
        self._revisions = revisions
        self._observer = observer
        self._reader = reader
        self._profiles: dict[Place, tuple[str, Profile]] = {}
        """Contract → what the reference was made of, and the reference; it is kept as a ConfigMap, too."""
        self._read_at: dict[Place, float] = {}

    def reference_check(self, contract: str, digest: str) -> str:
        """Name of the ContractCheck that makes the reference profile of a revision."""
        return check_name(contract, f"ref-{digest.removeprefix('sha256:')[:10]}")

    def profile(self, namespace: str, name: str) -> Profile | None:
        """The reference profile of a DataContract, as far as it was read."""
        known = self._profiles.get((namespace, name))
        return known[1] if known is not None else None

    def forget(self, namespace: str, name: str) -> None:
        """The DataContract is gone."""
        place = (namespace, name)
        self._profiles.pop(place, None)
        self._read_at.pop(place, None)
        self._reader.forget(place)

    async def look(self, scene: Scene) -> Found:
        """Where drift stands now. Raises ApiError."""
        if scene.spec.reference is None:
            return Found()
        missing = await self._learn(scene)
        if missing is not None:
            names = {watched.name for watched in scene.watched}
            stays = tuple(e for e in scene.old.drift if e.key.partition("/")[0] in names)
            return Found(None, stays, missing.problem, missing.wake_at)
        reference = self._profiles[scene.place][1]
        made = reference_map(self._revision(scene), scene.place[1], reference.to_json(), reference.digest)
        status = ReferenceStatus(config_map=made["metadata"]["name"], digest=reference.digest, rows=reference.rows)
        if scene.old.reference != status:
            with suppress(AlreadyExists):
                await self._client.create(CONFIG_MAPS, made)
        kept = {entry.key: entry for entry in scene.old.drift}
        found = [_of_checks(w, scene, reference, kept.get(w.name)) for w in scene.watched if w.source == "Checks"]
        live, wake_at = await self._live(scene, reference, kept)
        entries = [entry for entry in found if entry is not None] + live
        return Found(status, tuple(sorted(entries, key=lambda entry: entry.key)), None, wake_at)

    # --- the reference ---

    async def _learn(self, scene: Scene) -> Found | None:
        """Takes in the reference profile; None once it is at hand, else what is missing."""
        wanted = scene.spec.reference
        assert wanted is not None
        if wanted.config_map_ref is None:
            return await self._profiled(scene, wanted.server or "")
        made_of = str(scene.obj["metadata"].get("generation", 1))
        if self._profiles.get(scene.place, ("",))[0] == made_of:
            return None
        field = "spec.reference.configMapRef"
        try:
            raw = await self._revisions.config_map(scene.place[0], wanted.config_map_ref, field)
            self._profiles[scene.place] = (made_of, Profile.from_json(raw))
        except DocumentRefused as error:
            return _missing("ReferenceNotFound", error.message, scene.now + _REREAD)
        except ProfileError as error:
            return _missing("InvalidReference", f"{field}: {error}", scene.now + _REREAD)
        return None

    async def _profiled(self, scene: Scene, server: str) -> Found | None:
        """The profile that a check of purpose Reference has made; asks for that check where there is none."""
        namespace, contract = scene.place
        name = self.reference_check(contract, scene.digest)
        check = next((check for check in scene.checks if check.name == name), None)
        if check is None:
            spec = ContractCheckSpec(contract_ref=LocalRef(name=contract), servers=[server], purpose="Reference")
            with suppress(AlreadyExists):
                await self._client.create(CONTRACT_CHECKS, contract_check(scene.obj, name, spec))
            return _missing("ReferencePending", f"ContractCheck {name} is to profile server {server}")
        if check.spec.purpose != "Reference":
            return _missing("ReferenceFailed", f"ContractCheck {name} is somebody else's: delete it")
        if not check.fate.ended:
            return _missing("ReferencePending", f"ContractCheck {name}: {check.fate.message}")
        made_of = f"{name}/{check.fate.at}"
        if self._profiles.get(scene.place, ("",))[0] == made_of:
            return None
        profile, problem = _made(check)
        if profile is not None:
            self._profiles[scene.place] = (made_of, profile)
            return None
        if scene.now < check.fate.at + RETRY:
            again = f"it is made again in {RETRY / 60:.0f} minutes, or when you delete it"
            return _missing("ReferenceFailed", f"ContractCheck {name}: {problem}; {again}", check.fate.at + RETRY)
        with suppress(NotFound, Conflict):
            await self._client.delete(CONTRACT_CHECKS, name, namespace)
        return _missing("ReferenceFailed", f"ContractCheck {name}: {problem}")

    def _revision(self, scene: Scene) -> KubeObject:
        """The ControllerRevision whose profile it is: it goes with it."""
        return next(r for r in self._book.kept(*scene.place) if digest_of(r) == scene.digest)

    # --- what model servers count ---

    async def _live(
        self, scene: Scene, reference: Profile, kept: Mapping[str, DriftStatus]
    ) -> tuple[list[DriftStatus], float | None]:
        """Where live series stand, and when to read again; series of versions that serve no longer are dropped."""
        watched, place = [entry for entry in scene.watched if entry.source == "Live"], scene.place
        columns = {w.property: column for w in watched if (column := reference.column(w.property)) is not None}
        targets = list(self._targets(place, scene.spec, columns)) if watched else []
        if not targets:
            self._reader.forget(place)
            self._read_at.pop(place, None)
            return [], None
        series = [(entry, version) for entry in watched for version in sorted({t.version for t in targets})]
        interval = seconds(scene.spec.live.interval)
        due = self._read_at.get(place, 0.0) + interval
        if scene.now < due:
            keys = [_key(entry, version) for entry, version in series]
            return [kept[key] for key in keys if key in kept], due
        self._read_at[place] = scene.now
        found = await self._reader.read(targets)
        made = [_of_live(e, v, scene, columns.get(e.property), kept.get(_key(e, v)), found) for e, v in series]
        return [entry for entry in made if entry is not None], scene.now + interval

    def _targets(self, place: Place, spec: DataContractSpec, columns: Mapping[str, ColumnProfile]) -> Iterator[Target]:
        """Pods of every version in service that uses the contract; a version may have none that runs just now."""
        users = {version["metadata"]["name"] for version in self._book.users(*place)}
        for rollout in self._book.rollouts(*place):
            try:
                view, status = view_of(rollout), RolloutStatus.model_validate(rollout.get("status") or {})
            except ValidationError:
                continue
            pods = self._observer.arms(view, status, self._observer.versions(view, status))
            for arm, counted in ((status.stable, pods.stable), (status.candidate, pods.candidate)):
                if arm is not None and arm.version in users:
                    metrics = {"metrics": view.spec.metrics} if view.spec.metrics is not None else {}
                    yield Target(place, arm.version, arm.pool, counted, columns, spec.live.metric, **metrics)


def _made(check: Checked) -> tuple[Profile | None, str]:
    """The profile that a finished check has made, or why there is none."""
    result = check.fate.result
    if result is None:
        return None, check.fate.message
    if not result.profile:
        return None, result.message or "it has made no profile"
    try:
        return Profile.from_json(result.profile), ""
    except ProfileError as error:
        return None, f"its profile cannot be read: {error}"


def _of_checks(watched: Drift, scene: Scene, reference: Profile, old: DriftStatus | None) -> DriftStatus | None:
    """Where a property stands after every check that has not been counted."""
    column = reference.column(watched.property)
    for check in _uncounted(old, scene):
        at, name = check.fate.at, check.name
        profile, problem = _made(check)
        seen = profile.column(watched.property) if profile is not None else None
        counts = seen.binned_as(column) if seen is not None and column is not None else None
        if column is not None and counts is not None:
            old = judge(watched, column, counts, old, now=at, source=name, roles=scene.spec.roles)
            continue
        if column is None:
            reason = "the reference has no profile of it"
        elif seen is not None:
            reason = f"{name} has counted it in other bins than the reference"
        else:
            reason = f"{name} has no profile of it" + (f": {problem}" if problem else "")
        old = unjudged(watched, old, reason, now=at, source=name)
    return old


def _of_live(  # noqa: PLR0917 -- all that one series is made of
    watched: Drift,
    version: str,
    scene: Scene,
    column: ColumnProfile | None,
    old: DriftStatus | None,
    found: Increments,
) -> DriftStatus | None:
    """Where one property of one version stands after a read."""
    key = _key(watched, version)
    counts = found.counts.get(Live(scene.place, version, watched.property))
    reason = found.problems.get((scene.place, version), "")
    if column is None:
        reason, counts = "the reference has no profile of it", None
    elif counts is not None:
        return judge(watched, column, counts, old, now=scene.now, key=key, roles=scene.spec.roles)
    if reason and (old is None or old.message != f"{watched.property}: {reason}"):
        return unjudged(watched, old, reason, now=scene.now, key=key)
    return old


def _uncounted(old: DriftStatus | None, scene: Scene) -> list[Checked]:
    """Finished checks of this revision after the one that was counted last, in the order in which they finished."""
    named = scene.spec.reference.server if scene.spec.reference is not None else None
    others = any(server.name != named for server in scene.spec.servers or ())
    done = [
        check
        for check in scene.checks
        if check.fate.result is not None
        and check.fate.digest == scene.digest
        and check.spec.purpose != "Reference"
        # What has looked at the reference's own data alone tells nothing about others.
        and not (others and check.spec.servers == [named])
    ]
    done.sort(key=lambda check: (check.fate.at, check.name))
    names = [check.name for check in done]
    if old is None or not old.source:
        return done
    if old.source in names:
        return done[names.index(old.source) + 1 :]
    return [check for check in done if check.fate.at > (old.at or 0.0)]


def _key(watched: Drift, version: str) -> str:
    return f"{watched.name}/{version}"[:253]


def _missing(reason: str, message: str, wake_at: float | None = None) -> Found:
    return Found(problem=Assessment("DriftFree", "Unknown", reason, message[:1024]), wake_at=wake_at)
