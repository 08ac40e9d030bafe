"""One Rollout at a glance."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from weir.cli.show.style import style_of
from weir.view.commands import weir
from weir.view.evidence import bad, new_name, old_name
from weir.view.model import RolloutInfo
from weir.view.parts import DecisionLine, Gate, Rung, Version
from weir.view.people import Approval
from weir.view.why import explain
from weir.view.words import ago, clock, duration, number, percent, whole

_BAR = 20
_MOST_RUNGS = 9
_DECISIONS = 5
_FINDINGS = 5


def status(info: RolloutInfo) -> RenderableType:
    """Where the Rollout stands: versions, plan, gates, approvals, what it waits for, the last decisions."""
    told = explain(info)
    head = Text.assemble((info.name, "bold"), "  ", (info.phase or "Unknown", style_of(info.phase)))
    if info.phase and info.silence is not None:
        head.append(" (may be out of date)", style="yellow")
    head.append(_other_wanted(info), style="yellow")
    head.append(f"  {_place(info)}", style="dim")
    parts: list[RenderableType] = [head, Text(told.headline), *(Text(f"Note: {note}") for note in told.notes)]
    parts += [Text(""), _versions(info)]
    if info.candidate is not None:
        parts += _section("Plan", _plan(info))
    parts += _section("Gates", _gates(info))
    parts += _section("Approvals", _approvals(info))
    parts += _section("Contracts", _contracts(info))
    parts += _section("Budgets", _budgets(info))
    parts += _section("Last decisions", _decisions(info))
    if told.moves:
        parts += [Text(""), Text(f"Why, and what to do: {weir(info, 'why')}", style="dim")]
    return Group(*parts)


def _other_wanted(info: RolloutInfo) -> str:
    """That Promoted is not all that is to be, where something is in the way of another version."""
    old, new = info.stable, info.wanted
    if info.phase != "Promoted" or info.hold is None or old is None or new is None or old.name == new.name:
        return ""
    return f": {old.shown} serves; {new.shown} is wanted"


def _place(info: RolloutInfo) -> str:
    words = [f"namespace {info.namespace}"] if info.namespace else []
    if info.candidate is not None and info.release_started_at is not None:
        words.append(f"release {info.release} begun {ago(info.release_started_at, info.now)}")
    return f"({', '.join(words)})" if words else ""


def _section(title: str, content: RenderableType | None) -> list[RenderableType]:
    return [Text(""), Text(title, style="bold cyan"), content] if content is not None else []


def _grid(*columns: str) -> Table:
    """A table without lines; columns named ``text`` are wrapped, a ``line`` is cut, others have their whole width."""
    table = Table.grid(padding=(0, 2), expand="line" in columns)
    table.add_column(width=0)
    for column in columns:
        table.add_column(
            no_wrap=column != "text",
            justify="right" if column == "number" else "left",
            overflow="ellipsis" if column == "line" else "fold",
            ratio=1 if column == "line" else None,
        )
    return table


def _row(grid: Table, *cells: str | Text, style: str = "") -> None:
    """Adds a row; strings are shown as they are, since messages may have brackets."""
    grid.add_row("", *(Text(cell) if isinstance(cell, str) else cell for cell in cells), style=style)


def _versions(info: RolloutInfo) -> RenderableType:
    grid = _grid("word", "word", "word", "number", "text")
    if info.stable is not None:
        share = 100 - info.weight if info.candidate is not None else 100
        _row(grid, "stable", _label(info.stable), _bar(share), f"{share} %", _in_place_of(info, info.stable))
    if info.candidate is not None:
        told = [_in_place_of(info, info.candidate), f"at most {info.limit.weight} %" if info.limit else ""]
        text = "; ".join(part for part in told if part)
        _row(grid, "candidate", _label(info.candidate), _bar(info.weight), f"{info.weight} %", text)
    elif info.wanted is not None and (info.stable is None or info.wanted.name != info.stable.name):
        _row(grid, "wanted", _label(info.wanted), "", "", _unreleased(info))
    return grid


def _in_place_of(info: RolloutInfo, version: Version) -> str:
    """That somebody asked for the version in place of the one that the spec names."""
    instead = info.instead
    return f"in place of {instead.ref}" if instead is not None and instead.version == version.name else ""


def _unreleased(info: RolloutInfo) -> str:
    return "failed" if info.phase == "RolledBack" and not info.behind else "not released"


def _label(version: Version) -> Text:
    text = Text(version.shown, style="bold")
    if version.name and version.name != version.shown:
        text.append(f" ({version.name})", style="not bold dim")
    return text


def _bar(share: int) -> str:
    filled = round(_BAR * share / 100)
    # Some traffic is never shown as none, nor nearly all as all.
    filled = max(1, filled) if share else 0
    filled = min(_BAR - 1, filled) if share < 100 else _BAR
    return "[" + "#" * filled + "." * (_BAR - filled) + "]"


def _plan(info: RolloutInfo) -> RenderableType | None:
    if not info.ladder:
        return None
    grid = _grid("word", "word", "number", "text")
    at = next((place for place, rung in enumerate(info.ladder) if rung.state == "Current"), 0)
    first = max(0, min(at - _MOST_RUNGS // 2, len(info.ladder) - _MOST_RUNGS))
    shown = info.ladder[first : first + _MOST_RUNGS]
    if first:
        _row(grid, "done", f"{first} more", "", "")
    for rung in shown:
        word = {"Done": "done", "Current": "now", "Next": "next"}[rung.state]
        style = {"Done": "dim", "Current": "bold", "Next": ""}[rung.state]
        share = f"{_weight(info, rung)} %" if rung.kind not in ("WarmUp", "Promote") else ""
        _row(grid, word, rung.name, share, _rung(info, rung), style=style)
    rest = len(info.ladder) - first - len(shown)
    if rest > 0:
        _row(grid, "next", f"{rest} more", "", "")
    return grid


def _weight(info: RolloutInfo, rung: Rung) -> int:
    return info.stage.weight if rung.state == "Current" and info.stage is not None else rung.weight


def _rung(info: RolloutInfo, rung: Rung) -> str:
    parts = []
    if rung.state == "Current" and info.stage is not None and info.stage.evidence_from is not None:
        parts.append(f"for {duration(info.now - info.stage.evidence_from)}")
    if rung.min_duration and rung.state != "Done":
        parts.append(f"at least {duration(rung.min_duration)}")
    states = {a.name: a.state for a in info.approvals}
    wanted = [f"{name}{' (given)' if states.get(name) == 'Granted' else ''}" for name in rung.approvals]
    if wanted and rung.state != "Done":
        parts.append(f"after approval {', '.join(wanted)}")
    return ", ".join(parts)


def _gates(info: RolloutInfo) -> RenderableType | None:
    if info.candidate is None or not info.gates:
        return None
    grid = _grid("word", "word", "text")
    for gate in info.gates:
        _row(grid, gate.name, Text(gate.verdict, style=style_of(gate.verdict)), _evidence(info, gate))
    return grid


def _evidence(info: RolloutInfo, gate: Gate) -> str:
    """Counts and proof on one line; where they say nothing, the gate's own words."""
    if (
        gate.verdict in ("Error", "NoData")
        or not gate.candidate.total
        or gate.asks.template in ("mean", "threshold", "")
    ):
        return gate.message
    parts = [f"{new_name(info)} {whole(gate.candidate.bad)} of {whole(gate.candidate.total)} {bad(gate)}"]
    parts[0] += f" ({percent(gate.candidate.share or 0.0)})"
    if gate.comparative and gate.stable.total:
        parts.append(f"{old_name(info)} {percent(gate.stable.share or 0.0)} of {whole(gate.stable.total)}")
    if gate.verdict != "Pass" and gate.e_pass is not None and gate.e_pass_bar is not None:
        parts.append(f"proof {number(gate.e_pass)} of {number(gate.e_pass_bar)}")
    return "; ".join(parts)


def _approvals(info: RolloutInfo) -> RenderableType | None:
    if info.candidate is None or not info.approvals:
        return None
    grid = _grid("word", "word", "word", "text")
    for approval in info.approvals:
        count = f"{len(approval.consents)} of {approval.quorum}"
        state = Text(approval.state, style=style_of(approval.state))
        _row(grid, approval.name, state, count, _consents(info, approval))
    return grid


def _consents(info: RolloutInfo, approval: Approval) -> str:
    given = [f"{c.by}{f' {ago(c.at, info.now)}' if c.at is not None else ''}" for c in approval.consents]
    parts = [f"by {', '.join(given)}"] if given else []
    if approval.state != "Granted":
        parts.append(f"from {approval.people}")
        if approval.deadline is not None:
            parts.append(f"until {clock(approval.deadline, info.now)}")
    return "; ".join(parts)


def _contracts(info: RolloutInfo) -> RenderableType | None:
    told = info.contracts
    if told is None:
        return None
    grid = _grid("word", "word", "line")
    for finding in told.findings[:_FINDINGS]:
        _row(grid, finding.contract, Text(finding.word, style=style_of(finding.word)), finding.message)
    if len(told.findings) > _FINDINGS:
        _row(grid, "", "", f"{len(told.findings) - _FINDINGS} more in status.contracts.findings")
    if not told.findings:
        _row(grid, ", ".join(told.names), Text(told.word, style=style_of(told.word)), "nothing is said against it")
    return grid


def _budgets(info: RolloutInfo) -> RenderableType | None:
    grid = _grid("word", "text")
    if info.ramp is not None and info.candidate is not None and info.ramp.spent is not None:
        allowed = f" of {whole(info.ramp.budget)}" if info.ramp.budget is not None else ""
        _row(grid, "risk", f"up to {number(info.ramp.spent)}{allowed} bad requests caused by this release")
    if info.budget is not None and info.budget.spent is not None:
        frozen = "; releases are frozen" if info.budget.frozen else ""
        _row(grid, "errors", f"{percent(info.budget.spent)} of the service's error budget is spent{frozen}")
    return grid if grid.row_count else None


def _decisions(info: RolloutInfo) -> RenderableType | None:
    return decisions(info, info.decisions[-_DECISIONS:], whole_text=False) if info.decisions else None


def decisions(info: RolloutInfo, log: Sequence[DecisionLine], *, whole_text: bool = True) -> RenderableType:
    """Decisions, oldest first; without ``whole_text`` each is cut to one line."""
    grid = _grid("word", "word", "text" if whole_text else "line")
    for entry in log:
        at = clock(entry.at, info.now) if entry.at is not None else ""
        told = entry.actor in ("", "weir") or f"by {entry.actor}" in entry.message
        acted = [f"by {entry.actor}" if not told else "", entry.authority]
        who = f" ({', '.join(part for part in acted if part)})" if any(acted) else ""
        _row(grid, at, entry.reason, f"{entry.message}{who}")
    return grid
