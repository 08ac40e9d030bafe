"""What the rules of an AgentPolicy can look at: the signals of one Rollout, as plain JSON values.

What is not known is absent, so a rule that may meet it asks first, as in ``has(signals.budget)`` or
``signals.gates.exists(g, has(g.effect) && g.effect > 1.2)``; lists are empty instead. A condition over what is absent
is neither true nor false: nothing is asked for, and a rule that has asked is not armed again.

=========================== ============================================================================================
signal                      meaning
=========================== ============================================================================================
``rollout``                 name of the Rollout
``phase``                   phase of its status, such as Shifting
``release``                 number of the current or last release
``releasing``               whether a release runs; not while it is on its way out
``restoring``               whether that release puts an earlier version back
``paused``                  whether somebody paused it
``stage``                   name of the stage, such as Traffic(25); absent without one
``weight``                  percent of requests that the candidate gets
``held``                    reason why the release does not move, such as GateNoData; absent where it moves
``verdict``                 the worst verdict of the release's gates; absent without a candidate, or without one
``stable``, ``candidate``   version (name of the ModelVersion), label, evaluations[]; absent without one
``gates[]``                 name, template, verdict, and where known value, stableValue, effect, effectLow, effectHigh;
                            empty without a candidate, so what an earlier release came to is no signal
``budget``                  error budget: spent and remaining (1 is all), release, frozen, burning, and rates[] with
                            span and rate; absent without one, and while it is not known
``contracts[]``             DataContracts of the versions that serve: name, and verdict where there is one
``findings[]``              what contracts say against the release: contract, rule, verdict, effect, change, path
``drift[]``                 what was measured, worst first: name of the check, contract, property, verdict (Fail is
                            drifted), samples, distance (total variation, 0-1), tolerance, psi where known, and version
                            where its pods counted
``failures``                how many releases failed since the last one that did not
``lastOutcome``             how the last release ended, such as RolledBack; absent before the first
``lastReason``              why, such as GateFailed
``candidates[]``            ModelVersions that a Retrain made for the Rollout and that no release has tried yet, the
                            newest last: name, label, request, age in seconds, evaluations[]
``silentAgents[]``          Leases of ``fallback.onAgentSilent`` that are not renewed any more
=========================== ============================================================================================

An evaluation has name, dataset, metric, value, and slice where there is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import takewhile
from typing import Any

from weir.agent.health import BUDGET
from weir.agent.observation import AgentObservation, MadeVersion, RolloutFacts
from weir.api.base import seconds
from weir.api.modelversion import Evaluation, ModelVersionSpec
from weir.api.rolloutstatus import BudgetStatus, Outcome, RolloutStatus, VersionStatus
from weir.contract.revision import Contract

Signals = dict[str, Any]
Versions = Mapping[str, ModelVersionSpec]

ALIVE = "AgentsAlive"
"""Condition of an AgentPolicy that names Leases: False while an agent does not renew its own."""

MOST_HISTORY = 10
"""Finished releases that a Rollout remembers."""

MOST_CANDIDATES = 20
"""ModelVersions that wait for a release and that rules see, the newest ones."""

_READ_WITHIN = 300.0
"""Seconds after which a reading of the error budget says nothing about a release that runs."""

_GOOD = (Outcome.PROMOTED, Outcome.RESTORED)
_BAD = (Outcome.ROLLED_BACK, Outcome.ABORTED)


def signals_of(rollout: RolloutFacts, contracts: Mapping[str, Contract], versions: Versions) -> Signals:
    """What is known of the Rollout, but for what changes with the time alone (``passing``)."""
    status = rollout.status
    serving = [version for version in (status.stable, status.candidate) if version is not None]
    used = sorted({name for version in serving for name in contracts_of(versions.get(version.version))})
    known = [contracts[name] for name in used if name in contracts]
    return {
        **_release(rollout),
        **_present(stable=_version(status.stable, versions), candidate=_version(status.candidate, versions)),
        "gates": _gates(rollout),
        "contracts": [_present(name=c.name, verdict=c.status.verdict) for c in known],
        "findings": _findings(status),
        "drift": sorted((series for contract in known for series in _drift(contract, serving)), key=_mildness),
        **_past(status),
    }


def passing(obs: AgentObservation, rollout: RolloutFacts, now: float) -> Signals:
    """What changes with the time alone; ``now`` is in seconds since the epoch."""
    return {
        "candidates": [_candidate(made, obs.versions[made.name], now) for made in candidates(obs, rollout)],
        "silentAgents": list(silent(obs, now)),
        **_present(budget=_budget(known_budget(rollout.status, now))),
    }


def candidates(obs: AgentObservation, rollout: RolloutFacts) -> tuple[MadeVersion, ...]:
    """ModelVersions that a Retrain made for the Rollout and that no release has tried yet, the newest last.

    None that is older than one that serves: to go back is not what a Release is for.
    """
    status = rollout.status
    serving = [version.version for version in (status.stable, status.candidate) if version is not None]
    serves = max((made.created for made in obs.made if made.name in serving), default=0.0)
    tried = {*serving, *(v.version for v in status.retained), *(f.version for f in status.failed)}
    tried |= {past.candidate.version for past in status.history}
    # A release that is forgotten began before all that are remembered, and its version was there before it.
    forgotten = status.history[-1].started_at if len(status.history) >= MOST_HISTORY else 0.0
    found = [
        made
        for made in obs.made
        if made.rollout == rollout.name and made.name in obs.versions and made.name not in tried
        if made.created > forgotten and made.created >= serves
    ]
    return tuple(sorted(found, key=lambda made: (made.created, made.name)))[-MOST_CANDIDATES:]


def silent(obs: AgentObservation, now: float) -> tuple[str, ...]:
    """Leases of the fallback's agents that are silent at ``now``: not renewed for too long."""
    return tuple(lease for lease, at in silent_at(obs, now).items() if now >= at)


def silent_at(obs: AgentObservation, now: float) -> dict[str, float]:
    """When each Lease of the fallback's agents counts as silent, unless it is renewed (seconds since the epoch)."""
    known = obs.policy.fallback if obs.policy is not None else None
    found = dict[str, float]()
    for agent in (known.on_agent_silent if known is not None else None) or ():
        renewed = obs.heartbeats.get(agent.lease)
        # Its shortest time holds, where a Lease is named twice.
        at = round((awaited_since(obs, now) if renewed is None else renewed) + seconds(agent.after), 3)
        found[agent.lease] = min(at, found.get(agent.lease, at))
    return found


def awaited_since(obs: AgentObservation, now: float) -> float:
    """Since when a Lease without any renewal is waited for: since the policy is as it is (seconds since the epoch).

    Where an agent was silent before, a change of the policy gives it no more time.
    """
    status = obs.status
    if any(found.type == ALIVE and found.status == "False" for found in status.conditions):
        return 0.0
    return (status.observed_since or 0.0) if status.observed_generation == obs.generation else now


def known_budget(status: RolloutStatus, now: float) -> BudgetStatus | None:
    """The error budget, while it is known; the status keeps the numbers of the last reading for as long as it is not.

    ``now`` is in seconds since the epoch. At rest the time of the reading says nothing: the numbers are written only
    when they change.
    """
    budget = status.budget
    if budget is None or budget.at is None:
        return None
    if any(found.type == BUDGET and found.status == "Unknown" for found in status.conditions):
        return None
    return budget if status.candidate is None or now - budget.at <= _READ_WITHIN else None


def burning(budget: BudgetStatus | None) -> bool:
    """Whether the error budget is spent faster than it comes back, in every span that is known."""
    return budget is not None and budget.burning


def contracts_of(version: ModelVersionSpec | None) -> frozenset[str]:
    """Names of the DataContracts that a version takes part in."""
    named = version.contracts if version is not None else None
    if named is None:
        return frozenset()
    pins = [*(named.trained_on or ()), *(named.served_from or ()), named.request, named.response]
    return frozenset(pin.partition("@")[0] for pin in pins if pin)


def _release(rollout: RolloutFacts) -> Signals:
    status = rollout.status
    return {
        "rollout": rollout.name,
        "phase": str(status.phase),
        "release": status.release,
        "releasing": status.candidate is not None and status.ending is None,
        "restoring": status.restoring,
        "paused": rollout.spec.paused or status.pause is not None,
        "weight": status.weight,
        **_present(
            stage=status.stage.name if status.stage is not None else None,
            held=status.hold.reason if status.hold is not None else None,
            verdict=(status.verdict or None) if status.candidate is not None else None,
        ),
    }


def _version(version: VersionStatus | None, versions: Versions) -> Signals | None:
    if version is None:
        return None
    return {
        "version": version.version,
        "label": version.label,
        "evaluations": _evaluations(versions.get(version.version)),
    }


def _evaluations(version: ModelVersionSpec | None) -> list[Signals]:
    return [_evaluation(entry) for entry in (version.evaluations if version is not None else None) or ()]


def _evaluation(entry: Evaluation) -> Signals:
    told = _present(name=entry.name, dataset=entry.dataset, metric=entry.metric, slice=entry.slice)
    return {**told, "value": float(entry.value)}


def _gates(rollout: RolloutFacts) -> list[Signals]:
    if rollout.status.candidate is None:
        return []  # the status keeps what the last release's gates said
    templates = {gate.name: gate.template for gate in rollout.spec.gates}
    return [
        _present(
            name=gate.name,
            template=templates.get(gate.name),
            verdict=str(gate.verdict),
            value=_float(gate.value),
            stableValue=_float(gate.stable_value),
            effect=_float(gate.effect),
            effectLow=_float(gate.effect_low),
            effectHigh=_float(gate.effect_high),
        )
        for gate in rollout.status.gates
    ]


def _budget(budget: BudgetStatus | None) -> Signals | None:
    if budget is None:
        return None
    return {
        "spent": float(budget.spent),
        "remaining": 1.0 - float(budget.spent),
        "release": float(budget.release),
        "frozen": budget.frozen,
        "burning": burning(budget),
        "rates": [{"span": span, "rate": rate} for span, rate in budget.rates],
    }


def _findings(status: RolloutStatus) -> list[Signals]:
    return [
        {
            "contract": finding.contract,
            "rule": finding.rule,
            "verdict": str(finding.verdict),
            "effect": finding.effect,
            "change": finding.change,
            "path": finding.path,
        }
        for finding in (status.contracts.findings if status.contracts is not None else ())
    ]


def _drift(contract: Contract, serving: Sequence[VersionStatus]) -> Iterator[Signals]:
    """Every series of the contract that was measured, but for those that the pods of another version counted."""
    asked = {drift.name: drift for drift in contract.spec.drift or ()}
    names = {"", *(version.version for version in serving)}
    for series in contract.status.drift:
        name, _, version = series.key.partition("/")
        check = asked.get(name)
        if check is None or series.total_variation is None or version not in names:
            continue
        yield _present(
            name=name,
            contract=contract.name,
            property=check.property,
            tolerance=float(check.tolerance),
            version=version or None,
            verdict=series.verdict,
            samples=series.samples,
            distance=float(series.total_variation),
            psi=_float(series.psi),
        )


def _mildness(series: Signals) -> tuple[bool, float]:
    """Sorts what has drifted, and what is farthest away, to the front."""
    return series["verdict"] != "Fail", -float(series["distance"])


def _past(status: RolloutStatus) -> Signals:
    if not status.history:
        return {"failures": 0}
    since = takewhile(lambda past: past.outcome not in _GOOD, status.history)
    failures, last = sum(past.outcome in _BAD for past in since), status.history[0]
    return {"failures": failures, "lastOutcome": str(last.outcome), "lastReason": last.reason}


def _candidate(made: MadeVersion, version: ModelVersionSpec, now: float) -> Signals:
    return {
        "name": made.name,
        "label": version.version,
        "request": made.request,
        "age": max(0.0, now - made.created),
        "evaluations": _evaluations(version),
    }


def _float(value: Decimal | None) -> float | None:
    return float(value) if value is not None else None


def _present(**fields: Any) -> Signals:
    """Those that are known."""
    return {name: value for name, value in fields.items() if value is not None}
