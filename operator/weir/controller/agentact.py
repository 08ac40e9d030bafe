"""Acting for an AgentPolicy: what was decided is created, patched and told, each once however often it is decided."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from weir.agent.decision import AgentNote, AgentResult, Make, Proposal
from weir.api import API_VERSION, GROUP
from weir.api.actionrequest import ActionRequestStatus, request_labels
from weir.api.actionrequest import Made as MadeStatus
from weir.controller.act import Actor
from weir.controller.agentlive import AgentLive, owners
from weir.controller.observe import answered_by, finished
from weir.runtime.cache import Cache, StaleGuard
from weir.runtime.client import KubeClient
from weir.runtime.errors import AlreadyExists, ApiError, Conflict, NotFound
from weir.runtime.events import EventWriter
from weir.runtime.resources import ACTION_REQUESTS, MODEL_VERSIONS, ROLLOUTS, KubeObject, ObjectKey, Resource
from weir.workload.writes import bounded

_MANAGER = "weir-agents"
_ENDED = ("Succeeded", "Refused", "Expired", "Failed")

REALLOCATED_BY = f"{GROUP}/reallocated-by"
"""Annotation of what a Reallocate has changed: uid of the ActionRequest, so that it is changed once."""

MOST_WRITTEN = 50
"""Results that are written in one look: a flood of answers must not hold up the ledger."""


class AgentActor:
    """Writes what decisions under an AgentPolicy want."""

    def __init__(
        self,
        *,
        client: KubeClient,
        cache: Cache,
        guard: StaleGuard,
        actor: Actor,
        live: AgentLive,
        events: EventWriter,
        kinds: Sequence[str],
    ) -> None:
        """``kinds``: what templates may make, each as ``plural.group``."""
        self._client = client
        self._cache = cache
        self._guard = guard
        self._actor = actor
        self._live = live
        self._events = events
        self._kinds = frozenset(kinds)

    # --- requests of Weir's own ---

    async def propose(self, namespace: str, proposal: Proposal) -> str | None:
        """Creates it; a text says why that cannot be. Raises ApiError."""
        known, spec = self._cache.get(ACTION_REQUESTS, namespace, proposal.name), proposal.spec
        if known is not None and not await self._cleared(known, proposal):
            return _taken(known, proposal)
        body = {
            "apiVersion": API_VERSION,
            "kind": ACTION_REQUESTS.kind,
            "metadata": {"name": proposal.name, "namespace": namespace, "labels": request_labels(spec)},
            "spec": spec.to_dict(),
        }
        try:
            answer = await self._client.create(ACTION_REQUESTS, body)
        except AlreadyExists:
            return _taken(await self._client.get(ACTION_REQUESTS, proposal.name, namespace), proposal)
        self._guard.wrote(ACTION_REQUESTS, answer)
        return None

    async def _cleared(self, known: KubeObject, proposal: Proposal) -> bool:
        """Whether the name is free again: a step of the fallback for an earlier Rollout of that name is in its way."""
        spec, meta = proposal.spec, known["metadata"]
        rollout = self._cache.get(ROLLOUTS, meta["namespace"], spec.rollout_ref.name)
        if spec.permit is not None or rollout is None or not finished(known) or answered_by(rollout, known):
            return False
        if _taken(known, proposal) is not None:
            return False
        with suppress(NotFound, Conflict):
            await self._client.delete(ACTION_REQUESTS, proposal.name, meta["namespace"], uid=meta["uid"])
        return True

    # --- what templates make ---

    async def make(self, namespace: str, wanted: Make) -> str | None:
        """Creates or patches what a template says; a text says why that cannot be. Raises UnknownKind, or ApiError."""
        manifest = wanted.manifest
        api_version, kind, name = manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"]
        resource = await self._live.resource(api_version, kind)
        if resource.qualified_name not in self._kinds:
            allowed = ", ".join(sorted(self._kinds)) or "none"
            return (
                f"templates may not make {resource.qualified_name}; those that may be made are {allowed} "
                "(in the chart: agents.templateKinds)"
            )
        if wanted.verb == "Patch":
            answer = await self._patch(resource, namespace, wanted)
        else:
            answer = await self._create(resource, namespace, wanted)
        if isinstance(answer, str):
            return answer
        self._live.wrote(namespace, (api_version, kind, name), answer)
        return None

    async def _patch(self, resource: Resource, namespace: str, wanted: Make) -> KubeObject | str:
        """What was patched, now or before; a text where it is Weir's own.

        Raises NotFound where there is nothing to patch: nothing is created by accident.
        """
        manifest, name = wanted.manifest, wanted.manifest["metadata"]["name"]
        found = await self._client.get(resource, name, namespace)
        meta, mark = found["metadata"], _own_mark(found)
        if mark is not None:
            # Such as the Deployment of a version: traffic, and who serves it, are for the Rollout alone.
            return f"the {resource.kind} {name} is Weir's own ({mark}), and no template may change it; name another"
        if (meta.get("annotations") or {}).get(REALLOCATED_BY) == wanted.uid:
            return found  # what somebody has set back since then stays so
        content = {field: value for field, value in manifest.items() if field not in ("apiVersion", "kind", "metadata")}
        content["metadata"] = {
            "annotations": {REALLOCATED_BY: wanted.uid},
            "resourceVersion": meta["resourceVersion"],
        }
        return await self._client.merge_patch(resource, name, content, namespace, field_manager=_MANAGER)

    async def _create(self, resource: Resource, namespace: str, wanted: Make) -> KubeObject | str:
        """What was created, now or before; a text where the name belongs to something else."""
        meta = {**wanted.manifest["metadata"], "namespace": namespace}
        if resource.qualified_name != MODEL_VERSIONS.qualified_name:
            # What ran goes with the request; the version that came of it stays.
            owner = {"apiVersion": API_VERSION, "kind": ACTION_REQUESTS.kind, "name": wanted.request, "uid": wanted.uid}
            meta["ownerReferences"] = [owner]
        try:
            return await self._client.create(resource, {**wanted.manifest, "metadata": meta})
        except AlreadyExists:
            found = await self._client.get(resource, meta["name"], namespace)
        labels: Mapping[str, str] = meta.get("labels") or {}
        theirs: Mapping[str, str] = found["metadata"].get("labels") or {}
        if labels.items() <= theirs.items() and owners({"metadata": meta}) == owners(found):
            return found
        return f"there is a {resource.kind} named {meta['name']} already, which this request did not make"

    # --- answers ---

    async def results(self, namespace: str, results: Sequence[AgentResult], now: float) -> None:
        """Writes the status of requests that the policy answers, the first of them; one that is gone needs none.

        The echo of each write wakes the policy, so what was not written now is seen to then.
        """
        written = 0
        for result in results:
            key = ObjectKey(ACTION_REQUESTS, namespace, result.name)
            request = self._cache.get(*key)
            if request is None or request["metadata"]["uid"] != result.uid or self._guard.is_stale(key):
                continue
            before = request.get("status") or {}
            if before.get("phase") in _ENDED:
                continue
            status = _status(result, now, before)
            if status != before:
                written += 1
                if written > MOST_WRITTEN:
                    break
                with suppress(NotFound, Conflict):
                    await self._actor.status(request, status, ACTION_REQUESTS)

    # --- telling ---

    async def tell(
        self, policy: KubeObject, notes: Sequence[AgentNote], traceparent: str, within: float
    ) -> Sequence[AgentNote]:
        """Writes Events about the policy, or the Rollout that a note names, for at most ``within`` seconds.

        Returns the notes that there was no time for. Repeated for the same state of the policy, it writes nothing.
        """
        left = list(notes)
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while left:
                    await self._tell(policy, left[0], traceparent)
                    left.pop(0)
        return left

    async def _tell(self, policy: KubeObject, note: AgentNote, traceparent: str) -> None:
        namespace = policy["metadata"]["namespace"]
        rollout = self._cache.get(ROLLOUTS, namespace, note.rollout) if note.rollout else None
        request = self._cache.get(ACTION_REQUESTS, namespace, note.request) if note.request else None
        key = (note.request, note.rollout, note.message, str(policy["metadata"].get("resourceVersion")))
        await self._events.emit(
            rollout or policy,
            reason=note.reason,
            action=note.reason,
            note=note.message,
            key="\n".join(key),
            type_="Warning" if note.warning else "Normal",
            related=request or (policy if rollout is not None else None),
            traceparent=traceparent,
        )


def _own_mark(found: KubeObject) -> str | None:
    """The owner or the label that says an object is Weir's; None where it is somebody else's."""
    meta, own = found["metadata"], f"{GROUP}/"
    for owner in meta.get("ownerReferences") or ():
        if owner["apiVersion"].startswith(own):
            return f"owner {owner['kind']} {owner['name']}"
    return next((f"label {label}" for label in meta.get("labels") or () if label.startswith(own)), None)


def _taken(found: KubeObject, proposal: Proposal) -> str | None:
    """None where the request that has the name is the one that was proposed."""
    spec, wanted = found["spec"], proposal.spec
    same = (spec.get("requester"), spec.get("rule"), spec.get("action"), spec["rolloutRef"]["name"])
    if same == (wanted.requester, wanted.rule, wanted.action, wanted.rollout_ref.name):
        return None
    return f"the name {proposal.name} belongs to another ActionRequest"


def _status(result: AgentResult, now: float, before: Mapping[str, Any]) -> dict[str, Any]:
    ended = result.phase in _ENDED
    created = [MadeStatus.model_validate(made) for made in before.get("created") or ()]
    told = [MadeStatus(api_version=made[0], kind=made[1], name=made[2]) for made in result.created]
    # What was made first is known since then: the template that now has that name may say something else.
    created += [made for made in (told[1:] if created else told) if made not in created]
    return ActionRequestStatus(
        phase=result.phase,
        message=result.message[:1024],
        completed_at=round(now, 3) if ended else None,
        digest=result.digest,
        created=created or None,
    ).to_dict()


def said(error: Exception) -> str:
    """What the API server says, without which request it was."""
    text = str(error)
    return bounded(text.partition(": ")[2] or text if isinstance(error, ApiError) else text)
