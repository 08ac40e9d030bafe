"""What all contracts together say of a release, or of the version that serves: one value that decisions look at.

Compatibility (``weir.contract.compatibility``), checks of the data, drift, and what the live model says of itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from weir.api.base import format_time, seconds
from weir.api.datacontractstatus import DriftStatus, ServerCheck
from weir.contract.compatibility import release_findings, rollbackable, splittable
from weir.contract.finding import Effect, Finding, Judgement, Standing
from weir.contract.revision import Bound, Contract
from weir.contract.waivers import accepted, advice, holds, lapsed, waiver_for

Contracts = Mapping[str, Contract]


@dataclass(frozen=True)
class _Server:
    """What is known of the data on one server: ``until`` is when the verdict grows too old (seconds since 1970)."""

    finding: Finding | None = None
    good: bool = False
    until: float | None = None


def standing(
    candidate: Bound | None,
    stable: Bound | None,
    contracts: Contracts,
    metadata: tuple[Finding, ...],
    now: float,
    *,
    previous: Bound | None = None,
) -> Standing:
    """Everything that the contracts say.

    Args:
        candidate: the version that is, or is to be, rolled out; None where only the serving one is looked at.
        stable: the version that serves, None where there is none.
        contracts: those that any of the versions names, by name.
        metadata: what the live model's own description of itself says (rule Metadata).
        now: seconds since 1970.
        previous: the version that a rollback goes back to once there is no candidate.
    """
    subject = candidate or stable
    if subject is None or not (subject.names or (candidate and stable and stable.names)):
        return Standing()
    beside = stable if candidate is not None else None
    back = stable if candidate is not None else previous
    found = [_enforced(f, contracts) for f in release_findings(subject, beside, contracts, now)]
    found += [_waived(finding, contracts, now) for finding in metadata]
    splits, why_not = splittable(subject, beside, contracts, now)
    returns, why_stuck = rollbackable(subject, back, contracts, now)
    name = min(subject.names or (stable.names if stable is not None else frozenset()))
    if not splits:
        text = f"The two versions must not share traffic: use the strategy blueGreen, or repair this. {why_not}"
        found.append(Finding(name, "R4", "Fail", "BlockPromotion", text))
    if returns is False and back is not None:
        text = f"{back.version} is no safe place to roll back to any more; a Rollback works all the same. {why_stuck}"
        found.append(Finding(name, "R5", "Pass", "Warn", text))
    known = [contracts[n] for n in sorted(subject.names) if n in contracts and contracts[n].current is not None]
    awaited, ends = [], list(_waivers_end(contracts.values(), now))
    for contract in known:
        servers = list(_servers(contract, now, asked=candidate is not None))
        found += [server.finding for server in servers if server.finding is not None]
        ends += [server.until for server in servers if server.until is not None]
        if not all(server.good for server in servers):
            awaited.append(contract.name)
        found += _drift(contract, subject)
    return Standing(
        findings=tuple(found),
        splittable=splits,
        rollbackable=returns,
        rollback_message=why_stuck,
        awaited=tuple(awaited) if candidate is not None else (),
        pins=tuple(_pins(subject, known)),
        changes_at=min((end for end in ends if end > now), default=None),
    )


def _pins(subject: Bound, known: Iterable[Contract]) -> list[str]:
    """Revisions that were looked at: what the version is bound to, and what its data is now."""
    bound = (*subject.trained_on, *(r for r in (subject.request, subject.response) if r is not None))
    current = (contract.current for contract in known if contract.current is not None)
    return sorted({revision.pin for revision in (*bound, *current)})


def _enforced(finding: Finding, contracts: Contracts) -> Finding:
    """A contract that cannot be read has the effect that its own ``onUnknown`` asks for, where that can be read.

    What a compatibility rule only warns of (an imputed property, a retraining) is advice: nothing speaks against it.
    """
    contract = contracts.get(finding.contract)
    if finding.rule == "Document" and contract is not None:
        return replace(finding, effect=contract.spec.enforcement.on_unknown)
    return replace(finding, judgement="Pass") if finding.effect == "Warn" else finding


def _waived(finding: Finding, contracts: Contracts, now: float) -> Finding:
    """What the model says of itself may be accepted by a waiver, as any other incompatibility."""
    waiver = waiver_for([contracts.get(finding.contract)], finding.change, finding.path)
    if waiver is not None and holds(waiver, now):
        return replace(finding, judgement="Pass", effect="Warn", message=f"{finding.message} {accepted(waiver)}")
    if finding.effect == "Warn":
        return replace(finding, judgement="Pass")
    told = f"{finding.message.rstrip('.')}, or {advice(finding.contract, finding.change, finding.path)}."
    return replace(finding, message=f"{told} {lapsed(waiver)}" if waiver is not None else told)


def _waivers_end(contracts: Iterable[Contract], now: float) -> Iterator[float]:
    for contract in contracts:
        yield from (w.expires for w in contract.spec.compatibility.waivers or () if w.expires > now)


# --- Checks of the data ----------------------------------------------------------------------------------------------


def _servers(contract: Contract, now: float, *, asked: bool) -> Iterator[_Server]:
    """``asked``: a release asks; else only what the schedule keeps fresh can be missing or too old."""
    entries = {entry.name: entry for entry in contract.status.checks}
    for server in contract.spec.servers or ():
        yield _server(contract, server.name, entries.get(server.name), now, expected=asked or _scheduled(contract))


def _scheduled(contract: Contract) -> bool:
    return contract.spec.schedule.cron is not None


def _server(contract: Contract, name: str, entry: ServerCheck | None, now: float, *, expected: bool) -> _Server:
    current = contract.current
    max_age = contract.spec.schedule.max_age
    if entry is None or entry.finished_at is None:
        by = f" (ContractCheck {entry.check}{_reason(entry)})" if entry is not None else ""
        return _Server(_pending(contract, name, f"it is not checked yet{by}") if expected else None)
    if current is None or entry.digest != current.digest:
        why = f"ContractCheck {entry.check} has checked another revision of the contract"
        return _Server(_pending(contract, name, why) if expected else None)
    until = entry.finished_at + seconds(max_age)
    if now >= until and expected:
        at = format_time(entry.finished_at)
        why = f"the verdict of ContractCheck {entry.check} ({at}) is older than schedule.maxAge ({max_age})"
        return _Server(_pending(contract, name, why))
    ends = until if expected else None
    enforcement, said = contract.spec.enforcement, f": {_sentence(entry.message)}" if entry.message else "."
    where = f"DataContract {contract.name}, server {name}{said} (ContractCheck {entry.check}.)"
    if entry.verdict == "Fail":
        way = f"Repair the data, or the contract in a new version; {_explain(contract)}"
        return _Server(_check(contract, name, "Fail", enforcement.on_fail, f"{where} {way}"), until=ends)
    if entry.verdict == "Unknown":
        way = f"Check again: `kubectl weir contract check {contract.name}`; {_explain(contract)}"
        told = f"{where} Nothing is known of its data{_reason(entry)}. {way}"
        return _Server(_check(contract, name, "Unknown", enforcement.on_unknown, told), until=ends)
    if entry.verdict == "Warn":
        return _Server(_check(contract, name, "Pass", "Warn", where), good=True, until=ends)
    return _Server(good=True, until=ends)


def _pending(contract: Contract, server: str, why: str) -> Finding:
    """A verdict that a check will give: nobody has to do anything about it."""
    where = f"DataContract {contract.name}, server {server}"
    text = f"{where}: waiting for a check of its data: {why}; {_explain(contract)}"
    return replace(_check(contract, server, "Unknown", contract.spec.enforcement.on_unknown, text), awaited=True)


def _check(contract: Contract, server: str, judgement: Judgement, effect: Effect, message: str) -> Finding:
    grace = seconds(contract.spec.enforcement.grace)
    return Finding(contract.name, "Check", judgement, effect, message, path=server, grace=grace)


def _reason(entry: ServerCheck) -> str:
    return f": {entry.reason}" if entry.reason else ""


# --- Drift -----------------------------------------------------------------------------------------------------------


def _drift(contract: Contract, subject: Bound) -> Iterator[Finding]:
    """Series that have drifted, but for those that another version's pods counted."""
    asked = {drift.name: drift for drift in contract.spec.drift or ()}
    enforcement = contract.spec.enforcement
    for series in contract.status.drift:
        name, _, version = series.key.partition("/")
        drift = asked.get(name)
        if drift is None or series.verdict != "Fail" or version not in ("", subject.version):
            continue
        yield Finding(
            contract.name,
            "Drift",
            "Fail",
            enforcement.on_drift,
            _drifted(contract, series, version),
            change=series.key,
            path=drift.property,
            grace=seconds(enforcement.grace),
        )


def _drifted(contract: Contract, series: DriftStatus, version: str) -> str:
    where = f"as the pods of {version} saw it" if version else "as the checks saw it"
    return (
        f"DataContract {contract.name}, {_sentence(series.message or series.key)} (Drift check {series.key}, {where}.) "
        f"Repair the data, or train a version on data as it is now; {_explain(contract)}"
    )


def _explain(contract: Contract) -> str:
    return f"see `kubectl weir contract explain {contract.name}`."


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."
