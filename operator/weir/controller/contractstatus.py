"""What the status of a DataContract says of its checks, its drift and the versions that use it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from weir.api.assessment import Assessment
from weir.api.base import seconds
from weir.api.contractcheck import ContractCheckSpec
from weir.api.datacontract import DataContractSpec, Server
from weir.api.datacontractstatus import (
    CheckVerdict,
    CompatibilityStatus,
    DataContractStatus,
    DriftStatus,
    ServerCheck,
)
from weir.contract.finding import Finding
from weir.controller.checkfate import Fate

_WORST: Sequence[CheckVerdict] = ("Fail", "Unknown", "Warn", "Pass")


@dataclass(frozen=True)
class Checked:
    """A ContractCheck and where it stands."""

    name: str
    spec: ContractCheckSpec
    fate: Fate

    def covers(self, server: str) -> bool:
        """Whether it tells about the data of a server."""
        if self.fate.result is not None:
            return any(found.name == server for found in self.fate.result.servers)
        return self.spec.servers is None or server in self.spec.servers


def worst(verdicts: Iterable[CheckVerdict]) -> CheckVerdict | None:
    """The worst of the verdicts: Fail, then Unknown, Warn, Pass; None of none."""
    return min(verdicts, key=_WORST.index, default=None)


def server_checks(
    spec: DataContractSpec, digest: str, checks: Sequence[Checked], old: DataContractStatus, now: float
) -> list[ServerCheck]:
    """The last finished check of every server, or the one that runs where none has finished; by the server's name.

    A verdict on another revision, or one that is too old, is Unknown. What is known of a check that somebody deleted
    stays known. ``now`` in seconds since the epoch.
    """
    known = {entry.name: entry for entry in old.checks}
    found = (_server_check(server, checks, known.get(server.name)) for server in spec.servers or ())
    max_age = seconds(spec.schedule.max_age)
    return sorted((_counting(e, digest, max_age, now) for e in found if e is not None), key=lambda e: e.name)


def _server_check(server: Server, checks: Sequence[Checked], old: ServerCheck | None) -> ServerCheck | None:
    mine = [check for check in checks if check.covers(server.name)]
    ended = [_entry(server.name, check) for check in mine if check.fate.ended]
    if old is not None and old.finished_at is not None and old.check not in {check.name for check in checks}:
        ended.append(old)
    if ended:
        return max(ended, key=lambda entry: (entry.finished_at or 0.0, entry.check))
    running = [check for check in mine if not check.fate.ended]
    return _entry(server.name, max(running, key=lambda check: (check.fate.at, check.name))) if running else None


def _entry(server: str, check: Checked) -> ServerCheck:
    fate = check.fate
    if fate.result is None:
        return ServerCheck(
            name=server,
            check=check.name,
            verdict="Unknown",
            reason=fate.reason,
            message=f"{check.name}: {fate.message}"[:1024],
            digest=fate.digest or None,
            finished_at=fate.at if fate.ended else None,
        )
    result = next(found for found in fate.result.servers if found.name == server)
    first = next((r for r in fate.result.results if r.server == server and r.verdict == result.verdict), None)
    return ServerCheck(
        name=server,
        check=check.name,
        verdict=result.verdict,
        reason=_REASONS[result.verdict],
        message=(first.message if first is not None else "" if result.verdict == "Pass" else fate.result.message)[
            :1024
        ],
        digest=fate.result.digest,
        finished_at=fate.result.finished_at,
        passed=result.passed,
        warned=result.warned,
        failed=result.failed,
        unknown=result.unknown,
    )


_REASONS: Mapping[CheckVerdict, str] = {
    "Pass": "RulesHold",
    "Warn": "RulesWarn",
    "Fail": "RulesBroken",
    "Unknown": "NotDecided",
}


def _counting(entry: ServerCheck, digest: str, max_age: float, now: float) -> ServerCheck:
    """The entry as it counts now."""
    if entry.finished_at is None:
        return entry
    if entry.digest is not None and entry.digest != digest:
        said = f"{entry.check} has checked another revision of the contract ({entry.digest})"
        return _void(entry, "OtherRevision", said)
    if now >= entry.finished_at + max_age:
        return _void(entry, "StaleCheck", f"{entry.check} is older than spec.schedule.maxAge")
    return entry


def _void(entry: ServerCheck, reason: str, message: str) -> ServerCheck:
    return entry.model_copy(update={"verdict": "Unknown", "reason": reason, "message": message[:1024]})


def stale_at(spec: DataContractSpec, entries: Sequence[ServerCheck], now: float) -> float | None:
    """When the next verdict grows too old; None where none does."""
    max_age = seconds(spec.schedule.max_age)
    ends = (entry.finished_at + max_age for entry in entries if entry.finished_at is not None)
    return min((end for end in ends if end > now), default=None)


def overall(spec: DataContractSpec, entries: Sequence[ServerCheck]) -> CheckVerdict | None:
    """The verdict on all servers; a server that was never checked is Unknown, and None is without servers."""
    verdicts = {entry.name: entry.verdict for entry in entries}
    return worst(verdicts.get(server.name, "Unknown") for server in spec.servers or ())


def data_valid(spec: DataContractSpec, entries: Sequence[ServerCheck]) -> Assessment:
    """The condition DataValid."""
    if not spec.servers:
        return Assessment("DataValid", "Unknown", "NoServers", "spec.servers is empty, so there is no data to check")
    verdict = overall(spec, entries)
    if verdict in ("Pass", "Warn"):
        warned = [f"{entry.name}: {entry.message}" for entry in entries if entry.verdict == "Warn"]
        text = "; ".join(warned) or "the data of all servers keeps the contract"
        return Assessment("DataValid", "True", _REASONS[verdict], text[:1024])
    bad = [entry for entry in entries if entry.verdict == verdict]
    checked = {entry.name for entry in entries}
    unchecked = [server.name for server in spec.servers if server.name not in checked]
    if verdict == "Fail":
        text = "; ".join(f"{entry.name}: {entry.message}" for entry in bad)
        return Assessment("DataValid", "False", "RulesBroken", text[:1024])
    if bad:
        text = "; ".join(f"{entry.name}: {entry.message}" for entry in bad)
        return Assessment("DataValid", "Unknown", bad[0].reason or "NotDecided", text[:1024])
    text = f"never checked: {', '.join(unchecked)}; checks run by spec.schedule.cron, for a release, or on request"
    return Assessment("DataValid", "Unknown", "NotChecked", text[:1024])


def drift_free(spec: DataContractSpec, drift: Sequence[DriftStatus], problem: Assessment | None) -> Assessment | None:
    """The condition DriftFree, which a contract has that watches drift.

    ``problem``: why nothing can be told yet, such as a reference that is missing.
    """
    if not spec.drift:
        return None
    drifted = [entry for entry in drift if entry.verdict == "Fail"]
    if drifted:
        text = "; ".join(f"{entry.key}: {entry.message}" for entry in drifted)
        return Assessment("DriftFree", "False", "Drifted", text[:1024])
    if problem is not None:
        return problem
    names = {entry.key.partition("/")[0] for entry in drift if entry.verdict == "Pass"}
    unknown = [watched.name for watched in spec.drift if watched.name not in names]
    if unknown:
        said = {entry.key.partition("/")[0]: entry.message for entry in drift}
        text = "; ".join(f"{name}: {said.get(name) or 'no data seen yet'}" for name in unknown)
        return Assessment("DriftFree", "Unknown", "NotEnoughData", text[:1024])
    return Assessment("DriftFree", "True", "WithinTolerance", "every watched property is near its reference")


def compatibility_of(version: str, findings: Sequence[Finding]) -> CompatibilityStatus:
    """Whether the contract fits one version, by the rules' findings about it."""
    verdicts: list[tuple[CheckVerdict, Finding]] = [
        ("Warn" if finding.judgement == "Fail" and finding.effect == "Warn" else finding.judgement, finding)
        for finding in findings
        if finding.judgement != "Pass"
    ]
    if not verdicts:
        return CompatibilityStatus(version=version, verdict="Pass")
    verdict, first = min(verdicts, key=lambda pair: _WORST.index(pair[0]))
    return CompatibilityStatus(version=version, verdict=verdict, rule=first.rule, message=first.message[:1024])


def compatible(entries: Sequence[CompatibilityStatus]) -> Assessment:
    """The condition Compatible."""
    verdict = worst(entry.verdict for entry in entries)
    if verdict is None:
        return Assessment("Compatible", "True", "NotInUse", "no version that serves or is kept uses the contract")
    if verdict in ("Pass", "Warn"):
        warned = [f"{entry.version}: {entry.message}" for entry in entries if entry.verdict == "Warn"]
        text = "; ".join(warned) or "it fits every version in use"
        return Assessment("Compatible", "True", "Compatible", text[:1024])
    bad = [entry for entry in entries if entry.verdict == verdict]
    text = "; ".join(f"{entry.version}: {entry.message}" for entry in bad)
    if verdict == "Fail":
        return Assessment("Compatible", "False", "Incompatible", text[:1024])
    return Assessment("Compatible", "Unknown", "NotDecided", text[:1024])


def disposable(checks: Sequence[Checked], status: DataContractStatus, keep: int) -> list[str]:
    """Names of ended checks beyond the last ``keep`` that no status names; ``checks`` oldest first."""
    named = {entry.check for entry in status.checks} | {entry.source for entry in status.drift}
    ended = [check.name for check in checks if check.fate.ended]
    return [name for name in ended[:-keep] if name not in named]
