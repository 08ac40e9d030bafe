"""What agents may do and what they asked for, for a terminal or a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from weir.agent.headroom import tokens
from weir.api.base import format_time
from weir.cli.agent_rows import AgentAction, one_line, person
from weir.cli.agent_words import warnings
from weir.cli.show.style import style_of
from weir.view.words import duration, when

if TYPE_CHECKING:
    from weir.agent.headroom import Headroom
    from weir.api.agentstatus import Blocked
    from weir.cli.agent_cluster import Agents
    from weir.cli.agent_words import Told


def headroom(agents: Agents, rows: Sequence[Headroom]) -> RenderableType:
    """What is wrong, one line for each permit, then what is blocked and why."""
    now, stopped, left = agents.now, agents.stopped(), tokens(agents.policy, agents.status, agents.now)
    table = _table("PERMIT", "ACTION", "MODE", "USED", "RESETS", "APPROVAL", "NEXT NAME")
    for row in rows:
        used = f"{row.used} of {row.limit}" if row.limit is not None else "no budget"
        resets = f"in {duration(row.resets_at - now)}" if row.resets_at is not None else "-"
        table.add_row(*map(Text, (row.permit, row.action, row.mode, used, resets, _consent(row), _next(row))))
    parts = _warned(warnings(agents))
    parts += [Text(f"All agents are stopped: {stopped}.", style="bold red")] if stopped else []
    parts.append(table)
    if not stopped:
        parts += [Text(f"{row.permit}: closed, {row.closed}.") for row in rows if row.closed]
    parts += [Text(f"Tokens left in the bucket: {left:.1f}.")] if left is not None else []
    blocked = {(b.rollout, b.action, b.until): b for row in rows for b in row.blocked}
    parts += [Text(_blocked(entry, now)) for entry in blocked.values()]
    return Group(*parts)


def _blocked(entry: Blocked, now: float) -> str:
    what = f"no {entry.action}" if entry.action else "nothing but safe actions"
    # The message of a cooldown says all this once more; what it adds stands behind its time.
    _, own, more = entry.message.partition(f" cools down until {format_time(entry.until)}")
    why = f" {one_line(more)}" if own else f": {one_line(entry.message)}"
    return f"{entry.rollout}: {what} until {when(entry.until, now)}, {entry.reason}{why}".rstrip(": ")


def actions(found: Sequence[AgentAction], now: float) -> RenderableType:
    """One line for each request, then how to answer those that wait for people."""
    table = _table("NAME", "ROLLOUT", "ACTION", "PERMIT", "BY", "PHASE")
    table.add_column("AGE", no_wrap=True, justify="right")
    table.add_column("WAITS FOR", overflow="fold")
    for action in found:
        age = duration(now - action.created_at) if action.created_at is not None else "-"
        by = f"rule {action.rule}" if action.rule else person(action.by) or "-"
        cells = (action.name, action.rollout, action.action, action.permit or "-", by)
        phase = Text(action.phase, style=style_of(action.phase))
        # The command that the message ends with stands below.
        message = action.message.partition("; `kubectl")[0] if action.answers else action.message
        table.add_row(*map(Text, cells), phase, Text(age), Text(message or "-"))
    answers = [Text(f"  {command}") for action in found for command in action.answers]
    if not answers:
        return table
    return Group(table, Text(""), Text("To answer:", style="bold"), *answers)


def explanation(told: Told) -> RenderableType:
    """The policy in plain words."""
    from weir.cli.show.why import lines, section

    parts = [*_warned(told.warnings), Text(told.headline, style="bold")]
    for part in told.parts:
        parts += section(part.title, lines(part.lines))
    return Group(*parts)


def _warned(warnings: Sequence[str]) -> list[RenderableType]:
    return [Text(f"Warning: {warning}", style="bold yellow") for warning in warnings]


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _consent(row: Headroom) -> str:
    return f"{row.quorum} people" if row.tier == "Approve" and row.quorum > 1 else _TIERS[row.tier]


_TIERS = {"None": "-", "Notify": "people are told", "Approve": "1 person", "ManualOnly": "people only"}


def _next(row: Headroom) -> str:
    if row.closed:
        return "closed"
    if row.limit is None or (row.mode == "Audit" and not row.next_name):
        return "any"
    return row.next_name or "none left"
