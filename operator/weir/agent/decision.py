"""What is decided under an AgentPolicy: its next status, and what the shell has to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from weir.api.actionrequest import ActionRequestSpec
from weir.api.agentstatus import AgentPolicyStatus


@dataclass(frozen=True)
class AgentResult:
    """What becomes of a request that the policy answers itself: answers to others, Retrain and Reallocate.

    ``created``: objects that came of it, as apiVersion, kind and name.
    """

    uid: str
    name: str
    phase: Literal["Pending", "Running", "Succeeded", "Refused", "Expired", "Failed"]
    message: str
    digest: str = ""
    created: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class Proposal:
    """An ActionRequest that Weir asks for itself; its name is the same however often it is decided."""

    name: str
    spec: ActionRequestSpec


@dataclass(frozen=True)
class Make:
    """An object that a granted template action creates (Retrain) or patches (Reallocate), safe to repeat.

    ``uid``: of the request, which owns what is created.
    """

    uid: str
    request: str
    verb: Literal["Create", "Patch"]
    manifest: Mapping[str, Any]


@dataclass(frozen=True)
class AgentNote:
    """Something to tell people, as an Event; about a Rollout, or about the policy where ``rollout`` is empty."""

    reason: str
    message: str
    warning: bool = False
    rollout: str = ""
    request: str = ""


@dataclass(frozen=True)
class AgentDecision:
    """The whole next status, and what to do once it is written."""

    status: AgentPolicyStatus
    results: tuple[AgentResult, ...] = ()
    proposals: tuple[Proposal, ...] = ()
    makes: tuple[Make, ...] = ()
    notes: tuple[AgentNote, ...] = ()
    wake_at: float | None = None
