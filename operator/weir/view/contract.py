"""What a DataContract promises, how it stands, who uses it, and what that does to releases: in plain words.

Pure: from the objects as a cluster gives them. Whatever is missing or odd reads as absent; nothing raises.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weir.api.base import seconds
from weir.contract.document import DocumentError, parse
from weir.contract.model import Document
from weir.view.explanation import Move
from weir.view.promises import promises
from weir.view.read import Node, wire
from weir.view.words import ago, duration, sentence, when

_MOST_RESULTS = 10

_EFFECTS = {
    "BlockPromotion": "releases of versions that use it are held where they are; their deadlines go on",
    "Pause": "releases of versions that use it are paused; their deadlines wait",
    "Rollback": "releases of versions that use it are rolled back",
    "Warn": "it is told, and nothing else happens",
}
_DIRECTIONS = {
    "None": "any change of it is allowed",
    "Forward": "new data must be fit for the versions that use the revision before (Forward)",
    "ForwardTransitive": "new data must be fit for all versions in use (ForwardTransitive)",
    "Backward": "a new version must understand data of the revision before (Backward)",
    "BackwardTransitive": "a new version must understand data of all revisions in use (BackwardTransitive)",
    "Full": "old and new data must be fit for old and new versions (Full)",
    "FullTransitive": "old and new data must be fit for all versions in use (FullTransitive)",
}


@dataclass(frozen=True)
class ContractExplanation:
    """A DataContract in plain words.

    ``headline``: one sentence, how it stands. ``pin``: NAME@DIGEST for a ModelVersion, empty before it was accepted.
    ``promises``: what the data keeps to. ``wrong``: what is not as it should be, worst first. ``used_by``: versions and
    Rollouts. ``effects``: what it does to releases. ``next``: when it is checked again. ``moves``: the way out.
    """

    name: str
    namespace: str
    headline: str
    pin: str = ""
    promises: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    used_by: tuple[str, ...] = ()
    effects: tuple[str, ...] = ()
    next: tuple[str, ...] = ()
    moves: tuple[Move, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON and YAML."""
        found: dict[str, Any] = wire(self)
        return found


@dataclass(frozen=True)
class Around:
    """What else is known: the document where it is not inline, checks, versions and Rollouts of the namespace."""

    odcs: Mapping[str, Any] | None = None
    checks: Sequence[Mapping[str, Any]] = ()
    versions: Sequence[Mapping[str, Any]] = ()
    rollouts: Sequence[Mapping[str, Any]] = ()


def explain_contract(contract: Mapping[str, Any], around: Around, now: float) -> ContractExplanation:
    """The explanation; ``now`` in seconds since the epoch."""
    node = Node(contract)
    name, namespace = node.text("metadata", "name"), node.text("metadata", "namespace")
    digest = node.text("status", "digest")
    document, unread = _document(node, around.odcs)
    wrong = (*unread, *_wrong(node, around, now))
    return ContractExplanation(
        name=name,
        namespace=namespace,
        headline=_headline(node, wrong, now),
        pin=f"{name}@{digest}" if digest else "",
        promises=tuple(promises(node, document)) if document is not None else (),
        wrong=wrong,
        used_by=tuple(_used_by(node, around, digest)),
        effects=tuple(_effects(node, around)),
        next=tuple(_next(node, now)),
        moves=tuple(_moves(node, bool(wrong))),
    )


def _document(node: Node, odcs: Mapping[str, Any] | None) -> tuple[Document | None, tuple[str, ...]]:
    written = node.at("spec", "odcs").value
    found = written if isinstance(written, Mapping) else odcs
    if found is None:
        return None, ()
    try:
        return parse(found), ()
    except DocumentError as error:
        return None, (f"The document cannot be read: {error}",)


def _headline(node: Node, wrong: Sequence[str], now: float) -> str:
    name = node.text("metadata", "name")
    seen, generation = node.count("status", "observedGeneration"), node.count("metadata", "generation")
    if seen is None:
        return f"No operator has looked at {name} yet."
    if generation is not None and seen < generation:
        return f"The operator has not looked at the newest change of {name} yet."
    if _condition(node, "Accepted").text("status") == "False":
        return f"{name} is not accepted, so nothing is checked against its newest content."
    verdict = node.text("status", "verdict")
    checked = max((t for c in node.items("status", "checks") if (t := c.time("finishedAt"))), default=None)
    last = f", checked {ago(checked, now)}" if checked is not None else ""
    if verdict in ("Fail", "Unknown"):
        said = "broken by the data" if verdict == "Fail" else "not known to hold"
        return f"{name} is {said}{last}."
    if wrong:
        return f"{name} holds{last}, but something is not as it should be." if verdict else f"{name} has a problem."
    if verdict:
        return f"The data keeps to {name}{last}" + (", with warnings." if verdict == "Warn" else ".")
    if not node.items("spec", "servers"):
        return f"{name} is accepted. It names no servers, so no data is checked, but versions are compared with it."
    return f"{name} is accepted; its data has not been checked yet."


def _condition(node: Node, kind: str) -> Node:
    return next((c for c in node.items("status", "conditions") if c.text("type") == kind), Node())


# What is wrong


def _wrong(node: Node, around: Around, now: float) -> Iterator[str]:
    for kind in ("Accepted", "Compatible", "DataValid", "DriftFree"):
        condition = _condition(node, kind)
        # What DataValid and DriftFree say in short is told below in full.
        if condition.text("status") == "False" and kind in ("Accepted", "Compatible"):
            yield sentence(condition.text("message") or condition.text("reason"))
    for check in node.items("status", "checks"):
        yield from _check(node, check, around, now)
    for drift in node.items("status", "drift"):
        if drift.text("verdict") == "Fail":
            yield _drifted(drift, now)
    accepted = _condition(node, "Compatible").text("message")
    for one in node.items("status", "compatibility"):
        if one.text("verdict") in ("Fail", "Unknown") and one.text("message") not in accepted:
            rule = f" ({one.text('rule')})" if one.text("rule") else ""
            yield f"ModelVersion {one.text('version')}{rule}: {sentence(one.text('message'))}"


def _check(node: Node, check: Node, around: Around, now: float) -> Iterator[str]:
    verdict, server = check.text("verdict"), check.text("name")
    finished, longest = check.time("finishedAt"), node.span("spec", "schedule", "maxAge") or seconds("26h")
    digest = check.text("digest")
    if verdict in ("Fail", "Unknown", "Warn"):
        results = _results(around, check.text("check"), server)
        if not results:
            said = check.text("message") or check.text("reason")
            yield f"Server {server}: {verdict}: {sentence(said)}"
        for result in results[:_MOST_RESULTS]:
            yield _result(result)
        if len(results) > _MOST_RESULTS:
            yield f"Server {server}: {len(results) - _MOST_RESULTS} more rules did not pass."
    if finished is not None and now - finished > longest:
        yield (
            f"Server {server}: the last verdict is {duration(now - finished)} old, older than schedule.maxAge "
            f"({duration(longest)}); it counts as Unknown."
        )
    if digest and node.text("status", "digest") and digest != node.text("status", "digest"):
        yield f"Server {server}: the last check was of another revision of the contract, so it does not count."


def _results(around: Around, check: str, server: str) -> list[Node]:
    found = next((Node(c) for c in around.checks if Node(c).text("metadata", "name") == check), Node())
    return [result for result in found.items("status", "results") if result.text("server") == server]


def _result(result: Node) -> str:
    place = ".".join(part for part in (result.text("table"), result.text("column")) if part)
    named = f" {result.text('name')!r}" if result.text("name") else ""
    # A rule's own message names table, column and both values already.
    said = result.text("message")
    if not said:
        said = f"expected {result.text('expected') or '-'}, observed {result.text('observed') or '-'}"
    where = f"Server {result.text('server')}" + (f", {place}" if place else "")
    kind = result.text("rule")
    rule = f"rule{named}" if kind == "rule" else f"rule {kind}{named}"
    return f"{where}, {rule}: {result.text('verdict')}: {sentence(said)}"


def _drifted(drift: Node, now: float) -> str:
    distance, since = drift.number("totalVariation"), drift.time("since")
    far = f", a total variation distance of {distance:.3g}" if distance is not None else ""
    told = sentence(drift.text("message"))
    begun = f", since {when(since, now)}" if since is not None else ""
    return f"Drift {drift.text('key')}: beyond its tolerance{begun}{far}." + (f" {told}" if told else "")


# Who uses it, and what it does


def _used_by(node: Node, around: Around, digest: str) -> Iterator[str]:
    name = node.text("metadata", "name")
    bound: dict[str, list[Node]] = {}
    for known in map(Node, around.versions):
        mine = [c for c in known.items("status", "contracts") if c.text("name") == name]
        if mine:
            bound[known.text("metadata", "name")] = mine
    for version in sorted({*bound, *node.texts("status", "usedBy")}):
        uses = bound.get(version, [])
        roles = ", ".join(dict.fromkeys(_ROLE_WORDS.get(c.text("role"), c.text("role")) for c in uses))
        old = any(c.text("digest") != digest for c in uses) if digest else False
        told = f"ModelVersion {version}" + (f" ({roles})" if roles else "")
        yield told + (", bound to another revision" if old else "") + _serving(around, version)


_ROLE_WORDS = {"Request": "requests", "Response": "answers", "TrainedOn": "trained on it"}


def _serving(around: Around, version: str) -> str:
    served = [
        f"{arm} of Rollout {rollout.text('metadata', 'name')}"
        for rollout in map(Node, around.rollouts)
        for arm in ("stable", "candidate")
        if rollout.text("status", arm, "version") == version
    ]
    return f": {', '.join(served)}" if served else ""


def _effects(node: Node, around: Around) -> Iterator[str]:
    enforcement = node.at("spec", "enforcement")
    for key, default, cause in (
        ("onFail", "BlockPromotion", "When a check fails"),
        ("onUnknown", "BlockPromotion", "Without a current verdict"),
        ("onDrift", "Warn", "When data drifts beyond its tolerance"),
    ):
        policy = enforcement.text(key) or default
        grace = enforcement.span("grace")
        late = f", once it has lasted {duration(grace)}" if policy == "Rollback" and grace else ""
        yield f"{cause}: {_EFFECTS.get(policy, policy)}{late} (enforcement.{key}: {policy})."
    mode = node.text("spec", "compatibility", "mode") or "ForwardTransitive"
    yield f"When it changes: {_DIRECTIONS.get(mode, mode)}."
    for waiver in node.items("spec", "compatibility", "waivers"):
        expires = waiver.at("expires").value
        yield (
            f"Waived until {expires}: {waiver.text('ruleId')} at {waiver.text('path')}, by "
            f"{waiver.text('approvedBy')}: {sentence(waiver.text('reason'))}"
        )
    names = set(node.texts("status", "usedBy"))
    for rollout in map(Node, around.rollouts):
        policy = rollout.text("spec", "contracts", "mode")
        if policy in ("Warn", "Ignore") and rollout.text("spec", "versionRef", "name") in names:
            what = "is only warned" if policy == "Warn" else "ignores contracts"
            yield f"Rollout {rollout.text('metadata', 'name')} {what} (spec.contracts.mode: {policy})."


def _next(node: Node, now: float) -> Iterator[str]:
    if not node.items("spec", "servers"):
        return
    cron, at = node.text("spec", "schedule", "cron"), node.time("status", "nextCheckAt")
    if at is not None:
        yield f"The next check is at {when(at, now)}" + (f" (schedule.cron: {cron})." if cron else ".")
    elif cron:
        yield f"Checks run on schedule: {cron} (UTC)."
    else:
        yield "There is no schedule: it is checked when a release needs a verdict, or when somebody asks."
    longest = node.span("spec", "schedule", "maxAge")
    yield f"A verdict counts for {duration(longest if longest is not None else seconds('26h'))}."


def _moves(node: Node, wrong: bool) -> Iterator[Move]:
    name, namespace = node.text("metadata", "name"), node.text("metadata", "namespace")
    place = f" -n {namespace}" if namespace else ""
    if _condition(node, "Accepted").text("status") == "False":
        yield Move("Repair the document, and apply it again.", f"kubectl edit datacontracts.weir.dev {name}{place}")
    if wrong and node.items("spec", "servers"):
        yield Move(
            "When the data is repaired and checked again, releases go on.",
            by_itself=bool(node.text("spec", "schedule", "cron")),
        )
    if node.items("spec", "servers"):
        yield Move("Check the data now.", f"kubectl weir contract check {name}{place}")
    if _condition(node, "Compatible").text("status") == "False" or any(
        c.text("verdict") in ("Fail", "Unknown") for c in node.items("status", "compatibility")
    ):
        yield Move(
            "See what changed, and accept it for a time under spec.compatibility.waivers if it does no harm.",
            f"kubectl weir contract diff REVISION {name}{place}",
        )
    if any(d.text("verdict") == "Fail" for d in node.items("status", "drift")):
        yield Move("Train a version on recent data, and make its training data the reference (spec.reference).")
