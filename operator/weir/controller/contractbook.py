"""Data contracts as the watches show them: what each says now, what a version is bound to, and checks for a release."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from weir.api.base import LocalRef, parse_time, seconds
from weir.api.contractcheck import ContractCheckSpec
from weir.api.datacontract import DataContractSpec, Semantics
from weir.api.datacontractstatus import DataContractStatus, ServerCheck
from weir.api.modelversion import ContractInUse, ModelVersionSpec, ModelVersionStatus, canonical, sha256
from weir.contract.document import DocumentError, parse
from weir.contract.revision import Bound, Contract, Revision
from weir.controller.declarations import first_error
from weir.runtime.cache import Cache, StaleGuard
from weir.runtime.client import KubeClient
from weir.runtime.errors import AlreadyExists
from weir.runtime.resources import (
    CONTRACT_CHECKS,
    CONTROLLER_REVISIONS,
    DATA_CONTRACTS,
    MODEL_VERSIONS,
    ROLLOUTS,
    KubeObject,
)
from weir.workload.checkjob import ANNOTATION_DIGEST, LABEL_CONTRACT, check_name, contract_check
from weir.workload.identity import label_value

RECHECK = 60.0
"""Seconds after which a release asks again for data that did not pass, so that it goes on once the data is repaired."""

_MOST_BOUND = 10_000
"""ModelVersions that are remembered with their revisions; those that are gone must not fill the memory for ever."""

Role = Literal["Request", "Response", "TrainedOn"]
Place = tuple[str, str]


class Pin(NamedTuple):
    """One contract that a ModelVersion names; ``digest`` is empty where it takes what is current at the first look."""

    role: Role
    name: str
    digest: str


def pins(spec: ModelVersionSpec) -> tuple[Pin, ...]:
    """Every contract that the version pins, each once a role."""
    named = spec.contracts
    if named is None:
        return ()
    texts: list[tuple[Role, str | None]] = [("Request", named.request), ("Response", named.response)]
    texts += [("TrainedOn", text) for text in named.trained_on or ()]
    found = []
    for role, text in texts:
        if text:
            name, _, digest = text.partition("@")
            found.append(Pin(role, name, digest))
    return tuple(dict.fromkeys(found))


def assigned(wanted: Sequence[Pin], bound: Sequence[ContractInUse]) -> dict[Pin, str]:
    """Digest that each pin is bound to already; pins that are not bound are left out."""
    left = [(entry.role, entry.name, entry.digest) for entry in bound]
    found: dict[Pin, str] = {}
    # Those with a digest first: what is left was bound by its name alone.
    for pin in sorted(wanted, key=lambda pin: not pin.digest):
        match = next((e for e in left if e[:2] == pin[:2] and pin.digest in ("", e[2])), None)
        if match is not None:
            left.remove(match)
            found[pin] = match[2]
    return found


def named_by(version: KubeObject) -> frozenset[str]:
    """Names of the DataContracts that a ModelVersion has to do with, as its spec says."""
    named = version["spec"].get("contracts") or {}
    texts = [named.get("request"), named.get("response"), *(named.get("trainedOn") or ())]
    names = {str(text).partition("@")[0] for text in texts if text}
    return frozenset(names | set(named.get("servedFrom") or ()))


def needed(rollout: KubeObject) -> frozenset[str]:
    """Names of the ModelVersions that a Rollout asks for, serves, releases or keeps."""
    status = rollout.get("status") or {}
    names = {rollout["spec"]["versionRef"]["name"]}
    names |= {status[arm]["version"] for arm in ("stable", "candidate", "instead") if status.get(arm)}
    return frozenset(names | {kept["version"] for kept in status.get("retained") or []})


def unfinished(check: KubeObject) -> bool:
    """Whether the pod has not written its result (it may never do so)."""
    return not (check.get("status") or {}).get("finishedAt") and not check["metadata"].get("deletionTimestamp")


@dataclass(frozen=True)
class CheckWait:
    """``check``: the ContractCheck that a release waits for, empty for none. ``again``: seconds until asking again."""

    check: str = ""
    again: float | None = None


class ContractBook:
    """Reads the cache; what it returns is shared and never changes. Each revision is parsed once."""

    def __init__(self, client: KubeClient, cache: Cache, guard: StaleGuard, wall: Callable[[], float]) -> None:
        """``wall``: seconds since the epoch."""
        self._client = client
        self._cache = cache
        self._guard = guard
        self._wall = wall
        self._contracts: dict[Place, tuple[str, Contract]] = {}
        self._revisions: dict[tuple[str, str, str], Revision | None] = {}
        self._bound: dict[Place, tuple[str, Any, Bound]] = {}

    # --- reading ---

    def contract(self, namespace: str, name: str) -> Contract | None:
        """The DataContract as it is now; None where there is none."""
        obj = self._cache.get(DATA_CONTRACTS, namespace, name)
        place = (namespace, name)
        if obj is None:
            self._contracts.pop(place, None)
            return None
        version = str(obj["metadata"].get("resourceVersion", ""))
        known = self._contracts.get(place)
        if known is not None and known[0] == version:
            return known[1]
        made, final = self._read(obj)
        if final:
            self._contracts[place] = (version, made)
        return made

    def contracts(self, version: KubeObject) -> dict[str, Contract]:
        """Every DataContract that a ModelVersion names and that exists, by name."""
        namespace = version["metadata"]["namespace"]
        found = {name: self.contract(namespace, name) for name in sorted(named_by(version))}
        return {name: contract for name, contract in found.items() if contract is not None}

    def _read(self, obj: KubeObject) -> tuple[Contract, bool]:
        """The contract, and whether it stays so until the object changes."""
        meta = obj["metadata"]
        status = DataContractStatus.model_validate(obj.get("status") or {})
        try:
            spec = DataContractSpec.model_validate(obj["spec"])
        except ValidationError as error:
            blank = DataContractSpec.model_construct(roles=["Features"])
            return Contract(meta["name"], blank, status, None, first_error(error)), True
        accepted = next((c for c in status.conditions if c.type == "Accepted"), None)
        if status.observed_generation != meta.get("generation", 1) or accepted is None:
            return Contract(meta["name"], spec, status, None, "Weir has not looked at its last change yet"), True
        if accepted.status != "True" or status.digest is None:
            return Contract(meta["name"], spec, status, None, accepted.message), True
        current = self.revision(meta["namespace"], meta["name"], status.digest)
        if current is None:
            return Contract(meta["name"], spec, status, None, f"its revision {status.digest} is not kept yet"), False
        return Contract(meta["name"], spec, status, current), True

    def kept(self, namespace: str, contract: str) -> list[KubeObject]:
        """ControllerRevisions of the DataContract that is there now (not of a namesake before it), oldest first."""
        owner = self._cache.get(DATA_CONTRACTS, namespace, contract)
        if owner is None:
            return []
        found = self._cache.select(CONTROLLER_REVISIONS, namespace, {LABEL_CONTRACT: label_value(contract)})
        uid = owner["metadata"]["uid"]
        mine = [r for r in found if any(o["uid"] == uid for o in r["metadata"].get("ownerReferences") or [])]
        return sorted(mine, key=lambda revision: int(revision.get("revision", 0)))

    def revision(self, namespace: str, contract: str, digest: str) -> Revision | None:
        """The revision of that digest; None where it is not kept."""
        for obj in self.kept(namespace, contract):
            if digest_of(obj) == digest:
                return self._parsed(namespace, contract, digest, obj)
        return None

    def learn(self, namespace: str, revision: Revision) -> None:
        """Takes over what somebody has parsed already, so that it is not parsed on the event loop."""
        self._revisions[namespace, revision.name, revision.digest] = revision

    def _parsed(self, namespace: str, contract: str, digest: str, obj: KubeObject) -> Revision | None:
        place = (namespace, contract, digest)
        if place not in self._revisions:
            data: dict[str, Any] = obj.get("data") or {}
            try:
                document = parse(data.get("odcs") or {})
                semantics = tuple(Semantics.model_validate(entry) for entry in data.get("semantics") or ())
                self._revisions[place] = Revision(contract, digest, document, semantics)
            except (DocumentError, ValidationError):
                # Only by somebody else's hand; the version bound to it then has a contract that cannot be read.
                self._revisions[place] = None
        return self._revisions[place]

    def forget(self, namespace: str, name: str, digest: str = "") -> None:
        """Drops a contract that is gone, or one revision of it."""
        self._contracts.pop((namespace, name), None)
        for place in [p for p in self._revisions if p[:2] == (namespace, name) and digest in ("", p[2])]:
            del self._revisions[place]
        for version in [v for v, (_, _, b) in self._bound.items() if v[0] == namespace and name in b.names]:
            del self._bound[version]

    # --- what versions are bound to ---

    def bound(self, version: KubeObject) -> Bound | None:
        """A ModelVersion and its revisions; None where it names no contract, or its spec cannot be read.

        ``missing`` holds contracts whose revision is not known: not bound yet, or not kept. Those of servedFrom are not
        among them: they are looked up by `contract`.
        """
        if not version["spec"].get("contracts"):
            return None
        meta = version["metadata"]
        key, place = str(meta.get("resourceVersion", "")), (meta["namespace"], meta["name"])
        known = self._bound.get(place)
        if known is not None and known[0] == key and known[1] == version.get("status"):
            return known[2]
        made = self._bind(version)
        if made is not None and not made.missing:
            if len(self._bound) > _MOST_BOUND:
                self._bound.clear()
            self._bound[place] = (key, version.get("status"), made)
        return made

    def _bind(self, version: KubeObject) -> Bound | None:
        try:
            spec = ModelVersionSpec.model_validate(version["spec"])
            status = ModelVersionStatus.model_validate(version.get("status") or {})
        except ValidationError:
            return None
        if spec.contracts is None:
            return None
        meta = version["metadata"]
        digests = assigned(pins(spec), status.contracts)
        roles: dict[str, list[Revision]] = {"Request": [], "Response": [], "TrainedOn": []}
        missing: list[tuple[str, str]] = []
        for pin in pins(spec):
            digest = digests.get(pin, "")
            revision = self.revision(meta["namespace"], pin.name, digest) if digest else None
            if revision is not None:
                roles[pin.role].append(revision)
            else:
                missing.append((pin.name, self._why_missing(meta["namespace"], pin, digest)))
        trained = tuple(roles["TrainedOn"])
        served = spec.contracts.served_from
        names = [p.name for p in pins(spec) if p.role == "TrainedOn"]
        return Bound(
            version=meta["name"],
            request=next(iter(roles["Request"]), None),
            response=next(iter(roles["Response"]), None),
            trained_on=trained,
            served_from=tuple(dict.fromkeys(names if served is None else served)),
            uses=frozenset(spec.contracts.uses or ()),
            imputed=frozenset(spec.contracts.imputed or ()),
            missing=tuple(dict.fromkeys(missing)),
        )

    def _why_missing(self, namespace: str, pin: Pin, digest: str) -> str:
        contract = self.contract(namespace, pin.name)
        if contract is None:
            return f"there is no DataContract {pin.name} in this namespace"
        if pin.digest or digest:
            return f"DataContract {pin.name} keeps no revision {pin.digest or digest}"
        return f"DataContract {pin.name} is not accepted: {contract.problem}" if contract.problem else "not bound yet"

    def users(self, namespace: str, contract: str) -> Iterator[KubeObject]:
        """ModelVersions that name the contract, by name."""
        return (v for v in self._cache.select(MODEL_VERSIONS, namespace) if contract in named_by(v))

    def rollouts(self, namespace: str, contract: str) -> Iterator[KubeObject]:
        """Rollouts with a version that names the contract."""
        versions = {version["metadata"]["name"] for version in self.users(namespace, contract)}
        if versions:
            yield from (r for r in self._cache.select(ROLLOUTS, namespace) if versions & needed(r))

    def checks(self, namespace: str, contract: str) -> list[KubeObject]:
        """ContractChecks of the contract, oldest first."""
        found = [c for c in self._cache.select(CONTRACT_CHECKS, namespace) if contract_of(c) == contract]
        return sorted(found, key=lambda check: (created(check), check["metadata"]["name"]))

    # --- checks for a release ---

    async def request_check(self, rollout: KubeObject, release: int, contract: Contract) -> CheckWait:
        """Makes sure that a release gets a verdict on the data: asks for a check where none counts.

        A check that runs already is waited for. Data that did not pass is checked again every ``RECHECK`` seconds as
        long as the release asks. Raises ApiError.
        """
        namespace = rollout["metadata"]["namespace"]
        obj = self._cache.get(DATA_CONTRACTS, namespace, contract.name)
        if obj is None or contract.current is None or not contract.spec.servers:
            return CheckWait()
        digest, now = contract.current.digest, self._wall()
        bad = [server.name for server in contract.spec.servers if not _good(contract, server.name, digest, now)]
        if not bad:
            return CheckWait()
        running = next((c for c in self.checks(namespace, contract.name) if self._covers(c, contract)), None)
        if running is not None:
            return CheckWait(running["metadata"]["name"])
        entries = [check for check in contract.status.checks if check.name in bad and check.digest == digest]
        last = max((check.finished_at or 0.0 for check in entries), default=0.0)
        if len(entries) == len(bad) and _lasting(contract, entries, now) and now < last + RECHECK:
            return CheckWait(again=last + RECHECK - now)
        meta = rollout["metadata"]
        # The result that was not good enough is part of the name: a restart asks for the same check, a new result not.
        asked = sha256(canonical([meta["uid"], release, digest, last])).removeprefix("sha256:")[:10]
        name = check_name(contract.name, f"r-{asked}")
        if self._cache.get(CONTRACT_CHECKS, namespace, name) is not None:
            # It has ended, and the contract's status is about to say so.
            return CheckWait(name)
        spec = ContractCheckSpec(
            contract_ref=LocalRef(name=contract.name),
            purpose="Release",
            requested_for=f"{meta['name']}/{release}"[-253:],
        )
        with suppress(AlreadyExists):
            self._guard.wrote(
                CONTRACT_CHECKS, await self._client.create(CONTRACT_CHECKS, contract_check(obj, name, spec))
            )
        return CheckWait(name)

    def _covers(self, check: KubeObject, contract: Contract) -> bool:
        """Whether the contract's status will yet tell what the check finds out about all servers."""
        if check["spec"].get("servers") or check["spec"].get("purpose") == "Reference":
            return False
        name, finished = check["metadata"]["name"], (check.get("status") or {}).get("finishedAt")
        told = [entry for entry in contract.status.checks if entry.finished_at is not None]
        if any(entry.check == name for entry in told):
            return False
        return unfinished(check) or (
            # It has just ended, and the status is about to say so.
            bool(finished) and parse_time(finished) > max((entry.finished_at or 0.0 for entry in told), default=0.0)
        )


def _good(contract: Contract, server: str, digest: str, now: float) -> bool:
    entry = next((check for check in contract.status.checks if check.name == server), None)
    if entry is None or entry.digest != digest or entry.verdict not in ("Pass", "Warn"):
        return False
    return _lasting(contract, [entry], now)


def _lasting(contract: Contract, entries: list[ServerCheck], now: float) -> bool:
    """Whether none of the verdicts is older than the contract allows."""
    age = seconds(contract.spec.schedule.max_age)
    return all(entry.finished_at is not None and now < entry.finished_at + age for entry in entries)


def digest_of(revision: KubeObject) -> str:
    """Digest of the contract that a ControllerRevision keeps."""
    return str((revision["metadata"].get("annotations") or {}).get(ANNOTATION_DIGEST, ""))


def contract_of(check: KubeObject) -> str:
    """Name of the DataContract that a ContractCheck is for."""
    return str((check["spec"].get("contractRef") or {}).get("name", ""))


def created(obj: KubeObject) -> float:
    """When the object was created, in seconds since the epoch."""
    return parse_time(obj["metadata"]["creationTimestamp"])
