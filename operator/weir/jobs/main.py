"""Entry point of the check pod: runs the plan and writes the result, once, with the pod's own token."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from weir.api.contractcheck import ContractCheckStatus
from weir.runtime.client import KubeClient
from weir.runtime.errors import ApiError, Conflict, Forbidden, Invalid, NotFound
from weir.runtime.resources import CONTRACT_CHECKS, KubeObject, Resource

from .plan import Plan
from .run import run

ATTEMPTS = 8
"""Tries to write the result; with the pauses between them about two minutes."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0

Sleep = Callable[[float], Awaitable[None]]


class Cluster(Protocol):
    """What of the API server's client is needed."""

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> KubeObject:
        """One object."""

    async def merge_patch(
        self, resource: Resource, name: str, patch: KubeObject, namespace: str | None = None, *, subresource: Any = None
    ) -> KubeObject:
        """Merge a patch into one object."""


def main(path: Path) -> int:
    """Run the plan in a file and write the result to its ContractCheck; 0 if the result is there, else 1.

    One line of JSON on standard output says what came out.
    """
    try:
        plan = Plan.read(path)
    except (OSError, ValueError) as error:
        _log("error", message=f"the plan cannot be read: {error}"[:1000])
        return 1
    status = run(plan)
    try:
        asyncio.run(_connected(plan, status))
    except ApiError as error:
        _log("error", plan, status, message=f"the result could not be written: {error.message}"[:1000])
        return 1
    _log("info", plan, status, message=status.message)
    return 0


async def _connected(plan: Plan, status: ContractCheckStatus) -> None:
    async with await KubeClient.connect(field_manager="weir-check") as client:
        await write(client, plan, status)


async def write(
    cluster: Cluster, plan: Plan, status: ContractCheckStatus, sleep: Sleep = asyncio.sleep, attempts: int = ATTEMPTS
) -> None:
    """Write the status of the plan's ContractCheck, again after transient errors.

    A refusal means success where the result is there already: the answer to an earlier try was lost, or the Job's
    first pod wrote it.

    Raises:
        ApiError: it is not written.
    """
    pause, uncertain = _FIRST_PAUSE, False
    for attempt in range(1, attempts + 1):
        try:
            await cluster.merge_patch(
                CONTRACT_CHECKS, plan.check, {"status": status.to_dict()}, plan.namespace, subresource="status"
            )
            return
        except NotFound:
            raise
        except (Conflict, Forbidden, Invalid) as error:
            if await _present(cluster, plan, uncertain):
                return
            if error.terminal or attempt == attempts:
                raise
        except ApiError:
            uncertain = True
            if attempt == attempts:
                raise
        # Spread out: many checks start at the same minute of a schedule.
        await sleep(pause * random.uniform(0.5, 1.0))
        pause = min(_LONGEST_PAUSE, 2 * pause)


async def _present(cluster: Cluster, plan: Plan, uncertain: bool) -> bool:
    """Whether the check has a result; where it may not be read, whether an earlier try may have written it."""
    try:
        found = await cluster.get(CONTRACT_CHECKS, plan.check, plan.namespace)
    except ApiError:
        return uncertain
    return bool((found.get("status") or {}).get("verdict"))


def _log(level: str, plan: Plan | None = None, status: ContractCheckStatus | None = None, *, message: str) -> None:
    line: dict[str, Any] = {"level": level, "message": message}
    if plan is not None:
        line |= {"check": plan.check, "namespace": plan.namespace, "contract": plan.contract, "digest": plan.digest}
    if status is not None:
        line |= {
            "verdict": status.verdict,
            "seconds": round(status.finished_at - status.started_at, 3),
            "servers": [server.to_dict() for server in status.servers],
        }
    print(json.dumps(line, ensure_ascii=False), file=sys.stdout, flush=True)
