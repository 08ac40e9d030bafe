"""One write to the API server as data, so that what to write can be decided, tested and counted without a server."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from weir.release.observation import Problem
from weir.runtime.client import KubeClient
from weir.runtime.errors import ApiError, Conflict, FieldConflict, Forbidden, Invalid, NotFound
from weir.runtime.resources import KubeObject, Resource

MAX_MESSAGE = 300
"""Characters of a problem's message; longer ones are cut, so that status stays small and stable."""

# The API server's refusals of pods name the pod, whose name ends in random characters.
_POD_NAME = re.compile(r'\bpods? "[^"]*"')

# The client says which request failed; the user cares for the object.
_REQUEST = re.compile(r"^[A-Z]+ /\S+: ")


@dataclass(frozen=True)
class Write:
    """One write. ``body`` is the object to apply, or the list of RFC 6902 operations, or None for a deletion.

    ``uid`` guards a deletion: an object that was re-created by somebody else in the meantime survives.
    """

    verb: Literal["apply", "json_patch", "delete"]
    resource: Resource
    namespace: str
    name: str
    body: Any = None
    manager: str = "weir"
    force: bool = True
    uid: str | None = None

    def __str__(self) -> str:
        return f"{self.verb} {self.resource.kind} {self.namespace}/{self.name} as {self.manager}"


async def execute(client: KubeClient, writes: Sequence[Write], *, dry_run: bool = False) -> list[KubeObject]:
    """Do the writes in order and stop at the first failure; returns what the API server answered.

    Repeating them, or a part of them, ends in the same place. Deleting what is not there succeeds; deletions answer {}.
    A dry run tries only the first write to each object, since later ones build on what it did not leave behind.

    Raises:
        ApiError: as `KubeClient` does; `problem_of` says what it means to the user.
    """
    if dry_run:
        first: dict[tuple[Resource, str], Write] = {}
        for write in writes:
            first.setdefault((write.resource, write.name), write)
        writes = list(first.values())
    return [await _execute(client, write, dry_run) for write in writes]


async def _execute(client: KubeClient, write: Write, dry_run: bool) -> KubeObject:
    if write.verb == "apply":
        return await client.apply(
            write.resource, write.body, field_manager=write.manager, force=write.force, dry_run=dry_run
        )
    if write.verb == "json_patch":
        return await client.json_patch(
            write.resource, write.name, write.body, write.namespace, field_manager=write.manager, dry_run=dry_run
        )
    try:
        await client.delete(write.resource, write.name, write.namespace, uid=write.uid, dry_run=dry_run)
    except (NotFound, Conflict):
        # Gone, or another object of that name: not ours to delete.
        return {}
    return {}


def problem_of(error: ApiError, write: Write) -> Problem | None:
    """What a failed write means to the user, or None where trying again later is all there is to do.

    A refusal names the field (`Rejected`), quota, policy or missing RBAC name themselves; a conflict with another field
    manager names that manager.
    """
    what = f"{write.resource.kind} {write.name}"
    said = _REQUEST.sub("", error.message)
    if isinstance(error, FieldConflict):
        causes = "; ".join(error.causes) or said
        return Problem("FieldConflict", bounded(f"{what}: {causes}"))
    if isinstance(error, Invalid):
        return Problem(f"{write.resource.kind}Rejected", bounded(f"{what}: {said}"), terminal=True)
    if isinstance(error, Forbidden):
        return Problem("Forbidden", bounded(f"{what}: {said}"))
    return None


def bounded(text: str) -> str:
    """One line of at most `MAX_MESSAGE` characters, without the random part of pod names."""
    line = " ".join(_POD_NAME.sub("pods", text).split())
    return line if len(line) <= MAX_MESSAGE else line[: MAX_MESSAGE - 1] + "…"
