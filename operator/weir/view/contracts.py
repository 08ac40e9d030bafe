"""What DataContracts say of a Rollout's versions, as people see it."""

from __future__ import annotations

from dataclasses import dataclass

from weir.view.read import Moment, Node


@dataclass(frozen=True)
class ContractFinding:
    """One thing that a contract says. ``word``: Fail, Unknown or Warn; ``rollback_at``: when traffic is put back."""

    contract: str
    rule: str
    word: str
    effect: str
    message: str
    since: Moment | None = None
    path: str = ""
    rollback_at: Moment | None = None
    awaited: bool = False

    @property
    def blocks(self) -> bool:
        """Whether a release does not go on because of it."""
        return self.effect != "Warn"

    @staticmethod
    def of(node: Node) -> ContractFinding:
        """From an entry of ``status.contracts.findings``."""
        word = {"Fail": "Fail", "NoData": "Unknown"}.get(node.text("verdict"), "Warn")
        return ContractFinding(
            contract=node.text("contract"),
            rule=node.text("rule"),
            word=word,
            effect=node.text("effect"),
            message=node.text("message"),
            since=node.time("since"),
            path=node.text("path"),
            rollback_at=node.time("rollbackAt"),
            awaited=node.flag("awaited"),
        )


@dataclass(frozen=True)
class Contracts:
    """All that contracts say. ``names``: those that were looked at; ``word``: Pass, Fail or Unknown."""

    word: str
    names: tuple[str, ...] = ()
    findings: tuple[ContractFinding, ...] = ()

    @property
    def blocking(self) -> tuple[ContractFinding, ...]:
        """What holds a release, the worst first."""
        return tuple(finding for finding in self.findings if finding.blocks)

    @property
    def concerned(self) -> tuple[str, ...]:
        """Names of the contracts with findings that matter, the worst first."""
        found = self.blocking or tuple(f for f in self.findings if f.word != "Warn") or self.findings
        return tuple(dict.fromkeys(finding.contract for finding in found if finding.contract))

    @staticmethod
    def of(node: Node) -> Contracts | None:
        """From ``status.contracts``; None where no contract has to do with the version."""
        if not node.there:
            return None
        word = {"NoData": "Unknown"}.get(node.text("verdict"), node.text("verdict"))
        names = tuple(dict.fromkeys(pin.partition("@")[0] for pin in node.texts("pins")))
        return Contracts(word, names, tuple(ContractFinding.of(f) for f in node.items("findings")))
