"""The numbers behind the decision that a release turned on."""

from __future__ import annotations

from typing import Any

from rich.table import Table


def decisive(status: dict[str, Any]) -> dict[str, Any]:
    """The last decision of a release that stood on a comparison with stable: into the bake, or back."""
    judged = [
        entry
        for entry in status.get("decisions") or []
        if any(item.get("comparative", True) and item.get("eFailBar") for item in entry.get("evidence") or [])
        and entry["reason"] in ("StageEntered", "GateFailed")
    ]
    return judged[-1] if judged else {"reason": "", "evidence": []}


def verdicts(status: dict[str, Any]) -> Table:
    """What each gate knew then: counts, effect with its interval, and the evidence of Fail and of Pass."""
    entry = decisive(status)
    # Only the status has the effect's interval, and it speaks of the decision until gates look again.
    shown = {gate["name"]: gate for gate in status.get("gates") or []}
    title = "why it was put back" if entry["reason"] == "GateFailed" else f"why it went on to {entry.get('stage', '')}"
    table = Table(title=title, title_justify="left")
    for column in (
        "gate",
        "verdict",
        "candidate",
        "stable",
        "times stable's (interval)",
        "evidence of Fail",
        "evidence of Pass",
    ):
        table.add_column(column, overflow="fold")
    for item in entry.get("evidence") or []:
        table.add_row(
            item["gate"],
            item["verdict"],
            _counts(item.get("candidate") or {}),
            _counts(item.get("stable") or {}),
            _effect({**shown.get(item["gate"], {}), **item} if _same(shown.get(item["gate"]), item) else item),
            _evidence(item, "eFail"),
            _evidence(item, "ePass"),
        )
    return table


def _counts(counts: dict[str, Any]) -> str:
    return f"{counts.get('bad', 0)} bad of {counts.get('total', 0)}"


def _same(gate: dict[str, Any] | None, item: dict[str, Any]) -> bool:
    return gate is not None and gate.get("eFail") == item.get("eFail") and gate.get("windows") == item.get("windows")


def _effect(item: dict[str, Any]) -> str:
    if not (item["candidate"].get("bad") or item["stable"].get("bad")):
        return "nothing bad"
    estimate = f"{float(item['effect']):.3g}" if "effect" in item else "∞"
    if "effectLow" not in item:
        return estimate
    # Without an upper end nothing bounds it yet, as when stable had nothing bad at all.
    high = f"{float(item['effectHigh']):.3g}" if "effectHigh" in item else "∞"
    return f"{estimate} ({float(item['effectLow']):.3g} to {high})"


def _evidence(item: dict[str, Any], field: str) -> str:
    if field not in item or f"{field}Bar" not in item:
        return ""
    return f"{float(item[field]):.3g} of {float(item[f'{field}Bar']):.3g} needed"
