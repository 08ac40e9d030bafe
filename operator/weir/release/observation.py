"""What the shell saw of the world: the only input of a decision besides spec, status and time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from weir.api.actionrequest import ActionRequestSpec
from weir.api.evidencestatus import Counts
from weir.api.rollout import RolloutSpec
from weir.contract.finding import Standing
from weir.stats.noise import Noise


@dataclass(frozen=True)
class Problem:
    """Something in the way. ``terminal``: it stays until somebody changes an object; else it may pass by itself."""

    reason: str
    message: str
    terminal: bool = False


@dataclass(frozen=True)
class Target:
    """The version that the spec asks for. ``revision`` identifies what would run; ``pool`` is derived from it."""

    version: str
    label: str
    digest: str
    revision: str
    pool: str


@dataclass(frozen=True)
class Pool:
    """Pods of one version: a Deployment and its Service, or a Service that the user runs (``external``).

    ``ready`` counts pods that answer through the Service (ready endpoints), ``desired`` the Deployment's replicas.
    ``problem`` names why pods are missing (image, quota, artifact digest, crash loop …). ``ready_since``: when the
    youngest of the ready pods became ready (seconds since the epoch), where that is known.
    """

    name: str
    desired: int = 0
    ready: int = 0
    external: bool = False
    problem: Problem | None = None
    ready_since: float | None = None


@dataclass(frozen=True)
class Route:
    """What the traffic adapter observed.

    ``weights``: pool → percent as written in the route, empty when nothing is routed yet. ``accepted``: the gateway
    took the current generation of the route (every relevant parent). ``granularity``: smallest step in percent.
    ``problem``: what is wrong with the route or its gateway (missing, not accepted, claimed by another, lacking
    features).
    """

    weights: Mapping[str, int] = field(default_factory=dict)
    accepted: bool = False
    granularity: int = 1
    problem: Problem | None = None


@dataclass(frozen=True)
class Edge:
    """Requests slower than ``above`` (seconds) in a window, of each arm."""

    above: float
    candidate: int
    stable: int
    noise: Noise | None = None
    history: Noise | None = None
    measured: Noise | None = None


@dataclass(frozen=True)
class Window:
    """Counts of one gate in one span of time, both arms (seconds since the epoch; spans of a gate never overlap).

    ``stable`` is None where the stage gives stable no traffic or its counts could not be read; ``value`` is for
    threshold gates. ``error`` says why the window cannot be used; such a window never counts for anything but Error.
    ``candidate_pods`` and ``stable_pods`` count the pods that answered. ``noise`` of stable's pods is the one to reckon
    with from this window on, None where pods are not told apart; ``history`` was measured before the release, and
    ``measured`` in it alone, None while there is too little to say. ``edges`` are for
    gates that compare whole latency distributions (rising; ``candidate.total`` and ``stable.total`` hold for all).
    ``candidate_sum`` and ``stable_sum`` are for means (of ``total`` observations). ``counters``: what the pods'
    counters said at the end, for a restart.
    """

    gate: str
    start: float
    end: float
    candidate: Counts = field(default_factory=Counts)
    stable: Counts | None = None
    value: Decimal | None = None
    error: str | None = None
    query: str = ""
    candidate_pods: int = 1
    stable_pods: int = 1
    noise: Noise | None = None
    history: Noise | None = None
    edges: tuple[Edge, ...] = ()
    candidate_sum: float = 0.0
    stable_sum: float = 0.0
    counters: str = ""
    measured: Noise | None = None


@dataclass(frozen=True)
class BudgetReading:
    """Bad and all requests of the whole service at ``at``, over spans of so many seconds before it."""

    at: float
    spans: Mapping[float, Counts] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True)
class Share:
    """Requests that each arm served since the current weights were accepted, as the data plane counted them."""

    candidate: int = 0
    stable: int = 0


@dataclass(frozen=True)
class Permission:
    """Where an agent's request stands with the AgentPolicy: it is executed only while it is granted.

    ``message``: what it waits for, why it is denied, or who consented to what is granted. ``until``: when a grant ends,
    or when a wait is over at the earliest (seconds since the epoch); None where nobody can say.
    """

    state: Literal["Granted", "Waiting", "Denied"]
    message: str = ""
    until: float | None = None


@dataclass(frozen=True)
class Request:
    """An ActionRequest that has no result yet.

    ``created``: seconds since the epoch, as the API server says. ``pending``: what its status says while it waits for
    its moment. ``permit``: where it stands with the AgentPolicy; None where nobody has looked, or it needs none.
    """

    uid: str
    name: str
    spec: ActionRequestSpec
    created: float = 0.0
    pending: str = ""
    permit: Permission | None = None

    @property
    def requester(self) -> str:
        """Who asks, as admission vouches for; the request's own name where nobody is named."""
        return self.spec.requester or self.name


@dataclass(frozen=True)
class Observation:
    """Everything a decision may look at."""

    target: Target | None = None
    target_problem: Problem | None = None
    wanted: str = ""
    """Name of the ModelVersion that these two are about; empty where it is the one that should serve."""
    blockers: tuple[Problem, ...] = ()
    write_problem: Problem | None = None
    """Why the API server does not take an object of ours (quota, policy, missing RBAC, a field it refuses)."""
    pools: Mapping[str, Pool] = field(default_factory=dict)
    route: Route = field(default_factory=Route)
    windows: tuple[Window, ...] = ()
    share: Share | None = None
    evidence_problem: str | None = None
    """What is wrong with reading evidence just now, for people."""
    budget: BudgetReading | None = None
    """The whole service's requests, for the error budget; None while not read yet, or not asked for."""
    warmed: frozenset[str] = frozenset()
    warmup_problem: Problem | None = None
    requests: tuple[Request, ...] = ()
    admission_problem: str | None = None
    """Why consents cannot be trusted: the admission policies that vouch for requesters are not in force."""
    admission_open: bool = False
    """Whether a request in somebody else's name was seen to get through, so that consents may be forged."""
    contracts: Mapping[str, Standing | None] = field(default_factory=dict)
    """ModelVersion → what its DataContracts say of it: of the version that is, or is to be, rolled out beside stable,
    and of stable by itself. None where that is not known yet; empty where no version names a contract."""
    offered: Mapping[str, Target | Problem] = field(default_factory=dict)
    """ModelVersion → what would be released, or what is wrong with it: of those that Release requests ask for."""
    recorded: Mapping[int, str] = field(default_factory=dict)
    """Release number → hash, of the RolloutRecords that exist for this Rollout."""

    def pool(self, name: str) -> Pool:
        """The pool of that name; one without pods where it does not exist."""
        return self.pools.get(name, Pool(name))


@dataclass(frozen=True)
class RolloutView:
    """The Rollout's own desired state."""

    name: str
    namespace: str
    uid: str
    generation: int
    spec: RolloutSpec
    deleting: bool = False
    authors: tuple[str, ...] = ()
    """Who changed the Rollout since ``versionRef`` last changed; they cannot approve."""


Arm = Literal["stable", "candidate"]
