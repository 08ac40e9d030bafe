"""Given a version under traffic, when another is released, then ...: the words that end-to-end tests are written in."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from testbed import digits
from testbed.cluster import Cluster, CommandFailed, wait_for
from testbed.journal import Journal, Look

ROLLOUT = "digits"
_STEPS = [{"weight": 20, "minDuration": "3s"}, {"weight": 50, "minDuration": "3s"}]
_PREVIEW = {"minDuration": "4s", "requestsPerSecond": 15}
CANARY: dict[str, Any] = {"canary": {"steps": _STEPS, "bake": "3s"}}
BLUE_GREEN: dict[str, Any] = {"blueGreen": {"preview": _PREVIEW, "bake": "6s"}}
ERRORS: dict[str, Any] = {
    "name": "errors",
    "template": "http-errors",
    "max": "0.05",
    "interval": "2s",
    "minSamples": 20,
}
_THREE = (
    "0 0 8 15 11 1 0 0  0 0 10 4 10 6 0 0  0 0 0 1 13 6 0 0  0 0 0 15 16 2 0 0 "
    "0 0 0 4 8 15 1 0  0 1 1 0 0 9 7 0  0 4 13 5 3 10 8 0  0 0 7 14 16 15 2 0"
)
_PIXELS = {"name": "pixels", "datatype": "FP32", "shape": [1, 64], "data": [int(value) for value in _THREE.split()]}
WARMUP_BODY = json.dumps({"inputs": [_PIXELS]})
"""A request that even the bad model (v3) answers, although it fails for about one row in eight of users' traffic."""


@dataclass(frozen=True)
class Served:
    """Requests that a version answered, and those of them that failed."""

    answered: int
    failed: int


@dataclass(frozen=True)
class Users:
    """What people who use the model saw since the count was last reset."""

    summary: dict[str, Any]

    def of(self, version: str) -> Served:
        """What a version did."""
        seen = self.summary["by_version"].get(version, {})
        failed = int(seen.get("failed", 0))
        return Served(int(seen.get("ok", 0)) + failed, failed)

    @property
    def failed(self) -> int:
        """Requests without a good answer."""
        return int(self.summary["failed"])

    @property
    def sent(self) -> int:
        """Requests."""
        return int(self.summary["sent"])

    def __str__(self) -> str:
        """For assertions."""
        return json.dumps({name: self.summary[name] for name in ("sent", "failed", "by_version", "errors", "failures")})


@dataclass(frozen=True)
class User:
    """Somebody whom the API server knows, and the groups they are in."""

    name: str
    groups: tuple[str, ...] = ()

    def words(self) -> list[str]:
        """Words that make kubectl ask in their name."""
        return [f"--as={self.name}", *(f"--as-group={group}" for group in self.groups)]


@dataclass
class Space:
    """A namespace with a Rollout of the digits model, people who use it, and the versions of the shared store."""

    cluster: Cluster
    journal: Journal
    name: str
    store: str
    artifacts: dict[str, dict[str, Any]]
    spec: dict[str, Any] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """Hostname under which people ask the model."""
        return f"{self.name}.example"

    def host_of(self, name: str) -> str:
        """Hostname of a Rollout; two of them must not share one."""
        return self.host if name == ROLLOUT else f"{name}.{self.host}"

    # Given

    def version(
        self,
        label: str,
        *,
        weights: str = "",
        artifact: dict[str, Any] | None = None,
        contracts: dict[str, Any] | None = None,
        **runtime: Any,
    ) -> str:
        """Makes a ModelVersion; returns its name. ``weights``: whose weights it has, by default those of its label.

        ``contracts``: the DataContracts that it names.
        """
        found = {**self.artifacts[weights or label], **(artifact or {})}
        if (weights or label) == "v3":
            runtime = {"warmup": {"requests": 5, "body": WARMUP_BODY}, **runtime}
        made = digits.model_version(
            self.name, f"{ROLLOUT}-{label}", label, found, stored_in=self.store, **{**_small(), **runtime}
        )
        if artifact and "uri" in artifact:
            made["spec"]["artifact"]["uri"] = artifact["uri"]
        if contracts:
            made["spec"]["contracts"] = contracts
        self.cluster.apply(made)
        return str(made["metadata"]["name"])

    def external(self, label: str, service: str) -> str:
        """Makes a ModelVersion whose pods the user runs behind a Service; returns its name."""
        made = digits.model_version(self.name, f"{ROLLOUT}-{label}", label, self.artifacts["v1"])
        made["spec"].pop("artifact")
        made["spec"]["runtime"] = {"serviceRef": {"name": service}, "warmup": {"requests": 0}}
        self.cluster.apply(made)
        return str(made["metadata"]["name"])

    def configure(self, **spec: Any) -> None:
        """Fields of the Rollout's spec, for every apply from now on."""
        self.spec = {**self.spec, **spec}

    def rollout(self, version: str, name: str = ROLLOUT) -> dict[str, Any]:
        """The Rollout as a user would write it."""
        defaults = {
            "strategy": CANARY,
            "gates": [ERRORS],
            "metrics": {"scrape": {"interval": "1s"}},
            "rollback": {"keepFor": "2s", "drain": "2s"},
        }
        return digits.rollout(self.name, name, f"{ROLLOUT}-{version}", self.host_of(name), **{**defaults, **self.spec})

    def traffic(self, rate: float = 40.0, url: str = digits.GATEWAY_URL, *, burst: float = 1.0) -> None:
        """Lets people use the model, ``rate`` requests a second, through the gateway or at another ``url``.

        ``burst``: how many requests come at once, on average.
        """
        self.cluster.apply(*digits.load(self.name, self.host, rate, url, burst))

    def serving(self, version: str, name: str = ROLLOUT, *, timeout: float = 120.0) -> None:
        """Returns when the version serves all traffic, the Rollout is at rest, and nothing of others is left."""
        release = self.release(version, name)
        release.until("at rest", lambda look: look.true("Ready") or look.true("Stalled"), timeout=timeout)
        if not release.latest.true("Ready"):
            # A version that failed before is not released again by itself.
            release = release.again("given: it serves")
        release.promoted(timeout)

    def used(self) -> None:
        """Returns when people use the model and get answers; their count starts from zero."""
        digits.ready(self.cluster, self.name, digits.LOAD)
        self.reset()  # what was sent before the model served does not count
        wait_for("answers", lambda: self.users().summary["ok"] > 10)
        self.reset()

    def reset(self) -> None:
        """Counts what people see from zero."""
        self.cluster.http(self.name, digits.LOAD, 8081, "reset", method="POST")

    # When

    def release(self, version: str, name: str = ROLLOUT) -> Release:
        """Names the version in the Rollout's spec."""
        mark = len(self.journal.looks(self.name, name))
        self.cluster.apply(self.rollout(version, name))
        stored = self.cluster.get("rollouts.weir.dev", name, self.name) or {}
        generation = int(stored["metadata"]["generation"])
        before = self.journal.looks(self.name, name)[:mark]
        if before and before[-1].rollout["metadata"]["generation"] == generation:
            mark -= 1  # nothing to do: what was seen last is what there is
        return Release(self, name, version, generation, mark)

    # Then

    def users(self) -> Users:
        """What people saw."""
        return Users(digits.summary(self.cluster, self.name))

    def more_users(self, before: Users, requests: int = 100) -> Users:
        """What people saw, once they have sent so many requests more."""
        return wait_for(
            "more requests", lambda: seen if (seen := self.users()).sent >= before.sent + requests else None
        )

    def pods(self, pool: str) -> dict[str, str]:
        """Pods of a pool that are not on their way out: name → uid."""
        found = self.cluster.list("pods", self.name, f"weir.dev/pool={pool}")
        return {p["metadata"]["name"]: p["metadata"]["uid"] for p in found if "deletionTimestamp" not in p["metadata"]}

    def route(self, name: str = ROLLOUT) -> dict[str, Any] | None:
        """An HTTPRoute."""
        return self.cluster.get("httproutes.gateway.networking.k8s.io", name, self.name)

    def report(self) -> str:
        """Everything that helps to see why something did not happen."""
        parts = [f"namespace {self.name}"]
        for command in (
            ["get", "rollouts.weir.dev,pods,httproutes,services", "-n", self.name, "-o", "wide"],
            ["get", "rollouts.weir.dev,httproutes", "-n", self.name, "-o", "yaml"],
            ["get", "events", "-n", self.name, "--sort-by=.metadata.creationTimestamp"],
        ):
            try:
                parts.append(self.cluster.kubectl(*command)[-20000:])
            except CommandFailed as error:
                parts.append(str(error))
        return "\n".join(parts)


def _small() -> dict[str, Any]:
    """Settings of a model server that starts as many times as tests need it."""
    return {
        "warmup": {"requests": 5},
        "env": [{"name": "DRAIN_SECONDS", "value": "1"}],
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
    }


@dataclass(frozen=True)
class Release:
    """What happens after a version was named.

    ``generation`` of the Rollout that names it; ``mark``: number of looks at the Rollout before that.
    """

    space: Space
    name: str
    version: str
    generation: int
    mark: int

    def looks(self) -> list[Look]:
        """Looks since."""
        return self.space.journal.looks(self.space.name, self.name)[self.mark :]

    @property
    def latest(self) -> Look:
        """The last look."""
        return self.looks()[-1]

    def until(self, what: str, wanted: Callable[[Look], bool], timeout: float = 90.0) -> Look:
        """The first look since that is as wanted and speaks of the spec as it is."""

        def seen(look: Look) -> bool:
            return look.current and look.rollout["metadata"]["generation"] >= self.generation and wanted(look)

        return self.space.journal.wait(self.space.name, self.name, what, seen, since=self.mark, timeout=timeout)

    def in_stage(self, stage: str, timeout: float = 90.0) -> Look:
        """Waits until the stage has begun and its weight is set."""

        def there(look: Look) -> bool:
            return look.stage == stage and look.weight == look.status["stage"]["weight"]

        return self.until(f"stage {stage}", there, timeout)

    def promoted(self, timeout: float = 120.0) -> Look:
        """Waits until the version serves all traffic and is ready."""
        name = f"{ROLLOUT}-{self.version}"
        look = self.until("promoted", lambda at: at.true("Ready") and _stable(at) == name, timeout)
        assert not look.condition("Stalled"), look
        return look

    def rolled_back(self, timeout: float = 120.0) -> Look:
        """Waits until the release has failed and nothing of it has traffic."""

        def back(look: Look) -> bool:
            return look.status.get("phase") == "RolledBack" and look.true("Stalled")

        look = self.until("rolled back", back, timeout)
        assert look.condition("Ready").get("status") == "False", look
        return look

    def again(self, reason: str) -> Release:
        """Asks for a retry of a release that failed."""
        mark = len(self.space.journal.looks(self.space.name, self.name))
        result = self.act("Retry", reason)
        assert result == "Succeeded", result
        return Release(self.space, self.name, self.version, self.generation, mark)

    def weights(self) -> list[int]:
        """Weights of the candidate, in order, without repetitions."""
        found: list[int] = []
        for look in self.looks():
            candidate = (look.status.get("candidate") or {}).get("version")
            if candidate == f"{ROLLOUT}-{self.version}" and found[-1:] != [look.weight]:
                found.append(look.weight)
        return found

    def exposure(self) -> float:
        """Seconds from the first share of traffic that the candidate got to the last; asked when it has none left."""
        shares = [(look.at, look.weight) for look in self.looks()]
        first = next(at for at, weight in shares if weight > 0)
        return next(at for at, weight in shares if at > first and weight == 0) - first

    def record(self, timeout: float = 30.0) -> dict[str, Any]:
        """The sealed record of the newest release of the version."""

        def written() -> dict[str, Any] | None:
            records = self.space.cluster.list("rolloutrecords.weir.dev", self.space.name)
            mine = [
                r["spec"]
                for r in records
                if r["spec"]["rollout"] == self.name
                and r["spec"]["candidate"]["version"] == f"{ROLLOUT}-{self.version}"
            ]
            return max(mine, key=lambda spec: spec["release"], default=None)

        return wait_for(f"a record of {self.version}", written, timeout=timeout)

    def steps(self) -> list[tuple[str, str]]:
        """(reason, stage) of every decision in the record, in order."""
        return [(entry["reason"], entry.get("stage", "")) for entry in self.record()["decisions"]]

    def act(self, action: str, reason: str, *, user: User | None = None, timeout: float = 60.0, **spec: Any) -> str:
        """Creates an ActionRequest and returns what became of it: ``Succeeded`` or ``Refused: why``.

        Raises CommandFailed where the API server does not let ``user`` (by default the cluster's admin) create it.
        """
        name = f"{action.lower()}-{time.time_ns() // 1_000_000}"
        document = {
            "apiVersion": "weir.dev/v1alpha1",
            "kind": "ActionRequest",
            "metadata": {"name": name, "namespace": self.space.name},
            "spec": {"action": action, "rolloutRef": {"name": self.name}, "reason": reason, **spec},
        }
        words = ["create", "-f", "-", *(user.words() if user is not None else ())]
        self.space.cluster.kubectl(*words, stdin=json.dumps(document))

        def answered() -> str | None:
            found = self.space.cluster.get("actionrequests.weir.dev", name, self.space.name) or {}
            status = found.get("status") or {}
            phase = status.get("phase", "Pending")
            if phase == "Pending":
                return None
            return "Succeeded" if phase == "Succeeded" else f"{phase}: {status.get('message')}"

        return wait_for(f"the result of {name}", answered, timeout=timeout)

    def approve(self, user: User, approval: str) -> str:
        """Consents as that user to what an approval in the status asks for; answers as ``act`` does."""
        rollout = self.space.cluster.get("rollouts.weir.dev", self.name, self.space.name) or {}
        found = {entry["name"]: entry for entry in rollout["status"].get("approvals") or []}
        asked = {"name": approval, "digest": found[approval]["digest"]}
        return self.act("Approve", "looks right", user=user, approval=asked)


def _stable(look: Look) -> str:
    return str((look.status.get("stable") or {}).get("version", ""))


def through(*stages: str) -> list[tuple[str, str]]:
    """Decisions of a release that is promoted: each stage entered once, in order."""
    entered = [("StageEntered", stage) for stage in stages]
    return [("ReleaseStarted", "WarmUp"), *entered, ("ReleasePromoted", stages[-1])]


CANARY_STEPS = through("Traffic(20)", "Traffic(50)", "Bake")


class Spaces(Protocol):
    """Makes namespaces."""

    def __call__(self, purpose: str, **spec: Any) -> Space:
        """A namespace of its own; ``spec``: fields of its Rollouts' specs."""
