"""One Rollout as people see it: a view over the plain objects of the API, which never fails on odd or partial ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weir.view.contracts import Contracts
from weir.view.ladder import ladder, read_spec
from weir.view.parts import (
    Budget,
    Condition,
    DecisionLine,
    Ending,
    Gate,
    Hold,
    Ramp,
    Release,
    Rung,
    Stage,
    Version,
)
from weir.view.people import Approval, Instead, Limit, Pause, Request, Wish
from weir.view.read import Moment, Node, wire
from weir.view.sections import budget, conditions, failed, gates, pause, ramp, requests, strategy, terms

KubeObject = Mapping[str, Any]

PATIENCE = 15.0
"""Seconds after which an operator that has not taken notice of something is called silent."""

OVERDUE = 60.0
"""Seconds after a stored deadline by which a working operator has acted on it."""

LEASE_OLD = 60.0
"""Seconds after which a Lease that is not renewed means that nobody leads; renewed every few, but clocks differ."""


def unled_since(leases: Sequence[Mapping[str, Any]], now: float) -> Moment | None:
    """When an operator last renewed one of its Leases, if that is too long ago; None also where none is known."""
    renewed = [at for lease in leases if (at := Node(lease).time("spec", "renewTime")) is not None]
    return max(renewed) if renewed and now - max(renewed) > LEASE_OLD else None


def operator_silent(leases: Sequence[Mapping[str, Any]], now: float) -> bool | None:
    """Whether no operator has renewed its Lease for too long; None where no Lease tells: it may not be read, say."""
    if not any(Node(lease).time("spec", "renewTime") is not None for lease in leases):
        return None
    return unled_since(leases, now) is not None


@dataclass(frozen=True)
class Silence:
    """Something that the operator should have taken notice of and has not.

    ``what``: Rollout (it has no status at all), Change (the newest spec), Request (an ActionRequest), Deadline (a time
    has passed and nothing happened) or Lease (nobody renews the operator's). ``since``: how long it has been so, where
    that is known.
    """

    what: str
    since: Moment | None = None
    name: str = ""


@dataclass(frozen=True)
class RolloutInfo:
    """Everything there is to show of a Rollout. ``weight`` is the candidate's share in percent, ``now`` is its time."""

    name: str
    namespace: str
    now: Moment
    uid: str = ""
    created_at: Moment | None = None
    deleting: bool = False
    generation: int | None = None
    observed_generation: int | None = None
    silence: Silence | None = None
    phase: str = ""
    message: str = ""
    strategy: str = ""
    wanted: Version | None = None
    wanted_exists: bool | None = None
    spec_problem: str = ""
    replicas: int | None = None
    progress_deadline: float | None = None
    stable: Version | None = None
    candidate: Version | None = None
    restoring: bool = False
    release: int = 0
    release_started_at: Moment | None = None
    requested_by: str = ""
    weight: int = 0
    stage: Stage | None = None
    ladder: tuple[Rung, ...] = ()
    gates: tuple[Gate, ...] = ()
    hold: Hold | None = None
    approvals: tuple[Approval, ...] = ()
    pause: Pause | None = None
    force: Wish | None = None
    skip: Wish | None = None
    limit: Limit | None = None
    instead: Instead | None = None
    ending: Ending | None = None
    deadline: Moment | None = None
    ramp: Ramp | None = None
    budget: Budget | None = None
    contracts: Contracts | None = None
    rollbackable: bool | None = None
    conditions: tuple[Condition, ...] = ()
    decisions: tuple[DecisionLine, ...] = ()
    history: tuple[Release, ...] = ()
    failed: tuple[Release, ...] = ()
    retained: tuple[Version, ...] = ()
    requests: tuple[Request, ...] = ()

    @staticmethod
    def of(
        rollout: KubeObject,
        requests: Sequence[KubeObject] = (),
        records: Sequence[KubeObject] = (),
        versions: Sequence[KubeObject] = (),
        now: float = 0.0,
        *,
        leases: Sequence[KubeObject] = (),
    ) -> RolloutInfo:
        """The view of a Rollout at ``now`` (seconds since the epoch).

        Args:
            rollout: the Rollout.
            requests: ActionRequests of its namespace; those for other Rollouts are left out.
            records: RolloutRecords; those of other Rollouts are left out. With them the history reaches further back.
            versions: ModelVersions of its namespace; empty where they were not read.
            now: seconds since the epoch.
            leases: of operators; empty where they were not read.
        """
        return _Reading(Node(rollout), requests, records, versions, now, leases).info()

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type."""
        return next((c for c in self.conditions if c.type == kind), None)

    @property
    def ready(self) -> bool:
        """Whether the wanted version serves all traffic, as the operator said of the newest spec."""
        ready = self.condition("Ready")
        return ready is not None and ready.status == "True" and not self.behind

    @property
    def behind(self) -> bool:
        """Whether the operator has not looked at the newest spec yet."""
        return self.generation is not None and (self.observed_generation or 0) < self.generation

    @property
    def waiting_approvals(self) -> tuple[Approval, ...]:
        """Approvals that the release stands before."""
        return tuple(a for a in self.approvals if a.state == "Waiting")

    @property
    def pending_requests(self) -> tuple[Request, ...]:
        """ActionRequests without a result."""
        return tuple(r for r in self.requests if r.waiting)

    @property
    def last_request(self) -> Request | None:
        """The ActionRequest that got its result last."""
        done = [r for r in self.requests if not r.waiting]
        return max(done, key=lambda r: r.completed_at or 0.0, default=None)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON and YAML: camelCase, times as text, what is absent left out."""
        found: dict[str, Any] = wire(self)
        return found


@dataclass(frozen=True)
class _Reading:
    """The objects a view is made from."""

    rollout: Node
    requests: Sequence[KubeObject]
    records: Sequence[KubeObject]
    versions: Sequence[KubeObject]
    now: float
    leases: Sequence[KubeObject] = ()

    @property
    def meta(self) -> Node:
        return self.rollout.at("metadata")

    @property
    def status(self) -> Node:
        return self.rollout.at("status")

    def info(self) -> RolloutInfo:
        meta, status, spec = self.meta, self.status, self.rollout.at("spec")
        model, spec_problem = read_spec(spec)
        asked = requests(meta.text("name"), status, self.requests)
        named = spec.text("versionRef", "name")
        instead, limit = Instead.of(status.at("instead"), named), Limit.of(status.at("ceiling"))
        wanted, exists = self._wanted(instead.version if instead is not None else named)
        asks = terms(spec, model)
        approvals = tuple(Approval.of(a) for a in status.items("approvals"))
        return RolloutInfo(
            name=meta.text("name"),
            namespace=meta.text("namespace"),
            now=Moment(self.now),
            uid=meta.text("uid"),
            created_at=meta.time("creationTimestamp"),
            deleting=meta.has("deletionTimestamp"),
            generation=meta.count("generation"),
            observed_generation=status.count("observedGeneration"),
            silence=self._silence(asked),
            phase=status.text("phase"),
            message=status.text("message"),
            strategy=strategy(spec),
            wanted=wanted,
            wanted_exists=exists,
            spec_problem=spec_problem,
            replicas=spec.count("replicas"),
            progress_deadline=spec.span("progressDeadline") or 600.0,
            stable=Version.of(status.at("stable")),
            candidate=Version.of(status.at("candidate")),
            restoring=status.flag("restoring"),
            release=status.count("release") or 0,
            release_started_at=status.time("releaseStartedAt"),
            requested_by=status.text("requestedBy"),
            weight=status.count("weight") or 0,
            stage=Stage.of(status.at("stage"), most=limit.weight if limit is not None else 100),
            ladder=ladder(model, status, approvals),
            gates=gates(status, asks),
            hold=Hold.of(status.at("hold")),
            approvals=approvals,
            pause=pause(spec, status),
            force=Wish.of(status.at("force")),
            skip=Wish.of(status.at("skip")),
            limit=limit,
            instead=instead,
            ending=Ending.of(status.at("ending")),
            deadline=status.time("deadline"),
            ramp=ramp(spec, status),
            budget=budget(spec, status),
            contracts=Contracts.of(status.at("contracts")),
            rollbackable=status.flag("rollbackable") if status.has("rollbackable") else None,
            conditions=conditions(status),
            decisions=tuple(DecisionLine.of(d) for d in status.items("decisions")),
            history=self._history(),
            failed=tuple(failed(f) for f in status.items("failed")),
            retained=tuple(v for r in status.items("retained") if (v := Version.of(r)) is not None),
            requests=asked,
        )

    def _wanted(self, name: str) -> tuple[Version | None, bool | None]:
        """The version that should serve, and whether it exists where versions were read."""
        if not name:
            return None, None
        found = next((n for v in self.versions if (n := Node(v)).text("metadata", "name") == name), None)
        if found is not None:
            return Version(name, found.text("spec", "version"), found.text("status", "digest")), True
        known = [Version.of(self.status.at(arm)) for arm in ("candidate", "stable")]
        known += [Version.of(node) for node in self.status.items("retained")]
        known += [Version.of(node.at("candidate")) for node in self.status.items("history")]
        label = next((v.label for v in known if v is not None and v.name == name), "")
        return Version(name, label), (False if self.versions else None)

    def _silence(self, asked: Sequence[Request]) -> Silence | None:
        """What the operator has not noticed, the most telling first."""
        meta, status = self.meta, self.status
        if not status.there:
            return self._for_long(Silence("Rollout", meta.time("creationTimestamp")))
        generation, seen = meta.count("generation"), status.count("observedGeneration") or 0
        if generation is not None and seen < generation:
            changed = self._for_long(Silence("Change", self._changed_at()))
            if changed is not None:
                return changed
        unseen = [r for r in asked if not r.phase and r.created_at is not None]
        for request in unseen:
            if self.now - (request.created_at or self.now) > PATIENCE:
                return Silence("Request", request.created_at, request.name)
        paused = status.at("pause").there or self.rollout.flag("spec", "paused")
        due = status.time("deadline") if not paused else status.time("pause", "until")
        if due is not None and self.now - due > OVERDUE:
            return Silence("Deadline", due)
        unled = unled_since(self.leases, self.now)
        return Silence("Lease", unled) if unled is not None else None

    def _for_long(self, silence: Silence) -> Silence | None:
        """The silence, unless it has just begun."""
        if silence.since is not None and self.now - silence.since <= PATIENCE:
            return None
        return silence

    def _changed_at(self) -> Moment | None:
        """When somebody last changed the spec, as far as the API server tells."""
        entries = self.meta.items("managedFields")
        times = [e.time("time") for e in entries if not e.text("subresource") and e.at("fieldsV1").has("f:spec")]
        return max((t for t in times if t is not None), default=None)

    def _history(self) -> tuple[Release, ...]:
        """Finished releases, the newest first: of the status, and older ones of the records."""
        found = {r.release: r for r in (Release.of(node) for node in self.status.items("history"))}
        for record in (Node(r) for r in self.records):
            mine = record.text("spec", "rollout") == self.meta.text("name")
            uid, other = self.meta.text("uid"), record.text("spec", "rolloutUid")
            if mine and (not uid or not other or uid == other):
                told = Release.of(record.at("spec"), record.text("metadata", "name"))
                found[told.release] = told
        return tuple(found[number] for number in sorted(found, reverse=True))
