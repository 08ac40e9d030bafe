"""Retrain and Reallocate: a granted one makes its object, which is followed to its end, and what comes of it."""

from __future__ import annotations

from weir.agent.decision import Make
from weir.agent.ledger import pending
from weir.agent.observation import AgentRequest
from weir.agent.templates import TemplateError, ends_at, identity, make, new_version, outcome, template_of
from weir.agent.turn import TEMPLATE_ACTIONS, Turn
from weir.api import API_VERSION
from weir.api.agentpolicy import Template
from weir.api.agentstatus import Grant

Object = tuple[str, str, str]
"""apiVersion, kind and name."""

_LOOK_AGAIN = 30.0
"""Seconds after which an object that could not be read is looked at again."""

_CHANGING = " is being changed"
"""How the status of a Reallocate ends between the intent and the patch."""

_CLOCKS = 5.0
"""Seconds by which the clocks of two API servers may differ."""


def follow(turn: Turn) -> None:
    """Says of every request for a template where it stands, and does the next step of those that are granted."""
    for request in sorted(turn.requests.values(), key=lambda request: (request.created, request.uid)):
        if request.spec.action not in TEMPLATE_ACTIONS or not pending(turn, request):
            continue
        grant, denied = turn.granted.get(request.uid), turn.denied.get(request.uid)
        waiting = turn.waiting.get(request.uid)
        if denied is not None and request.phase == "Running":
            # The policy was replaced, and its ledger with it.
            turn.result(request, "Failed", f"its grant is gone: {denied.message}; {_left_alone(turn, request)}")
        elif denied is not None:
            turn.result(request, "Refused", denied.message)
        elif waiting is not None and waiting.reason == "Expired":
            turn.waiting.pop(request.uid)
            turn.result(request, "Expired", waiting.message)
        elif waiting is not None:
            turn.result(request, "Pending", waiting.message)
        elif grant is not None and turn.obs.policy is not None:
            _follow(turn, grant, request)


def _follow(turn: Turn, grant: Grant, request: AgentRequest) -> None:
    refused = turn.obs.refused.get(request.uid)
    if refused is not None:
        turn.result(request, "Failed", f"the API server does not take what the template makes: {refused}")
        return
    try:
        made, (_, template) = identity(turn.obs, request), template_of(turn.obs, request)
    except TemplateError as error:
        left = f"; {_left_alone(turn, request)}" if request.phase == "Running" else ""
        turn.result(request, "Failed", f"{error}{left}")
        return
    try:
        _go_on(turn, grant, request, template, made)
    except TemplateError as error:
        turn.result(request, "Failed", str(error))


def _go_on(turn: Turn, grant: Grant, request: AgentRequest, template: Template, made: Object) -> None:
    """The next step of a granted request. Raises TemplateError."""
    found, running = turn.obs.objects.get(request.uid), request.phase == "Running"
    if _version_made(turn, request):
        turn.result(request, "Succeeded", f"ModelVersion {request.name} came of it", (made, _version(request)))
    elif template.result is not None and request.name in turn.obs.versions:
        told = f"there is a ModelVersion {request.name} already, which this request did not make; delete it, or choose"
        turn.result(request, "Failed", f"{told} another name for the next request")
    elif not running and (found is None or template.action == "Reallocate"):
        # Only now: what it is filled in with, such as a candidate, may be gone once the object runs.
        wanted = make(turn.obs, grant, request)
        if wanted.verb == "Create":
            turn.makes.append(wanted)
            turn.result(request, "Running", f"{made[1]} {made[2]} is created", (made,))
        else:
            # The intent first: what was patched must not be judged anew, and patched again over somebody's correction.
            turn.result(request, "Running", f"{made[1]} {made[2]}{_CHANGING}", (made,))
    elif running and request.message.endswith(_CHANGING):
        turn.makes.append(make(turn.obs, grant, request))
        turn.result(request, "Running", f"{made[1]} {made[2]} is changed", (made,))
    elif running and request.uid not in turn.obs.objects:
        _await(turn, grant, request, template, made)
    else:
        _look(turn, grant, request, template, made)


def _left_alone(turn: Turn, request: AgentRequest) -> str:
    """What is said of an object that nobody follows to its end."""
    found = turn.obs.objects.get(request.uid) or {}
    name = (found.get("metadata") or {}).get("name")
    what = f"{found.get('kind', 'object')} {name}" if name else "what it made (status.created)"
    return f"{what} goes on, and nobody follows it"


def _await(turn: Turn, grant: Grant, request: AgentRequest, template: Template, made: Object) -> None:
    """The object cannot be read now; its time runs all the same, or nobody could ever act on the Rollout again."""
    ends = ends_at(template, grant.since)
    if turn.now < ends:
        turn.wake(min(turn.now + _LOOK_AGAIN, ends))
        return
    told = f"{made[1]} {made[2]} cannot be read, and {template.timeout} are over; look yourself what became of it"
    turn.result(request, "Failed", told, (made,))


def _look(turn: Turn, grant: Grant, request: AgentRequest, template: Template, made: Object) -> None:
    """Where the object stands, and what comes of it."""
    found = turn.obs.objects.get(request.uid)
    seen = outcome(template, found, grant.since, turn.now)
    turn.wake(seen.wake_at)
    manifest = new_version(turn.obs, request, found) if seen.phase == "Succeeded" and found is not None else None
    if manifest is None:
        turn.result(request, seen.phase, seen.message, (made,))
        return
    turn.makes.append(Make(request.uid, request.name, "Create", manifest))
    turn.result(request, "Running", f"{seen.message}; ModelVersion {request.name} is being created", (made,))


def _version_made(turn: Turn, request: AgentRequest) -> bool:
    """Whether its ModelVersion is there, and is not that of an earlier request of the same name."""
    began = request.created - _CLOCKS
    return any(v.name == v.request == request.name and v.created >= began for v in turn.obs.made)


def _version(request: AgentRequest) -> Object:
    return (API_VERSION, "ModelVersion", request.name)
