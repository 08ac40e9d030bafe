"""From changes of a contract to findings: what a rule forbids, who accepted it all the same, and the way out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from weir.contract.compare import SEMANTICS, is_widening
from weir.contract.finding import Change, Direction, Effect, Finding, Judgement, Rule
from weir.contract.revision import Bound, Contract, Revision
from weir.contract.usage import Contracts, imputed
from weir.contract.waivers import accepted, advice, holds, lapsed, waiver_for

LOOSER: frozenset[Direction] = frozenset({"loosens", "both"})
TIGHTER: frozenset[Direction] = frozenset({"tightens", "both"})


@dataclass(frozen=True)
class Question:
    """What one rule asks of the changes between two revisions.

    ``breaking``: directions that break it. ``why``: what is at stake, a sentence. ``repair``: the ways out but a
    waiver. ``effect`` of a break. ``reader``: the version whose imputed properties may be missing.
    """

    rule: Rule
    old: Revision
    new: Revision
    breaking: frozenset[Direction]
    why: str
    repair: str
    effect: Effect = "BlockPromotion"
    reader: Bound | None = None


@dataclass(frozen=True)
class Judge:
    """The contracts, whose policies and waivers count, and the time in seconds since 1970."""

    contracts: Contracts
    now: float

    def judged(self, question: Question, changes: Iterable[Change]) -> list[Finding]:
        """The findings of the changes that break the question's rule, or that cannot be judged."""
        policies = self._policies(question.new.name, question.old.name)
        widening = any("Widening" in (c.spec.compatibility.allow or ()) for c in policies)
        found = []
        for change in changes:
            if widening and is_widening(change):
                continue
            if change.direction in question.breaking:
                rule: Rule = "R8" if change.rule.startswith(SEMANTICS) else question.rule
                found.append(self._broken(question, rule, change, policies))
            elif change.direction == "undetermined":
                found.append(self._broken(question, "R9", change, policies))
        return found

    def unknown(self, rule: Rule, contract: str, change: str, path: str, why: str) -> Finding:
        """A finding that something was not declared, so that nothing can be compared."""
        policies = self._policies(contract)
        found = Finding(contract, rule, "Unknown", _on_unknown(policies), "", change, path)
        return self._worded(found, policies, why, "declare it in a new ModelVersion")

    def _policies(self, *names: str) -> list[Contract]:
        """The contracts whose policy counts, that of the new side first."""
        return [self.contracts[name] for name in dict.fromkeys(names) if name in self.contracts]

    def _broken(self, question: Question, rule: Rule, change: Change, policies: Sequence[Contract]) -> Finding:
        text = f"{change.message} ({rule}, {change.rule}). {question.why}"
        effect = question.effect
        if rule == "R9":
            text += "; whether it does cannot be told from the contracts"
            effect = effect if effect == "Warn" else _on_unknown(policies)
        if question.reader is not None and imputed(question.reader, question.old, change):
            text += "; but it imputes the value"
            effect = "Warn"
        if policies and policies[0].spec.compatibility.mode == "None":
            effect = "Warn"
        judgement: Judgement = "Unknown" if rule == "R9" else "Fail"
        found = Finding(question.new.name, rule, judgement, effect, "", change.rule, change.path)
        return self._worded(found, policies, text, question.repair)

    def _worded(self, finding: Finding, policies: Sequence[Contract], why: str, repair: str) -> Finding:
        """The finding with its message; a Pass that tells who accepted it where a waiver holds."""
        waiver = waiver_for(policies, finding.change, finding.path)
        if waiver is not None and holds(waiver, self.now):
            return replace(finding, judgement="Pass", effect="Warn", message=f"{why}. {accepted(waiver)}")
        message = f"{why}. Way out: {repair}, or {advice(finding.contract, finding.change, finding.path)}."
        return replace(finding, message=f"{message} {lapsed(waiver)}" if waiver is not None else message)


def _on_unknown(policies: Iterable[Contract]) -> Effect:
    strict = any(c.spec.compatibility.on_unknown == "Block" for c in policies)
    return "BlockPromotion" if strict else "RequireApproval"


def binding(findings: Iterable[Finding]) -> list[Finding]:
    """Those that nobody accepted and that do more than warn."""
    return [f for f in findings if f.judgement != "Pass" and f.effect != "Warn"]


def first(findings: Sequence[Finding]) -> str:
    """The message of the worst, and how many more there are."""
    found = ordered(findings)
    more = f" ({len(found) - 1} more)" if len(found) > 1 else ""
    return f"{found[0].message}{more}" if found else ""


_WORST: Mapping[str, int] = {"Fail": 0, "Unknown": 1, "Pass": 2}
_STRONGEST: Mapping[str, int] = {"Rollback": 0, "Pause": 1, "BlockPromotion": 2, "RequireApproval": 3, "Warn": 4}


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Each finding once: what holds the release first, then the worst."""
    return tuple(
        sorted(
            dict.fromkeys(findings),
            key=lambda f: (_STRONGEST[f.effect], _WORST[f.judgement], f.contract, f.path, f.rule, f.change, f.message),
        )
    )
