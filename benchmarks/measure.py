"""One measurement: N Rollouts that release, idle and break at the same time, served by one operator."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.api.harness.api import Api, Mirror, eventually
from tests.api.harness.case import Case
from tests.api.harness.gateway import weights
from tests.api.harness.lab import Lab
from tests.api.harness.process import Operator
from weir.runtime.resources import HTTP_ROUTES, PODS, ROLLOUT_RECORDS, KubeObject
from weir.workload.manifests import LABEL_POOL, LABEL_ROLLOUT, LABEL_VERSION

GATE_INTERVAL = 1.0
"""Seconds between two looks of the gate."""
SETTLED = 12.0
"""Seconds after which even texts that may be stored late have been stored."""

_GATE = {"name": "errors", "template": "http-errors", "max": "0.05", "interval": "1s", "minSamples": 20}
_TWO_STEPS = {
    "canary": {"steps": [{"weight": 20, "minDuration": "1s"}, {"weight": 50, "minDuration": "1s"}], "bake": "1s"}
}
_ONE_LONG_STEP = {"canary": {"steps": [{"weight": 20, "minDuration": "10m"}], "bake": "1s"}}

Requests = Counter[tuple[str, str]]
"""(verb, resource) → number."""


@dataclass(frozen=True)
class Result:
    """What was measured with ``rollouts`` Rollouts; times in seconds."""

    rollouts: int
    audited: dict[str, float]
    """"verb resource" → audited requests per release (core, apps, Gateway API and weir.dev)."""
    requests: dict[str, float]
    """"METHOD resource" → requests of the operator's client per release, without the Lease."""
    idle_writes: float
    idle_reads: float
    """Requests per idle minute but watches and the Lease."""
    idle_cpu: float
    """CPU seconds per idle minute."""
    release_seconds: float
    release_cpu: float
    """CPU seconds per release."""
    first_weight: list[float]
    breach_to_zero: list[float]
    rss_mib: float

    @property
    def writes(self) -> float:
        """Writes per release, Events included."""
        return sum(n for what, n in self.requests.items() if not what.startswith("GET "))

    @property
    def events(self) -> float:
        """Events per release."""
        return sum(n for what, n in self.requests.items() if what.endswith("events.events.k8s.io"))

    @property
    def reads(self) -> float:
        """Reads per release."""
        return sum(n for what, n in self.requests.items() if what.startswith("GET "))


@dataclass
class Witness:
    """When pods became ready and routes gave or took weight, on one clock."""

    lab: Lab
    ready: dict[tuple[str, str], float] = field(default_factory=dict)
    """(Rollout, version) → when its last pod so far became ready."""
    weight: dict[tuple[str, str], list[tuple[float, int]]] = field(default_factory=dict)
    """(Rollout, pool) → changes of its weight."""

    def __post_init__(self) -> None:
        self._pools: dict[str, str] = {}
        self._seen: set[str] = set()
        config = self.lab.server.kubeconfig
        self._mirrors = [
            Mirror(Api(config), PODS, self._pod, selector=LABEL_POOL),
            Mirror(Api(config), HTTP_ROUTES, self._route),
        ]

    def stop(self) -> None:
        """Look no more."""
        for mirror in self._mirrors:
            mirror.stop()

    def first_weight(self, rollout: str, version: str) -> float:
        """When the version first had weight in the Rollout's route."""
        return next(at for at, weight in self._of(rollout, version) if weight)

    def last_zero(self, rollout: str, version: str) -> float:
        """When the version lost its weight for good."""
        changes = self._of(rollout, version)
        assert changes[-1][1] == 0
        return changes[-1][0]

    def _of(self, rollout: str, version: str) -> list[tuple[float, int]]:
        return next(
            changes
            for (name, pool), changes in self.weight.items()
            if name == rollout and self._pools.get(pool) == version
        )

    def _pod(self, pod: KubeObject) -> None:
        meta = pod["metadata"]
        labels, uid = meta["labels"], meta["uid"]
        self._pools[labels[LABEL_POOL]] = labels[LABEL_VERSION]
        conditions = (pod.get("status") or {}).get("conditions") or []
        if uid not in self._seen and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions):
            self._seen.add(uid)
            self.ready.setdefault((labels[LABEL_ROLLOUT], labels[LABEL_VERSION]), time.monotonic())

    def _route(self, route: KubeObject) -> None:
        now, name, there = time.monotonic(), route["metadata"]["name"], weights(route)
        for known, pool in list(self.weight):
            if known == name and pool not in there:
                there[pool] = 0
        for pool, weight in there.items():
            changes = self.weight.setdefault((name, pool), [])
            if not changes or changes[-1][1] != weight:
                changes.append((now, weight))


class Peak:
    """Highest resident memory of the operator, in bytes."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        self._over = threading.Event()
        self.bytes = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """The peak."""
        self._over.set()
        self._thread.join()
        return self.bytes

    def _run(self) -> None:
        while not self._over.wait(0.5):
            self.bytes = max(self.bytes, self._operator.rss_bytes())


def measure(lab: Lab, count: int, idle_seconds: float, say: Callable[[str], None]) -> Result:
    """All measurements with that many Rollouts."""
    lab.free_lease()
    witness = Witness(lab)
    operator = lab.operator(f"weir-{count}").wait_ready()
    peak = Peak(operator)
    cases = _serve(lab, count)
    say(f"{count} Rollouts serve their first version")
    released = _release(lab, operator, cases)
    say(f"{count} releases promoted in {released['seconds']:.1f} s")
    time.sleep(SETTLED)
    idle = _idle(operator, idle_seconds)
    say(f"{idle_seconds:g} idle seconds")
    breach = _breach(lab, cases, witness)
    say(f"{count} bad releases rolled back")
    first = [witness.first_weight(c.name, "v2") - witness.ready[c.name, "v2"] for c in cases]
    rss = peak.stop() / 1024 / 1024
    witness.stop()
    operator.stop()
    return Result(
        rollouts=count,
        audited=released["audited"],
        requests=released["requests"],
        release_seconds=released["seconds"],
        release_cpu=released["cpu"],
        idle_writes=idle["writes"],
        idle_reads=idle["reads"],
        idle_cpu=idle["cpu"],
        first_weight=sorted(first),
        breach_to_zero=breach,
        rss_mib=rss,
    )


def _serve(lab: Lab, count: int) -> list[Case]:
    namespace = lab.make_namespace()
    cases = [Case(lab, namespace, f"r{count}-{number}") for number in range(count)]
    for version in ("v1", "v2", "v3"):
        cases[0].version(version)
    metrics = cases[0].metrics()
    metrics["prometheus"]["interval"] = "500ms"
    for case in cases:
        case.create(strategy=_TWO_STEPS, gates=[_GATE], metrics=metrics, replicas=1, progressDeadline="10m")
    for case in cases:
        case.wait_ready(within=300)
    eventually(lambda: _recorded(lab, namespace) == count, "a record of each first release", within=60)
    return cases


def _recorded(lab: Lab, namespace: str) -> int:
    return len(lab.api.list(ROLLOUT_RECORDS, namespace))


def _release(lab: Lab, operator: Operator, cases: list[Case]) -> dict[str, Any]:
    count, namespace = len(cases), cases[0].namespace
    audited, requests, cpu = len(lab.audit()), _requests(operator), operator.cpu_seconds()
    began = time.monotonic()
    for case in cases:
        case.release("v2")
    for case in cases:
        case.wait_ready(within=300)
    took = time.monotonic() - began
    eventually(lambda: _recorded(lab, namespace) == 2 * count, "a record of each release", within=60)
    # What the ModelVersions say of their use comes last.
    _quiet(operator)
    asked = Counter(
        f"{e['verb']} {e['objectRef']['resource']}{'/' + s if (s := e['objectRef'].get('subresource')) else ''}"
        for e in lab.audit()[audited:]
        if e["verb"] != "watch"
    )
    made = _requests(operator) - requests
    return {
        "seconds": took,
        "cpu": (operator.cpu_seconds() - cpu) / count,
        "audited": {what: n / count for what, n in sorted(asked.items())},
        "requests": {f"{method} {resource}": n / count for (method, resource), n in sorted(made.items())},
    }


def _quiet(operator: Operator) -> None:
    """Until two seconds passed without a request."""
    last: Requests = Counter()

    def same() -> bool:
        nonlocal last
        before, last = last, _requests(operator)
        return before == last

    eventually(same, "no more requests", every=2.0)


def _idle(operator: Operator, seconds: float) -> dict[str, float]:
    before, cpu = _requests(operator), operator.cpu_seconds()
    time.sleep(seconds)
    made, minutes = _requests(operator) - before, seconds / 60
    reads = sum(n for (method, _), n in made.items() if method == "GET")
    return {
        "writes": (made.total() - reads) / minutes,
        "reads": reads / minutes,
        "cpu": (operator.cpu_seconds() - cpu) / minutes,
    }


def _breach(lab: Lab, cases: list[Case], witness: Witness) -> list[float]:
    """Seconds from the first bad answer of v3 to weight 0 in the route, of each Rollout."""
    namespace = cases[0].namespace
    for case in cases:
        case.patch(strategy=_ONE_LONG_STEP, versionRef={"name": "v3"})
    for case in cases:
        case.wait(lambda s: s.get("verdict") == "Pass" and s.get("weight") == 20, "v3 passes so far", within=300)
    lab.traffic.counters()
    began = time.monotonic()
    lab.traffic.bad[namespace, "v3"] = 1.0
    for case in cases:
        case.wait_phase("RolledBack", within=300)
    return sorted(witness.last_zero(case.name, "v3") - began for case in cases)


def _requests(operator: Operator) -> Requests:
    found: Requests = Counter()
    for labels, value in operator.samples("rest_client_requests_total").items():
        named = dict(labels)
        if not named["resource"].startswith("leases."):
            found[named["method"], named["resource"]] += int(value)
    return found
