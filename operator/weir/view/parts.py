"""Parts of a Rollout as people see them; each is read from its piece of an object, however little there is of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from weir.view.people import Approval
from weir.view.read import Moment, Node

RungState = Literal["Done", "Current", "Next"]
Question = Literal["Comparison", "Objective", "Threshold", "Unknown"]


@dataclass(frozen=True)
class Version:
    """A version of the model. ``label`` is what people call it, ``name`` is its ModelVersion.

    ``served_until``: when it last ceased to serve all traffic; None where it never did.
    """

    name: str
    label: str = ""
    digest: str = ""
    pool: str = ""
    served_until: Moment | None = None

    @property
    def shown(self) -> str:
        """What to call it."""
        return self.label or self.name

    @staticmethod
    def of(node: Node) -> Version | None:
        """From a version in a status; None where there is none."""
        if not node.there:
            return None
        return Version(
            name=node.text("version"),
            label=node.text("label"),
            digest=node.text("digest"),
            pool=node.text("pool"),
            served_until=node.time("servedUntil"),
        )


@dataclass(frozen=True)
class Stage:
    """The stage that a release is in."""

    name: str
    index: int
    weight: int
    started_at: Moment | None = None
    accepted_at: Moment | None = None
    evidence_from: Moment | None = None

    @staticmethod
    def of(node: Node, *, most: int = 100) -> Stage | None:
        """From ``status.stage``, with the weight that somebody's limit leaves; None where there is none."""
        if not node.there:
            return None
        index = node.number("index")
        return Stage(
            name=node.text("name"),
            index=int(index) if index is not None else -1,
            weight=min(most, node.count("weight") or 0),
            started_at=node.time("startedAt"),
            accepted_at=node.time("acceptedAt"),
            evidence_from=node.time("evidenceFrom"),
        )


@dataclass(frozen=True)
class Rung:
    """One stage of the plan. ``min_duration`` in seconds; ``approvals`` are needed before it is entered."""

    name: str
    kind: Literal["WarmUp", "Serve", "Restore", "Preview", "Traffic", "Bake", "Promote"]
    weight: int
    min_duration: float
    state: RungState = "Next"
    approvals: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tally:
    """Bad and all requests of one version."""

    bad: int = 0
    total: int = 0

    @staticmethod
    def of(node: Node) -> Tally:
        """From counts in a status."""
        return Tally(node.count("bad") or 0, node.count("total") or 0)

    @property
    def share(self) -> float | None:
        """Share of bad requests (0-1); None without requests."""
        return self.bad / self.total if self.total else None


@dataclass(frozen=True)
class GateTerms:
    """What a gate was told to ask; spans in seconds, None and empty where the spec cannot be read."""

    question: Question = "Unknown"
    template: str = ""
    max: float | None = None
    min: float | None = None
    objective: float | None = None
    over: str = ""
    interval: float | None = None
    min_samples: int | None = None
    failure_limit: int = 0
    consecutive_success: int = 1
    max_wait: float | None = None
    on_insufficient: str = ""
    on_no_data: str = ""
    on_error: str = ""
    fail_above: float | None = None
    pass_below: float | None = None
    accept_below: float | None = None


@dataclass(frozen=True)
class Seen:
    """Traffic and noise behind a compared share, as ``weir.stats.feasibility`` takes them; ``rate`` a second."""

    rate: float
    share: float
    dispersion: float = 1.0
    fast: float = 0.0
    slow: float = 0.0
    correlation: float = 0.0

    @staticmethod
    def of(noise: Node, rate: float, share: float) -> Seen:
        """Of a rate and a share (0-1) with the noise of a status."""
        return Seen(
            rate=rate,
            share=share,
            dispersion=noise.number("dispersion") or 1.0,
            fast=noise.number("fast") or 0.0,
            slow=noise.number("slow") or 0.0,
            correlation=noise.number("correlation") or 0.0,
        )


@dataclass(frozen=True)
class Gate:
    """A gate, its answer, and what the answer stands on.

    ``due``: when ``maxWait`` of this stage is over. ``span``: seconds that the evidence covers; ``traffic``: what was
    seen in them, for each share that is compared.
    """

    name: str
    verdict: str = ""
    message: str = ""
    asks: GateTerms = field(default_factory=GateTerms)
    value: float | None = None
    stable_value: float | None = None
    effect: float | None = None
    effect_low: float | None = None
    effect_high: float | None = None
    e_fail: float | None = None
    e_fail_bar: float | None = None
    e_pass: float | None = None
    e_pass_bar: float | None = None
    tolerance: float | None = None
    accept: float | None = None
    windows: int = 0
    comparative: bool = True
    candidate: Tally = field(default_factory=Tally)
    stable: Tally = field(default_factory=Tally)
    pending: Tally = field(default_factory=Tally)
    window_start: Moment | None = None
    window_end: Moment | None = None
    due: Moment | None = None
    failures: int = 0
    successes: int = 0
    span: float | None = None
    traffic: tuple[Seen, ...] = ()
    query: str = ""

    @property
    def rate(self) -> float | None:
        """Requests a second of both versions; None where it is not known."""
        return self.traffic[0].rate if self.traffic else None

    @staticmethod
    def of(node: Node, asks: GateTerms, *, span: float | None, traffic: tuple[Seen, ...], since: Moment | None) -> Gate:
        """From an entry of ``status.gates``; ``since``: when ``maxWait`` began to count, None while it does not."""
        due = Moment(since + asks.max_wait) if since is not None and asks.max_wait is not None else None
        return Gate(
            name=node.text("name"),
            verdict=node.text("verdict"),
            message=node.text("message"),
            asks=asks,
            value=node.number("value"),
            stable_value=node.number("stableValue"),
            effect=node.number("effect"),
            effect_low=node.number("effectLow"),
            effect_high=node.number("effectHigh"),
            e_fail=node.number("eFail"),
            e_fail_bar=node.number("eFailBar"),
            e_pass=node.number("ePass"),
            e_pass_bar=node.number("ePassBar"),
            tolerance=node.number("tolerance"),
            accept=node.number("accept"),
            windows=node.count("windows") or 0,
            comparative=node.at("comparative").value is not False,
            candidate=Tally.of(node.at("candidate")),
            stable=Tally.of(node.at("stable")),
            pending=Tally.of(node.at("pendingCandidate")),
            window_start=node.time("windowStart"),
            window_end=node.time("windowEnd"),
            due=due,
            failures=node.count("failures") or 0,
            successes=node.count("successes") or 0,
            span=span,
            traffic=traffic,
            query=node.text("query"),
        )


@dataclass(frozen=True)
class Hold:
    """Why a release does not move: one word for programs, a sentence for people."""

    reason: str
    message: str = ""
    since: Moment | None = None

    @staticmethod
    def of(node: Node) -> Hold | None:
        """From ``status.hold``; None where there is none."""
        if not node.there:
            return None
        return Hold(node.text("reason"), node.text("message"), node.time("since"))


@dataclass(frozen=True)
class Ending:
    """A release on its way out."""

    outcome: str
    reason: str
    message: str
    since: Moment | None = None
    by: str = ""
    drain_until: Moment | None = None

    @staticmethod
    def of(node: Node) -> Ending | None:
        """From ``status.ending``; None where there is none."""
        if not node.there:
            return None
        return Ending(
            outcome=node.text("outcome"),
            reason=node.text("reason"),
            message=node.text("message"),
            since=node.time("since"),
            by=node.text("by"),
            drain_until=node.time("drainUntil"),
        )


@dataclass(frozen=True)
class Ramp:
    """Where a ramp stands; ``budget``, ``spent`` and ``left`` in bad requests, ``bound`` is a share (0-1)."""

    weight: int
    budget: int | None
    max_weight: int | None
    moved_at: Moment | None = None
    spent: float | None = None
    left: float | None = None
    rate: float | None = None
    bound: float | None = None


@dataclass(frozen=True)
class Budget:
    """Error budget of the whole service; ``spent`` and ``release`` are shares of the window's budget (1 is all)."""

    spent: float | None
    release: float | None
    frozen: bool
    message: str
    burn_rates: tuple[str, ...] = ()
    window: str = ""
    at: Moment | None = None


@dataclass(frozen=True)
class Condition:
    """A standard condition."""

    type: str
    status: str
    reason: str
    message: str
    since: Moment | None = None


@dataclass(frozen=True)
class DecisionLine:
    """One decision. ``request``: the ActionRequest that caused it, ``authority``: what an agent did it under."""

    at: Moment | None
    phase: str
    stage: str
    weight: int
    reason: str
    message: str
    actor: str
    request: str = ""
    authority: str = ""

    @staticmethod
    def of(node: Node) -> DecisionLine:
        """From an entry of a decision log."""
        return DecisionLine(
            at=node.time("at"),
            phase=node.text("phase"),
            stage=node.text("stage"),
            weight=node.count("weight") or 0,
            reason=node.text("reason"),
            message=node.text("message"),
            actor=node.text("actor"),
            request=node.text("request").partition("@")[0],
            authority=node.text("authority"),
        )


@dataclass(frozen=True)
class Release:
    """A finished release. ``time_to_stable`` in seconds; ``decisions`` only where its record was read."""

    release: int
    candidate: Version
    outcome: str
    reason: str
    message: str
    started_at: Moment | None = None
    finished_at: Moment | None = None
    record: str = ""
    time_to_stable: float | None = None
    requested_by: str = ""
    authors: tuple[str, ...] = ()
    approvals: tuple[Approval, ...] = ()
    decisions: tuple[DecisionLine, ...] = ()

    @staticmethod
    def of(node: Node, record: str = "") -> Release:
        """From an entry of ``status.history``, or the spec of the RolloutRecord of that name."""
        return Release(
            release=node.count("release") or 0,
            candidate=Version.of(node.at("candidate")) or Version(""),
            outcome=node.text("outcome"),
            reason=node.text("reason"),
            message=node.text("message"),
            started_at=node.time("startedAt"),
            finished_at=node.time("finishedAt"),
            record=record or node.text("record"),
            time_to_stable=node.number("timeToStable"),
            requested_by=node.text("requestedBy"),
            authors=node.texts("authors"),
            approvals=tuple(Approval.of(a) for a in node.items("approvals")),
            decisions=tuple(DecisionLine.of(d) for d in node.items("decisions")),
        )
