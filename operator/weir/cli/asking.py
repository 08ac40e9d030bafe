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
from weir.cli.watching import Painter, current, info_of, stay
from weir.runtime.resources import ACTION_REQUESTS, ROLLOUTS, KubeObject
from weir.view.model import RolloutInfo
from weir.view.parts import Version

if TYPE_CHECKING:
    from weir.api.action import Action
    from weir.api.actionrequest import ActionRequestSpec

SILENT_SECONDS = 8.0
"""After so long a request that nobody has taken up is worth a word."""

# Others mean the release, wherever it is by then: an abort must not fail because the release went on meanwhile.
_AT_THIS_STAGE = ("Promote", "Skip")
_BEGINNING = ("Promote", "Retry")
"""Actions that begin a release of the version that is wanted, where none runs."""
_OF_ANOTHER = ("Release", "Retrain", "Reallocate")
"""Actions that are about neither the candidate nor the version that is wanted."""

_OPTIONS = {"reason": "-m", "evidence": "--evidence"}
"""Options by the field of the spec that they fill in, of those fields that are checked before the API server does."""


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
    spec = spec_of(
        {
            "action": ask.action,
            "rolloutRef": {"name": info.name},
            "reason": reason,
            "requester": user or None,
            "expect": _expect(ask, given, info) or None,
            **({"expiresAfter": given.expires_after} if given.expires_after else {}),
            **ask.fields,
        }
    )
    return {
        "apiVersion": ACTION_REQUESTS.api_version,
        "kind": ACTION_REQUESTS.kind,
        "metadata": {"generateName": f"{info.name}-{ask.action.lower()}-", "namespace": info.namespace},
        "spec": spec.to_dict(),
    }


def spec_of(fields: Mapping[str, Any]) -> ActionRequestSpec:
    """The spec of an ActionRequest, from what was given on the command line.

    Raises:
        CliError: something does not fit, such as a text that is too long; names the option and the limit.
    """
    from pydantic import ValidationError

    from weir.api.actionrequest import ActionRequestSpec

    try:
        return ActionRequestSpec.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        field, *place = map(str, first["loc"])
        named = f"--expect-{place.pop(0)}" if field == "expect" and place else _OPTIONS.get(field, field)
        raise CliError(": ".join((named, *place[-1:], first["msg"]))) from None


def _expect(ask: Ask, given: Asked, info: RolloutInfo) -> dict[str, Any]:
    expect: dict[str, Any] = {} if given.no_expect else seen(ask.action, info)
    wanted = {
        "release": given.expect_release,
        "stage": given.expect_stage or None,
        "weight": given.expect_weight,
        "candidate": given.expect_candidate or None,
    }
    return expect | {name: value for name, value in wanted.items() if value is not None}


def seen(action: Action, info: RolloutInfo) -> dict[str, Any]:
    """Where the Rollout stands, as far as the action depends on it."""
    expect: dict[str, Any] = {"release": info.release}
    if action in _AT_THIS_STAGE and info.stage is not None:
        expect["stage"] = info.stage.name
    if _begins(action, info) and info.wanted is not None and info.wanted.digest:
        # The number stays the same when spec.versionRef names another version that has failed before.
        expect["candidate"] = info.wanted.digest
    return expect


async def looked(there: Cluster, rollout: KubeObject, action: str) -> RolloutInfo:
    """The view of the Rollout, with the version that the action would begin to release, where that may be read."""
    info = info_of(rollout)
    if not _begins(action, info) or info.wanted is None:
        return info
    name = info.wanted.name
    versions = [version for version in await there.versions() if version["metadata"]["name"] == name]
    return info_of(rollout, versions=versions)


def about(action: str, info: RolloutInfo) -> str:
    """The version that the action is about, for people; empty where it is another one, or none is known."""
    if action in _OF_ANOTHER:
        return ""
    if info.candidate is not None:
        return f"{_named(info.candidate)}, the candidate of release {info.release}"
    if not _begins(action, info) or info.wanted is None:
        return ""
    failed = next((f for f in info.failed if f.candidate.name == info.wanted.name), None)
    told = f" and failed in release {failed.release} ({failed.reason})" if failed is not None else ""
    return f"{_named(info.wanted)}, which is wanted now{told}"


def _begins(action: str, info: RolloutInfo) -> bool:
    return action in _BEGINNING and info.candidate is None


def _named(version: Version) -> str:
    return version.name if version.shown == version.name else f"{version.shown} ({version.name})"


async def create(cluster: Cluster, made: KubeObject, *, dry_run: bool = False) -> KubeObject:
    """The request as the API server stored it, or with ``dry_run`` as it would.

    Raises:
        CliError: it is not allowed, not valid, or the kind is not known.
    """
    from weir.runtime.errors import ApiError, NotFound

    try:
        return await cluster.client.create(ACTION_REQUESTS, made, dry_run=dry_run)
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
    if phase in (None, "", "Pending", "Running"):
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
        if not text and status.get("phase") in ("Pending", "Running"):
            text = f"{status['phase']}: {status.get('message') or 'waits for its moment'}"
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
    if ask.action == "ShiftTraffic":
        return _shifted(info, int(ask.fields["weight"]))
    if ask.action == "Retry" or (ask.action == "Release" and not _content(info, ask.fields["version"])):
        return _begun(info, release)
    if ask.action == "Release":
        return Reached(0, "")
    if ask.action == "Rollback" and not running:
        new = int(after.get("release") or 0) if after.get("candidate") else release + 1
        return closing(info, max(new, release + 1), "Restored") or waits_for_person(info)
    wanted = {"Abort": "Aborted", "Rollback": "Aborted", "Promote": "Promoted", "Drill": "Drilled"}[ask.action]
    if ask.action == "Promote":
        # A promotion may have to start the release first.
        release = max(release, int(after.get("release") or 0))
        return closing(info, release, wanted) or waits_for_person(info)
    return closing(info, release, wanted)


def _shifted(info: RolloutInfo, most: int) -> Reached | None:
    """Whether the candidate has no more than it may."""
    if info.candidate is None or most == 100:
        return Reached(0, "")
    return Reached(0, f"{info.candidate.shown} has {info.weight} % of the requests") if info.weight <= most else None


def _content(info: RolloutInfo, version: str) -> bool:
    """Whether a Release had nothing to do: that version serves, and is what is wanted."""
    return info.ready and info.wanted is not None and info.wanted.name == version


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
