"""Asking a Rollout to do something: an ActionRequest is created, and followed to its result and its effect."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from weir.cli.cluster import Cluster
from weir.cli.failure import REFUSED, CliError, told
from weir.cli.following import Following
from weir.cli.goal import Reached, closed, closing, waits_for_person
from weir.cli.options import Asked
from weir.cli.watching import Painter, current, stay
from weir.runtime.resources import ACTION_REQUESTS, ROLLOUTS, KubeObject
from weir.view.model import RolloutInfo

if TYPE_CHECKING:
    from weir.api.action import Action

SILENT_SECONDS = 8.0
"""After so long a request that nobody has taken up is worth a word."""

# Others mean the release, wherever it is by then: an abort must not fail because the release went on meanwhile.
_AT_THIS_STAGE = ("Promote", "Skip")


@dataclass(frozen=True)
class Ask:
    """What to ask. ``fields``: those of the spec that belong to this action alone."""

    action: Action
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What became of a request: the object as it was last seen, and how waiting ended (None: too early)."""

    request: KubeObject
    over: Reached | None


def body(ask: Ask, given: Asked, info: RolloutInfo, user: str, reason: str) -> KubeObject:
    """The ActionRequest as it is created."""
    from weir.api.actionrequest import ActionRequestSpec

    spec = ActionRequestSpec.model_validate(
        {
            "action": ask.action,
            "rolloutRef": {"name": info.name},
            "reason": reason,
            "requester": user or None,
            "expect": _expect(ask, given, info) or None,
            "expiresAfter": given.expires_after,
            **ask.fields,
        }
    )
    return {
        "apiVersion": ACTION_REQUESTS.api_version,
        "kind": ACTION_REQUESTS.kind,
        "metadata": {"generateName": f"{info.name}-{ask.action.lower()}-", "namespace": info.namespace},
        "spec": spec.to_dict(),
    }


def _expect(ask: Ask, given: Asked, info: RolloutInfo) -> dict[str, Any]:
    expect: dict[str, Any] = {}
    if not given.no_expect:
        expect["release"] = info.release
        if ask.action in _AT_THIS_STAGE and info.stage is not None:
            expect["stage"] = info.stage.name
    wanted = {
        "release": given.expect_release,
        "stage": given.expect_stage or None,
        "weight": given.expect_weight,
        "candidate": given.expect_candidate or None,
    }
    return expect | {name: value for name, value in wanted.items() if value is not None}


async def create(cluster: Cluster, made: KubeObject) -> KubeObject:
    """The request as the API server stored it.

    Raises:
        CliError: it is not allowed, not valid, or the kind is not known.
    """
    from weir.runtime.errors import ApiError, NotFound

    try:
        return await cluster.client.create(ACTION_REQUESTS, made)
    except NotFound as error:
        raise CliError("this cluster's Weir does not know ActionRequests; upgrade its chart and CRDs") from error
    except ApiError as error:
        refused = told(error)
        raise CliError(str(refused), REFUSED if error.terminal else refused.code) from error


async def result(
    followed: Following, request: KubeObject, tell: Callable[[str], None], seconds: float | None
) -> Answer:
    """Follow the request until it has a result; None in the answer where that takes longer than ``seconds``."""
    name, started = request["metadata"]["name"], time.monotonic()
    last = request

    def look() -> KubeObject:
        nonlocal last
        found = followed.find(ACTION_REQUESTS, name)
        if found is not None:
            last = found
            return found
        handled = _handled(followed, request)
        return {**last, "status": handled} if handled is not None else last

    over = await stay(followed, look, _Progress(tell, started), _result, seconds)
    return Answer(look(), over)


def _handled(followed: Following, request: KubeObject) -> KubeObject | None:
    """The result as the Rollout remembers it, for a request that may not be read or is gone."""
    rollout = followed.find(ROLLOUTS, request["spec"]["rolloutRef"]["name"]) or {}
    entries = (rollout.get("status") or {}).get("handledRequests") or []
    found = next((e for e in entries if e.get("uid") == request["metadata"]["uid"]), None)
    if found is None:
        return None
    effect = {key: found.get(key) or {} for key in ("before", "after")}
    return {"phase": found.get("phase"), "message": found.get("message"), "effect": effect}


def _result(request: KubeObject) -> Reached | None:
    status = request.get("status") or {}
    phase = status.get("phase")
    if phase in (None, "", "Pending"):
        return None
    message = f"{phase}: {status.get('message') or 'no message'}"
    return Reached(0 if phase == "Succeeded" else REFUSED, message)


class _Progress(Painter[KubeObject]):
    """Tells once what a request is waiting for."""

    def __init__(self, tell: Callable[[str], None], started: float) -> None:
        self._tell, self._started, self._told = tell, started, ""

    def paint(self, state: KubeObject, trouble: str) -> None:
        status = state.get("status") or {}
        text = trouble
        if not text and status.get("phase") == "Pending":
            text = f"Pending: {status.get('message') or 'waits for its moment'}"
        elif not text and not status.get("phase") and time.monotonic() - self._started > SILENT_SECONDS:
            text = "no answer yet; is the operator running? See: kubectl get pods -A -l app.kubernetes.io/name=weir"
        if text and text != self._told:
            self._tell(text)
        self._told = text or self._told


def effect(ask: Ask, request: KubeObject, info: RolloutInfo) -> Reached | None:
    """Whether what was asked for has happened; for actions that are over with their result this is at once."""
    found = (request.get("status") or {}).get("effect") or {}
    before, after = found.get("before") or {}, found.get("after") or {}
    release, running = int(before.get("release") or 0), bool(before.get("candidate"))
    if ask.action in ("Pause", "Resume", "Skip", "Approve"):
        return Reached(0, "")
    if ask.action == "Retry":
        return _begun(info, release)
    if ask.action == "Rollback" and not running:
        new = int(after.get("release") or 0) if after.get("candidate") else release + 1
        return closing(info, max(new, release + 1), "Restored") or waits_for_person(info)
    wanted = {"Abort": "Aborted", "Rollback": "Aborted", "Promote": "Promoted", "Drill": "Drilled"}[ask.action]
    if ask.action == "Promote":
        # A promotion may have to start the release first.
        release = max(release, int(after.get("release") or 0))
        return closing(info, release, wanted) or waits_for_person(info)
    return closing(info, release, wanted)


def _begun(info: RolloutInfo, before: int) -> Reached | None:
    if info.release <= before:
        return waits_for_person(info)
    shown = info.candidate.shown if info.candidate is not None else info.stable.shown if info.stable else "it"
    ended = closed(info, info.release)
    return Reached(0, f"release {info.release} of {shown} has begun" if ended is None else ended.message)


async def effective(
    followed: Following,
    ask: Ask,
    request: KubeObject,
    painter: Painter[RolloutInfo],
    seconds: float | None,
) -> Reached | None:
    """Follow the Rollout until the action has had its effect; None where that takes longer than ``seconds``."""
    name = request["spec"]["rolloutRef"]["name"]
    return await stay(
        followed, lambda: current(followed, name), painter, lambda info: effect(ask, request, info), seconds
    )
