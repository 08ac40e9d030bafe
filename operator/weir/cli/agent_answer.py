"""Answers to requests of agents: approve, deny, override, withdraw. Each is an ActionRequest about another one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from weir.cli import completion
from weir.cli.failure import CliError
from weir.cli.options import Pursued, command, length
from weir.cli.pursuing import Patience, follow_up, reason

if TYPE_CHECKING:
    from weir.api.action import Answer
    from weir.cli.agent_rows import AgentAction
    from weir.cli.cluster import Cluster
    from weir.runtime.resources import KubeObject

_QUESTIONS = {"Approve": "Approve as {user}?", "Override": "Let it pass, as {user}?"}
"""What is asked first: these let an agent act. Denying and withdrawing are always safe."""


Request = Annotated[
    str,
    typer.Argument(
        metavar="REQUEST",
        help="Name of the ActionRequest; see `kubectl weir agent actions`.",
        autocompletion=completion.requests,
        show_default=False,
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; needed in a pipe.")]


@command(Pursued)
def deny(asked: Pursued, request: Request) -> int:
    """Say no to what an agent asked for. It is final."""
    return answer(asked, "Deny", request)


@command(Pursued)
def override(asked: Pursued, request: Request, yes: Yes = False) -> int:
    """Let a request of an agent pass cooldown, damping and other waits. Needs the right (RBAC verb) override.

    It never passes bounds, permits, missing approvals, the ClusterAgentPolicy, or a pause.
    """
    return answer(asked, "Override", request, yes=yes)


@command(Pursued)
def withdraw(asked: Pursued, request: Request) -> int:
    """Take back a request that you made under a permit yourself."""
    return answer(asked, "Withdraw", request)


def answer(asked: Pursued, action: Answer, name: str, *, rollout: str = "", yes: bool = False) -> int:
    """Give that answer to the ActionRequest of that name; the exit code. ``rollout``: which it must be about, if any.

    Raises:
        CliError: it cannot be answered so.
    """
    from weir.cli import cluster
    from weir.cli.agent_cluster import ledger, request_of
    from weir.cli.agent_rows import actions, card
    from weir.cli.asking import Ask, create

    patience = Patience(length(asked.timeout, "--timeout"))

    async def work(there: Cluster) -> int:
        request = await request_of(there, name)
        known = await ledger(there)
        [row] = actions([request], known, ended=True)
        if rollout not in ("", row.rollout):
            raise CliError(f"{name} is about the Rollout {row.rollout}, not {rollout}; name that one, or none")
        _check(row, action)
        user = await there.user()
        if action in _QUESTIONS:
            shown = card(
                row,
                request,
                user,
                time.time(),
                about=await _version(there, row, request),
                ledger=known is not None,
            )
            _confirm(asked, action, shown, user, yes=yes)
        made = await create(there, body(asked, action, row, request, user))
        return await follow_up(asked, there, Ask(action), made, patience)

    return cluster.run(asked.where, work)


def body(asked: Pursued, action: Answer, row: AgentAction, request: KubeObject, user: str) -> KubeObject:
    """The answer as it is created."""
    from weir.api.actionrequest import request_labels
    from weir.cli.asking import spec_of
    from weir.runtime.resources import ACTION_REQUESTS

    spec = spec_of(
        {
            "action": action,
            "rolloutRef": {"name": row.rollout},
            "reason": reason(asked),
            "requester": user or None,
            "request": {"name": row.name, "uid": request["metadata"]["uid"], "digest": row.digest or None},
            **({"expiresAfter": asked.expires_after} if asked.expires_after else {}),
        }
    )
    return {
        "apiVersion": ACTION_REQUESTS.api_version,
        "kind": ACTION_REQUESTS.kind,
        "metadata": {
            "generateName": f"{row.name}-{action.lower()}-",
            "namespace": row.namespace,
            "labels": request_labels(spec),
        },
        "spec": spec.to_dict(),
    }


def _check(row: AgentAction, action: Answer) -> None:
    if not row.open:
        raise CliError(f"{row.name} has ended already: {row.phase}: {row.message or 'no message'}", 1)
    if action == "Approve" and not row.digest:
        raise CliError(
            f"the operator has not looked at {row.name} yet, so there is no digest to approve; try again in a moment"
        )


async def _version(there: Cluster, row: AgentAction, request: KubeObject) -> str:
    """The version that the request is about, as far as the Rollout may be read and the action is about one."""
    from weir.cli.asking import about, looked
    from weir.runtime.errors import ApiError
    from weir.runtime.resources import ROLLOUTS

    action = request["spec"]["action"]
    try:
        found = await there.client.get(ROLLOUTS, row.rollout, there.namespace)
    except ApiError:
        return "not known: the Rollout cannot be read"
    return about(action, await looked(there, found, action))


def _confirm(asked: Pursued, action: Answer, shown: str, user: str, *, yes: bool) -> None:
    """Show what an agent would do, and ask.

    Raises:
        CliError: somebody said no, or nobody can be asked.
    """
    from weir.cli.printing import can_ask

    question = _QUESTIONS[action]
    if not yes and not can_ask():
        raise CliError("nobody can be asked here: look with `kubectl weir agent actions`, then say --yes")
    if asked.printer.text or not yes:
        typer.echo(shown, err=True)
    if not yes and not typer.confirm(question.format(user=user or "yourself"), err=True):
        raise CliError("nothing was answered", 1)
