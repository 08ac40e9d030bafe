"""What is allowed but seldom meant. Each check has a code and a reason in ``finding.CODES``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from weir.api.approval import Approval
from weir.api.base import seconds
from weir.api.gate import Gate
from weir.api.modelversion import ModelVersionSpec
from weir.api.rollout import RolloutSpec
from weir.lint.finding import Path
from weir.lint.objects import LintedObject
from weir.release.plan import Stage, required_replicas, stages

_MANY_PEOPLE = 3
"""A quorum beyond the four-eyes rule and one spare is hard to get together in a day."""

_COARSE = 2
"""A step that sends more than so many times its percentage is told."""

_PROBE_PERIOD, _PROBE_FAILURES = 10, 3
"""Kubernetes' defaults of a startup probe: seconds between tries, failures in a row."""


def check_practice(linted: LintedObject) -> None:
    """Adds warnings about one object that is fine by itself."""
    spec = linted.model
    if isinstance(spec, ModelVersionSpec):
        _image(linted, spec)
    elif isinstance(spec, RolloutSpec):
        plan = stages(spec, first=False)
        _approvals(linted, spec, plan)
        _gates(linted, spec, plan)
        _shares(linted, spec, plan)
        _deadline(linted, spec)


def _image(linted: LintedObject, spec: ModelVersionSpec) -> None:
    image = spec.runtime.image
    # An image of the node itself is never pulled, so it has no digest to pin.
    if image is None or "@sha256:" in image or image.startswith("localhost/"):
        return
    tag = image.rpartition("/")[2].partition(":")[2]
    message = f"image {image} is named by its tag {tag}" if tag else f"image {image} has neither tag nor digest"
    linted.warn("image-tag", ("spec", "runtime", "image"), message, "pin it by digest: IMAGE@sha256:…")


def _approvals(linted: LintedObject, spec: RolloutSpec, plan: Sequence[Stage]) -> None:
    for index, approval in enumerate(spec.approvals):
        path: Path = ("spec", "approvals", index)
        told = _approval_step(approval, spec, plan)
        if told:
            linted.warn("approval-step", (*path, "before"), *told)
        if approval.quorum > _MANY_PEOPLE:
            message = f"{approval.quorum} different people must consent within {approval.expires_after}"
            linted.warn("quorum", (*path, "quorum"), message, "one or two are usual")


def _approval_step(approval: Approval, spec: RolloutSpec, plan: Sequence[Stage]) -> tuple[str, str] | None:
    """What to say of an approval whose weight is no step's: it holds before the first weight that is not less."""
    wanted = approval.threshold
    if not approval.before.startswith("Traffic(") or wanted in {stage.weight for stage in plan}:
        return None
    canary = spec.strategy.canary
    if canary is not None and canary.ramp is not None and wanted <= canary.ramp.max_weight:
        return None  # a ramp passes through every weight
    met = next(stage.weight for stage in plan if stage.weight >= wanted)
    if met == 100:
        return f"nothing before the switch gets {wanted} %, so it is asked for at 100 %", "write Switch"
    return f"no step has {wanted} %, so it is asked for before Traffic({met})", f"write Traffic({met})"


def _gates(linted: LintedObject, spec: RolloutSpec, plan: Sequence[Stage]) -> None:
    if not spec.gates:
        hint = "begin with `- template: http-errors` and `- template: http-latency`"
        linted.warn("no-gates", ("spec", "gates"), "has no gates, so nothing is asked of the model's answers", hint)
    bake = next(stage.min_duration for stage in plan if stage.kind == "Bake")
    where = "canary" if spec.strategy.canary is not None else "blueGreen"
    slow = max(spec.gates, key=lambda gate: gate.interval_seconds, default=None)
    if slow is not None and slow.interval_seconds > bake:
        message = f"is {bake:g} s, and gate {slow.name} looks every {slow.interval_seconds:g} s"
        linted.warn(
            "short-bake",
            ("spec", "strategy", where, "bake"),
            message,
            "make it a few intervals long, or the gate's `interval` shorter",
        )
    compared = any(stage.comparative for stage in plan)
    for index, gate in enumerate(spec.gates):
        path: Path = ("spec", "gates", index)
        if gate.comparison is not None and not compared:
            message = f"gate {gate.name} compares with stable, and no stage leaves stable any traffic"
            linted.warn("no-comparison", path, message, "add a step below 100, or give the gate `max` or `objective`")
        _gate(linted, gate, path)


def _gate(linted: LintedObject, gate: Gate, path: Path) -> None:
    needed = gate.interval_seconds * gate.consecutive_success
    if needed > seconds(gate.max_wait):
        message = f"gate {gate.name} needs {needed:g} s for its looks, and maxWait is {gate.max_wait}"
        linted.warn("short-wait", (*path, "maxWait"), message, "make it several intervals long")
    if gate.max is None and gate.min is None:
        for field, unused in (
            ("failureLimit", gate.failure_limit == 0),
            ("consecutiveSuccess", gate.consecutive_success == 1),
        ):
            if not unused:
                message = f"gate {gate.name} weighs evidence, so `{field}` has no effect"
                linted.warn("no-effect", (*path, field), message, "it belongs to gates with `max` or `min`; remove it")


def _shares(linted: LintedObject, spec: RolloutSpec, plan: Sequence[Stage]) -> None:
    """Without a gateway a share is a number of pods."""
    if spec.traffic.service is None or spec.strategy.canary is None or spec.strategy.canary.steps is None:
        return
    for index, stage in enumerate(stage for stage in plan if stage.kind == "Traffic" and stage.weight < 100):
        pods = required_replicas(spec, stage)
        share = 100 * pods / (pods + spec.replicas)
        if share > _COARSE * stage.weight:
            least = math.ceil((100 - stage.weight) / stage.weight)
            message = f"one of {pods + spec.replicas} pods gets {share:.0f} % of requests, not {stage.weight} %"
            hint = f"{least} replicas would do, or a gateway, or a greater weight"
            linted.warn("coarse-share", ("spec", "strategy", "canary", "steps", index, "weight"), message, hint)


def _deadline(linted: LintedObject, spec: RolloutSpec) -> None:
    """A startup probe that gives a container longer than the release gives its pods."""
    limit = seconds(spec.progress_deadline)
    containers = linted.at("spec", "template", "spec", "containers")
    for container in containers if isinstance(containers, list) else ():
        probe = container.get("startupProbe") if isinstance(container, dict) else None
        allowed = _allowed(probe) if isinstance(probe, dict) else None
        if allowed is not None and allowed > limit:
            message = f"is {spec.progress_deadline}, and the startup probe gives container {container.get('name')} "
            linted.warn(
                "short-deadline", ("spec", "progressDeadline"), f"{message}{allowed:g} s to start", "make it longer"
            )


def _allowed(probe: Mapping[str, Any]) -> float | None:
    """Seconds that a startup probe waits; None where it holds no numbers."""
    numbers = (
        probe.get("initialDelaySeconds", 0),
        probe.get("periodSeconds", _PROBE_PERIOD),
        probe.get("failureThreshold", _PROBE_FAILURES),
    )
    if not all(isinstance(number, int) for number in numbers):
        return None
    return float(numbers[0] + numbers[1] * numbers[2])
