"""What the compatibility rules and the checks say: findings, each with its rule, place and effect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal["tightens", "loosens", "both", "undetermined", "untested"]
"""How a change moves the set of permitted data: fewer rows, more rows, fewer and more, cannot be told, does not."""

Rule = Literal[
    "R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8", "R9", "R10", "Check", "Drift", "Metadata", "Document", "Agent"
]
Effect = Literal["BlockPromotion", "Pause", "Rollback", "RequireApproval", "Warn"]
Judgement = Literal["Pass", "Fail", "Unknown"]


@dataclass(frozen=True)
class Change:
    """One difference between two contracts, at ``TABLE.COLUMN`` (or ``TABLE``), with both values as text."""

    rule: str
    path: str
    direction: Direction
    old: str = ""
    new: str = ""
    message: str = ""


@dataclass(frozen=True)
class Finding:
    """Something that a contract says against a version or a release.

    ``rule``: which rule; ``change``: its id for a waiver (``Change.rule`` for R1–R9), ``path``: where. ``effect`` is
    what enforcement asks for. ``grace``: seconds that a Rollback waits. ``message``: what is wrong and the way out.
    ``awaited``: it is Unknown only until a check has run that is, or should be, under way.
    """

    contract: str
    rule: Rule
    judgement: Judgement
    effect: Effect
    message: str
    change: str = ""
    path: str = ""
    grace: float = 0.0
    awaited: bool = False


@dataclass(frozen=True)
class Standing:
    """Everything that contracts say of a release: the only thing about contracts that a decision looks at.

    ``splittable``: the two versions may share traffic (R4). ``rollbackable``: the version before still fits (R5), None
    where no contract tells. ``awaited``: names of contracts whose data must be checked (again). ``pins``: the contracts
    that were looked at, NAME@DIGEST where they are accepted. ``changes_at``: when time alone changes any of this
    (seconds since the epoch; a verdict grows too old, a waiver expires), None where it does not.
    """

    findings: tuple[Finding, ...] = ()
    splittable: bool = True
    rollbackable: bool | None = None
    rollback_message: str = ""
    awaited: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()
    changes_at: float | None = None
