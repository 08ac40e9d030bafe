"""What has become of a ContractCheck: its own result, or what its Job and its pods say where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import ValidationError

from weir.api.base import parse_time
from weir.api.contractcheck import ContractCheckStatus
from weir.controller.contractbook import created
from weir.runtime.resources import KubeObject
from weir.workload.checkjob import ANNOTATION_DIGEST

GRACE = 5.0
"""Seconds after the end of a Job in which the watches may yet show the result that its pod wrote."""

_MOST = 500


@dataclass(frozen=True)
class Fate:
    """Where a check stands.

    ``at``: when it ended, or began, in seconds since the epoch. ``digest``: of the contract that it checks, as far as
    known. ``result``: of a check that is ``Done``. ``ready``: whether its pod runs. ``due``: when its result is given
    up, of one whose Job has ended.
    """

    state: Literal["Queued", "Running", "Done", "Failed"]
    at: float
    reason: str = ""
    message: str = ""
    digest: str = ""
    result: ContractCheckStatus | None = None
    ready: bool = False
    due: float | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more is to come."""
        return self.state in ("Done", "Failed")

    def because(self, reason: str, message: str) -> Fate:
        """The same with another reason."""
        return replace(self, reason=reason, message=message)

    def wake_at(self, now: float, patience: float) -> float | None:
        """When to look again, in seconds since the epoch: its result is given up, or its pod does not start."""
        if self.state != "Running" or self.ready:
            return self.due
        return self.at + patience if now < self.at + patience else now + patience


def fate(check: KubeObject, job: KubeObject | None, now: float) -> Fate:
    """Where a check stands; ``job``: its Job, None while there is none. ``now`` in seconds since the epoch."""
    if (check.get("status") or {}).get("finishedAt"):
        try:
            result = ContractCheckStatus.model_validate(check["status"])
        except ValidationError as error:
            problem = str(error.errors()[0]["msg"])
            return Fate("Failed", created(check), "InvalidResult", f"its result cannot be read: {problem}")
        return Fate("Done", result.finished_at, digest=result.digest, result=result)
    if job is None:
        return Fate("Queued", created(check), "Queued", "waits for its turn")
    digest = str((job["metadata"].get("annotations") or {}).get(ANNOTATION_DIGEST, ""))
    ended = job_end(job)
    status = job.get("status") or {}
    started = parse_time(status["startTime"]) if status.get("startTime") else created(job)
    if ended is None:
        return Fate("Running", started, "Running", "runs", digest, ready=bool(status.get("ready")))
    at = parse_time(ended["lastTransitionTime"]) if ended.get("lastTransitionTime") else started
    if now < at + GRACE:
        return Fate(
            "Running", started, "Running", "has ended; its result is awaited", digest, ready=True, due=at + GRACE
        )
    if ended["type"] == "Complete":
        return Fate("Failed", at, "NoResult", "its pod ended well but wrote no result; see the pod's log", digest)
    if ended.get("reason") == "DeadlineExceeded":
        message = "did not end in time: raise spec.engine.timeout, or check less (spec.engine.sampling)"
        return Fate("Failed", at, "CheckTimedOut", message, digest)
    message = f"its Job failed: {ended.get('message') or ended.get('reason') or 'no reason given'}"
    return Fate("Failed", at, "CheckFailed", message, digest)


def job_end(job: KubeObject) -> dict[str, Any] | None:
    """The condition with which a Job has ended, None while it has not."""
    conditions = (job.get("status") or {}).get("conditions") or ()
    return next((c for c in conditions if c["type"] in ("Complete", "Failed") and c["status"] == "True"), None)


def trouble(pods: Sequence[KubeObject]) -> tuple[str, str] | None:
    """Reason and message of what keeps the pods of a Job from working; None where they tell nothing."""
    for pod in sorted(pods, key=created, reverse=True):
        status = pod.get("status") or {}
        for container in status.get("containerStatuses") or ():
            found = _of_container(container)
            if found is not None:
                return found
        if status.get("reason") == "Evicted":
            return "Evicted", f"its pod was evicted: {status.get('message', '')}"[:_MOST]
        for condition in status.get("conditions") or ():
            if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
                return "Unschedulable", f"no node takes its pod: {condition.get('message', '')}"[:_MOST]
    return None


def _of_container(container: KubeObject) -> tuple[str, str] | None:
    state = container.get("state") or {}
    waiting, ended = state.get("waiting"), state.get("terminated")
    if waiting and waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
        return str(waiting["reason"]), f"its container does not start: {waiting.get('message', '')}"[:_MOST]
    if not ended or not ended.get("exitCode"):
        return None
    if ended.get("reason") == "OOMKilled":
        return "OutOfMemory", "needed more memory than spec.engine.resources.limits.memory allows (1Gi by default)"
    lines = str(ended.get("message") or "").strip().splitlines()
    said = f": {lines[-1]}" if lines else ""
    return "CheckFailed", f"its container ended with exit code {ended['exitCode']}{said}"[:_MOST]
