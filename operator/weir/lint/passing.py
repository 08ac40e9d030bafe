"""Can good candidates pass in time at a given rate of requests? Asked of the very code that sets ``Feasible``."""

from __future__ import annotations

from decimal import Decimal

from weir.api.evidencestatus import GateNoise
from weir.api.rollout import RolloutSpec
from weir.api.rolloutstatus import RolloutStatus, VersionStatus
from weir.lint.bounds import Late, Load, late
from weir.lint.objects import LintedObject
from weir.release.feasible import Forecast, forecast
from weir.release.observation import Observation, Pool, RolloutView
from weir.release.plan import Stage, required_replicas, stages
from weir.release.turn import Turn
from weir.view.words import duration, percent

_STABLE, _CANDIDATE = "stable", "candidate"


def check_passing(linted: LintedObject, load: Load) -> None:
    """Adds a warning for each gate of a Rollout that would not pass in time."""
    spec = linted.model
    if not isinstance(spec, RolloutSpec):
        return
    for index, gate in enumerate(spec.gates):
        alone = spec.model_copy(update={"gates": [gate]})
        told = forecast(_release(linted, alone, gate.name, load))
        if told is not None and told.status == "False":
            _compared(linted, index, told)
        found = late(alone, gate, load)
        if found is not None:
            _bounded(linted, index, found)


def _compared(linted: LintedObject, index: int, told: Forecast) -> None:
    message, _, hint = told.message.rpartition("; ")
    if told.reason == "RiskBudgetSmall":
        linted.warn("not-feasible", ("spec", "strategy", "canary", "ramp", "riskBudget"), message, hint)
    else:
        more = "" if "would do" in message else "no rate would do; "
        linted.warn("not-feasible", ("spec", "gates", index, "maxWait"), message, more + hint)


def _bounded(linted: LintedObject, index: int, found: Late) -> None:
    if found.hopeless:
        message = (
            f"gate {found.gate} passes below {percent(found.bound)} bad requests, and stable has {percent(found.bad)}"
        )
        field = "objective" if linted.at("spec", "gates", index, "objective") is not None else "max"
        linted.warn(
            "not-feasible", ("spec", "gates", index, field), message, "no good candidate would pass; allow more"
        )
        return
    message = (
        f"gate {found.gate} needs {duration(found.needed)} in {found.stage} to pass nine good candidates of ten, and "
        f"its maxWait is {found.max_wait}: at {found.rate:.3g} requests a second, {percent(found.bad)} bad; "
        f"{found.least:.3g} requests a second would do"
    )
    what = "strategy.blueGreen.preview.requestsPerSecond" if found.preview else "the weight"
    linted.warn("not-feasible", ("spec", "gates", index, "maxWait"), message, f"raise maxWait or {what}")


def _release(linted: LintedObject, spec: RolloutSpec, gate: str, load: Load) -> Turn:
    """The Rollout as if a release began at that rate, with the noise that is assumed before any is measured."""
    seen = GateNoise(gate=gate, rate=Decimal(str(load.rate)), share=Decimal(str(load.compared)))
    shared = next((stage for stage in stages(spec, first=False) if stage.kind == "Traffic"), None)
    pods = {_STABLE: spec.replicas, _CANDIDATE: _pods(spec, shared)}
    return Turn(
        view=RolloutView(linted.name, linted.namespace, "", 0, spec),
        status=RolloutStatus(stable=_version(_STABLE), candidate=_version(_CANDIDATE), noise=[seen]),
        obs=Observation(pools={name: Pool(name, ready, ready) for name, ready in pods.items()}),
        now=0.0,
    )


def _pods(spec: RolloutSpec, stage: Stage | None) -> int:
    return required_replicas(spec, stage) if stage is not None else spec.replicas


def _version(role: str) -> VersionStatus:
    return VersionStatus(version=role, label=role, digest="sha256:" + "0" * 64, revision=role, pool=role)
