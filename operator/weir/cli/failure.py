"""How a command ends when it does not succeed: exit codes, and one sentence that says what happened and the way out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weir.runtime.errors import ApiError

REFUSED = 1
"""The request was refused, or the release did not succeed."""
UNREADABLE = 2
"""Wrong usage, or something that cannot be read."""
TIMED_OUT = 3
"""The time given with --timeout is over."""
WAITS = 4
"""The release waits for a person."""
INTERRUPTED = 130
"""Ctrl-C."""

_DENIED = re.compile(r"denied (?:the )?request: (?P<why>.*)", re.DOTALL)
_MAY_NOT = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\S+) resource "(?P<resource>[^"]*)"'
    r'.*?(?:in the namespace "(?P<namespace>[^"]*)"|at the cluster scope)'
)
_REQUEST = re.compile(r"^[A-Z]+ /\S*: ")
_TLS = ("certificate", "SSL")


class CliError(Exception):
    """What to tell the user, and the exit code."""

    def __init__(self, message: str, code: int = UNREADABLE) -> None:
        super().__init__(message)
        self.code = code


def told(error: ApiError) -> CliError:
    """The API server's answer as one sentence; refused by admission or by RBAC is exit code 1, the rest 2."""
    from weir.runtime import errors

    text = _REQUEST.sub("", error.message).strip()
    denied = _DENIED.search(text)
    if denied is not None:
        return CliError(f"refused: {one_line(denied['why'])}", REFUSED)
    if isinstance(error, errors.Forbidden):
        return CliError(_forbidden(text), REFUSED)
    if isinstance(error, errors.Unauthorized):
        return CliError("the cluster does not accept your credentials; log in again, or use another --context")
    if isinstance(error, errors.Throttled):
        return CliError("the API server is busy; try again in a minute")
    if isinstance(error, errors.Unavailable):
        return CliError(_unreachable(text))
    return CliError(one_line(text), REFUSED if isinstance(error, errors.Invalid) else UNREADABLE)


def _forbidden(text: str) -> str:
    found = _MAY_NOT.search(text)
    if found is None:
        return f"refused: {one_line(text)}"
    place = f"in namespace {found['namespace']}" if found["namespace"] else "in the whole cluster"
    wanted = f"you ({found['user']}) may not {found['verb']} {found['resource']} {place}"
    way_out = "use -n NAMESPACE, or" if not found["namespace"] else "ask for a role that allows it, or"
    return f"{wanted}; {way_out} use another --context"


def _unreachable(text: str) -> str:
    hint = "its certificate is not trusted" if any(word in text for word in _TLS) else "is it up?"
    return f"cannot reach the API server ({hint}): {one_line(text)}; check --context and --kubeconfig"


def one_line(text: str) -> str:
    """Text without line breaks."""
    return " ".join(text.split())
