"""Finished releases of one Rollout."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from weir.cli.show.status import decisions
from weir.cli.show.style import style_of
from weir.view.model import RolloutInfo
from weir.view.parts import Release
from weir.view.people import Approval
from weir.view.words import acting, duration, number, when


def history(info: RolloutInfo, *, steps: bool = True) -> RenderableType:
    """Finished releases, the newest first: outcome, times, who, why; ``steps``: and what the newest one decided."""
    parts: list[RenderableType] = []
    if info.candidate is not None:
        parts += [Text(f"Release {info.release} of {info.candidate.shown} is running.", style="bold")]
        parts += [decisions(info, info.decisions), Text("")] if steps else [Text("")]
    for place, release in enumerate(info.history):
        parts += [_head(info, release), *(Padding(Text(line), (0, 0, 0, 2)) for line in _lines(release))]
        log = release.decisions or (info.decisions if info.candidate is None and not place else ())
        if steps and not place and info.candidate is None and log:
            parts.append(decisions(info, log))
        parts.append(Text(""))
    if not parts:
        return Text("No release has finished yet.")
    return Group(*parts[:-1])


def _head(info: RolloutInfo, release: Release) -> Text:
    head = Text.assemble(
        (f"Release {release.release} of {release.candidate.shown}: ", "bold"),
        (release.outcome, style_of(release.outcome)),
    )
    if release.finished_at is not None:
        head.append(f", {when(release.finished_at, info.now)}")
        if release.started_at is not None:
            head.append(f", after {duration(release.finished_at - release.started_at)}")
    return head


def _lines(release: Release) -> list[str]:
    lines = [release.message] if release.message else []
    if release.time_to_stable is not None:
        lines.append(f"{number(release.time_to_stable)} s from the decision until the gateway had taken weight 0")
    authority = acting(release.decisions[0].authority) if release.decisions else ""
    who = [f"requested by {release.requested_by}{authority}"] if release.requested_by else []
    who += [f"changed by {', '.join(release.authors)}"] if release.authors else []
    who += [_approval(approval) for approval in release.approvals if approval.consents]
    if who:
        lines.append("; ".join(who))
    if release.record:
        lines.append(f"record: {release.record}")
    return lines


def _approval(approval: Approval) -> str:
    return f"{approval.name} approved by {', '.join(c.by for c in approval.consents)}"
