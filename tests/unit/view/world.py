"""A believable world around the real release machine: names, traffic and faults as people meet them.

The machine is ``weir.release.decide``; whatever a fixture's status says, it has said. Requests come at a fixed rate and a
fixed share of them is bad, counted without rounding errors, so that the same script always gives the same objects.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tests.properties.budgeted import Service
from tests.unit.view.contracted import Parties
from weir.api.base import format_time
from weir.api.evidencestatus import Counts
from weir.api.rollout import RolloutSpec
from weir.contract.standing import standing
from weir.release.observation import Observation, Problem, RolloutView, Share, Target, Window
from weir.release.record import record_name
from weir.stats.noise import Noise

ROLLOUT, NAMESPACE, UID = "digits", "team-a", "8c1f0a52-6f0e-4f55-9d0f-3a7f2e0f6b11"

MEASURED = Noise(dispersion=1.2, fast=0.01, slow=0.01, correlation=0.7)
"""What three quiet pods of stable show."""


def make_spec(**changes: Any) -> RolloutSpec:
    """A canary as the samples have it; ``changes`` are fields in their wire form."""
    fields: dict[str, Any] = {
        "versionRef": {"name": "digits-v1"},
        "replicas": 3,
        "traffic": {"gateway": {"parentRefs": [{"name": "weir", "namespace": "weir-gateway"}]}},
        "strategy": canary(10, 25, 50),
        "gates": [{"template": "http-errors"}],
        "rollback": {"keepFor": "10m"},
    }
    return RolloutSpec.model_validate({**fields, **changes})


def canary(*weights: int) -> dict[str, Any]:
    """Steps of two minutes at least."""
    return {"canary": {"steps": [{"weight": w, "minDuration": "2m"} for w in weights], "bake": "5m"}}


def digest(text: str) -> str:
    """A digest that looks like one."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@dataclass
class World(Service):
    """The Rollout ``digits`` in the namespace ``team-a``."""

    spec: RolloutSpec = field(default_factory=make_spec)
    versions: frozenset[str] = frozenset({"digits-v1", "digits-v2", "digits-v3"})
    rate: float = 20.0
    """Requests a second that users send."""
    shares: dict[str, float] = field(default_factory=dict)
    """Version → share of its requests that are bad; 0.002 where nothing is said."""
    broken: str = ""
    """Why no counts can be read; empty while they can."""
    silent: bool = False
    """No request reaches the candidate, although its weight says otherwise."""
    target_fault: Problem | None = None
    faults: dict[str, tuple[int, Problem | None]] = field(default_factory=dict)
    """Pool → how many of its pods become ready at most, and what is wrong with the others."""
    chance: random.Random | None = None
    """Bad requests come by chance; without it evenly."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    edited_at: float = 0.0
    _rest: dict[str, float] = field(default_factory=dict)
    _ends: dict[str, float] = field(default_factory=dict)
    _of: Any = None

    def __post_init__(self) -> None:
        self.edited_at = self.now
        self.created_at = self.now

    def clone(self) -> World:
        """An independent copy."""
        twin = super().clone()
        assert isinstance(twin, World)
        # What is remembered of a collector is of the original's, whose copy has begun where it was.
        twin._rest, twin._ends, twin._of = dict(self._rest), dict(self._ends), twin.collector
        twin.asked, twin.faults = list(self.asked), dict(self.faults)
        return twin

    # What there is to see

    @property
    def view(self) -> RolloutView:
        """The Rollout's desired state."""
        return RolloutView(ROLLOUT, NAMESPACE, UID, self.generation, self.spec, self.deleting, self.authors)

    def target_of(self, version: str) -> Target:
        """Target that the spec would name with that version."""
        made = digest(f"{version}/{self.template}")
        pool = f"{ROLLOUT}-{made.removeprefix('sha256:')[:10]}"
        return Target(version, version.removeprefix(f"{ROLLOUT}-"), digest(version), made, pool)

    def observe(self, stale: int = 0) -> Observation:
        """What a look shows."""
        obs = super().observe(stale)
        if self.target_fault is not None:
            obs = replace(obs, target=None, target_problem=self.target_fault)
        elif obs.target is None:
            name = self.spec.version_ref.name
            missing = f"no ModelVersion {name} in this namespace (spec.versionRef.name)"
            obs = replace(obs, target_problem=Problem("ModelVersionNotFound", missing))
        return replace(obs, evidence_problem=self.broken or None)

    # What happens

    def edit(self, **changes: Any) -> None:
        """Changes the spec."""
        super().edit(**changes)
        self.edited_at = self.now

    def ask(self, action: str, uid: str = "", **fields: Any) -> str:
        """Creates an ActionRequest; ``fields`` of its spec, in their wire form."""
        name = uid or f"{action.lower()}-{len(self.asked) + 1:03}"
        uid = super().ask(action, name, **{"rolloutRef": {"name": ROLLOUT}, **fields})
        meta = {"name": name, "namespace": NAMESPACE, "uid": uid, "creationTimestamp": format_time(self.now)}
        self.asked.append({"metadata": meta, "spec": self.waiting[uid].spec.to_dict()})
        return uid

    def approve(self, name: str, requester: str) -> str:
        """One person's consent to what is asked for now."""
        entry = next(a for a in self.status.approvals if a.name == name)
        return self.ask("Approve", requester=requester, approval={"name": name, "digest": entry.digest})

    def all_ready(self) -> None:
        """Makes every pod ready that can."""
        for name, pool in self.pools.items():
            most, problem = self.faults.get(name, (pool.desired, None))
            self.pools[name] = replace(pool, ready=min(most, pool.desired), problem=problem)
        self.warm()

    def say(self, **parties: Parties) -> None:
        """From now on these are the contracts, and what both versions are bound to."""
        (found,) = parties.values()
        both = standing(found.candidate, found.stable, found.contracts, (), self.now)
        alone = standing(None, found.stable, found.contracts, (), self.now)
        self.contracts = {"digits-v1": alone, "digits-v2": both}

    def stuck(self, version: str, most: int, problem: Problem | None = None) -> None:
        """From now on no more than so many pods of that version are ready, for that reason."""
        self.faults[self.target_of(version).pool] = (most, problem)
        self.all_ready()

    def pass_time(self, duration: float) -> None:
        """Time passes; windows close when they are due."""
        self.now = round(self.now + duration, 3)
        collector = self.collector
        if collector is None or self.now <= collector.until:
            return
        if self._of is not collector:
            self._of, self._ends = collector, {}
        began = collector.until
        if not collector.collect.judging:
            if self.broken:
                return
            sent = self._counts_of(began, self.now, "share")
            old = collector.share or Share()
            stable = sent[1].total if sent[1] is not None else 0
            collector.share = Share(old.candidate + sent[0].total, old.stable + stable)
            collector.until = self.now
            return
        for gate in self.spec.gates:
            start = self._ends.setdefault(gate.name, began)
            while start + gate.interval_seconds <= self.now + 0.001:
                end = round(start + gate.interval_seconds, 3)
                collector.windows = (*collector.windows, self._window_of(gate.name, start, end))
                start = self._ends[gate.name] = end
        collector.until = self.now

    def _window_of(self, gate: str, start: float, end: float) -> Window:
        if self.broken:
            return Window(gate, start, end, error=self.broken)
        candidate, stable = self._counts_of(start, end, gate)
        pods = [max(1, self.pools[p].ready) if p in self.pools else 1 for p in self._pools()]
        return Window(
            gate, start, end, candidate, stable, candidate_pods=pods[0], stable_pods=pods[1], noise=MEASURED,
            measured=MEASURED,
        )  # fmt: skip

    def _pools(self) -> tuple[str, str]:
        status = self.status
        return tuple(arm.pool if arm else "" for arm in (status.candidate, status.stable))  # type: ignore[return-value]

    def _counts_of(self, start: float, end: float, key: str) -> tuple[Counts, Counts | None]:
        """Requests of (candidate, stable) in a span."""
        assert self.collector is not None
        weight = self.served.get(self.collector.collect.candidate, 0) / 100
        if not self.share_right:
            weight = 0.5 * weight
        candidate, stable = self.status.candidate, self.status.stable
        assert candidate is not None
        sent = self.rate * (end - start)
        if not weight and self.status.stage is not None and self.status.stage.name == "Preview":
            # Ten synthetic requests a second, beside all of the users' to stable.
            return (
                self._bad(f"{key}/preview", 10 * (end - start), candidate.version),
                self._bad(f"{key}/stable", sent, stable.version if stable is not None else ""),
            )
        mine = Counts() if self.silent else self._bad(f"{key}/candidate", sent * weight, candidate.version)
        if self.collector.collect.stable is None or stable is None:
            return mine, None
        return mine, self._bad(f"{key}/stable", sent * (1 - weight), stable.version)

    def _bad(self, key: str, sent: float, version: str) -> Counts:
        total = self._whole(f"{key}/total", sent)
        if self.chance is not None:
            share = self.shares.get(version, 0.002)
            return Counts(bad=sum(self.chance.random() < share for _ in range(total)), total=total)
        return Counts(bad=min(total, self._whole(f"{key}/bad", total * self.shares.get(version, 0.002))), total=total)

    def _whole(self, key: str, amount: float) -> int:
        """Whole number of an amount; what is cut off comes next time."""
        have = self._rest.get(key, 0.5) + amount
        self._rest[key] = have - int(have)
        return int(have)

    # Ways through time

    def serve(self, version: str = "digits-v1") -> World:
        """That version serves all traffic, and the last release is over for a while."""
        self.release(version)
        self.run(lambda: self.status.stable is not None and self.status.stable.version == version)
        self.run(lambda: self.status.candidate is None and self.status.release in self.records)
        self.wait(3600)
        return self

    def reach(self, stage: str, version: str = "digits-v2") -> World:
        """That version is being released and judged in that stage."""
        if self.spec.version_ref.name != version:
            self.release(version)
        self.run(lambda: self.status.stage is not None and self.status.stage.name == stage and self.judged, limit=4000)
        return self

    @property
    def judged(self) -> bool:
        """Whether evidence of the stage has begun."""
        return self.status.stage is not None and self.status.stage.evidence_from is not None

    def wait(self, duration: float, step: float = 10.0) -> World:
        """Time passes, and the operator looks every ``step`` seconds."""
        end = self.now + duration
        while self.now < end - 0.001:
            self.turn()
            self.pass_time(min(step, end - self.now))
        self.turn()
        return self

    def turn(self) -> None:
        """The operator works until nothing moves any more at this moment."""
        for _ in range(40):
            before = self.picture()
            self.reconcile()
            self.all_ready()
            self.accept()
            if self.picture() == before:
                return

    def until(self, reached: Callable[[], bool], *, limit: float = 7200) -> World:
        """Time passes until that is so."""
        end = self.now + limit
        while not reached():
            assert self.now < end, f"not reached: {self.status.phase}: {self.status.message}"
            self.turn()
            if not reached():
                self.pass_time(5.0)
        return self

    # Objects

    def objects(self) -> dict[str, Any]:
        """Everything as the API server would give it now."""
        return {
            "now": format_time(self.now),
            "rollout": self._rollout(),
            "requests": [self._request(obj) for obj in self.asked],
            "records": [
                {
                    "apiVersion": "weir.dev/v1alpha1",
                    "kind": "RolloutRecord",
                    "metadata": {"name": record_name(self.view, number), "namespace": NAMESPACE},
                    "spec": _short(record.to_dict()),
                }
                for number, record in sorted(self.records.items())
            ],
            "versions": [
                {
                    "apiVersion": "weir.dev/v1alpha1",
                    "kind": "ModelVersion",
                    "metadata": {"name": name, "namespace": NAMESPACE},
                    "spec": {"model": ROLLOUT, "version": name.removeprefix(f"{ROLLOUT}-")},
                }
                for name in sorted(self.versions)
            ],
        }

    def _rollout(self) -> dict[str, Any]:
        changed = {"manager": "kubectl", "operation": "Apply", "time": format_time(self.edited_at)}
        meta: dict[str, Any] = {
            "name": ROLLOUT,
            "namespace": NAMESPACE,
            "uid": UID,
            "generation": self.generation,
            "creationTimestamp": format_time(self.created_at),
            "managedFields": [{**changed, "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {}}}],
        }
        status = _short(self.status.to_dict()) if self.stored else {}
        return {
            "apiVersion": "weir.dev/v1alpha1",
            "kind": "Rollout",
            "metadata": meta,
            "spec": self.spec.to_dict(),
            **({"status": status} if status else {}),
        }

    def _request(self, obj: dict[str, Any]) -> dict[str, Any]:
        uid = obj["metadata"]["uid"]
        made = {"apiVersion": "weir.dev/v1alpha1", "kind": "ActionRequest", **obj}
        entry = next((h for h in self.status.handled_requests if h.uid == uid), None)
        if entry is None and uid in self.waiting and self.waiting[uid].pending:
            made["status"] = {"phase": "Pending", "message": self.waiting[uid].pending}
        if entry is not None:
            phase, message = str(entry.phase), entry.message
            made["status"] = {"phase": phase, "message": message, "completedAt": format_time(entry.at)}
        return made


def _short(status: dict[str, Any]) -> dict[str, Any]:
    """Without the numbers in base64: no view reads them, and their last bits are not the same on every machine."""
    evidence = [
        {**e, "series": [{**s, "state": "", "base": ""} for s in e.get("series", [])]}
        for e in status.get("evidence", [])
    ]
    return {**status, "evidence": evidence} if evidence else status
