"""What somebody is asked to approve."""

from __future__ import annotations

from weir.cli.failure import CliError
from weir.view.model import RolloutInfo
from weir.view.people import Approval


def chosen(info: RolloutInfo, name: str) -> Approval:
    """The approval of that name; without one the only one that the release waits for, or the only open one.

    Raises:
        CliError: there is none, or it is not clear which.
    """
    if info.candidate is None:
        raise CliError(f"{info.name} has no release running, so there is nothing to approve")
    if not info.approvals:
        raise CliError(f"release {info.release} of {info.name} needs no approval")
    if name:
        found = [a for a in info.approvals if a.name == name]
    else:
        missing = [a for a in info.approvals if a.state != "Granted"]
        found = [a for a in missing if a.state == "Waiting"] or missing
    if len(found) == 1:
        return found[0]
    names = ", ".join(a.name for a in info.approvals)
    if name:
        raise CliError(f"no approval {name!r} in {info.name}; there is {names}")
    if not found:
        raise CliError(f"all approvals of release {info.release} of {info.name} are granted already", 0)
    raise CliError(f"several approvals are open; name one with --approval: {', '.join(a.name for a in found)}")


def card(info: RolloutInfo, approval: Approval, user: str) -> str:
    """What would be approved, line by line."""
    candidate, stage = info.candidate, info.stage
    version = f"{candidate.shown} ({candidate.digest or 'no digest'})" if candidate is not None else "-"
    serving = info.stable.shown if info.stable is not None else "none, this is the first version"
    where = f"{stage.name}, {info.weight} % of requests" if stage is not None else "not begun"
    gave = ", ".join(f"{c.by} ({str(c.at).partition('.')[0]}Z)" if c.at else c.by for c in approval.consents)
    lines = [
        f"Rollout {info.name} in namespace {info.namespace}, release {info.release}",
        f"  version   {version}",
        f"  replaces  {serving}",
        f"  stage     {where}",
        f"  approval  {approval.name}: before {approval.before}, from {approval.who}, "
        f"{len(approval.consents)} of {approval.quorum} given",
        f"  given by  {gave or 'nobody yet'}",
    ]
    if info.requested_by:
        lines.append(f"  asked by  {info.requested_by}")
    lines += [f"  gate      {g.name}: {g.verdict or 'not asked yet'}{_because(g.message)}" for g in info.gates]
    if approval.deadline is not None:
        lines.append(f"  deadline  {str(approval.deadline).partition('.')[0]}Z, then the release is put back")
    lines += [f"  digest    {approval.digest}", f"  you are   {user or 'unknown to this API server'}"]
    return "\n".join(lines)


def _because(message: str) -> str:
    text = " ".join(message.split())
    return f" ({text[:117]}...)" if len(text) > 120 else f" ({text})" if text else ""
