"""`weir contract diff`: what a change of a contract breaks, and for whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weir.cli.failure import REFUSED, WAITS, CliError
from weir.cli.options import Place, command

if TYPE_CHECKING:
    from weir.cli.cluster import Cluster
    from weir.cli.printing import Printer
    from weir.contract.finding import Change
    from weir.contract.revision import Revision

MODES = ("None", "Backward", "BackwardTransitive", "Forward", "ForwardTransitive", "Full", "FullTransitive")
_BREAKS = {"loosens": ("consumers",), "tightens": ("producers",), "both": ("consumers", "producers")}
"""Whom a change can break: who reads the data may meet what was not permitted, who writes it may write what is not."""


@command(Place)
def diff(
    place: Place,
    old: Annotated[str, typer.Argument(metavar="OLD", help="File, NAME in the cluster, or NAME@sha256:…")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="File, NAME in the cluster, or NAME@sha256:…")],
    mode: Annotated[
        str,
        typer.Option(
            metavar="MODE",
            help=f"What has to stay compatible: {', '.join(MODES)}. By default what the new contract says, "
            "else ForwardTransitive.",
            show_default=False,
        ),
    ] = "",
) -> int:
    """Compare two revisions of a contract: every change, and whom it breaks.

    A file may hold a DataContract or the document alone. Exit codes: 0 nothing breaks under the mode, 1 something does,
    2 a contract cannot be read, 4 a change cannot be judged, so people have to.
    """
    from weir.cli import cluster
    from weir.contract.compare import changes

    if mode and mode not in MODES:
        raise CliError(f"--mode {mode} is none of {', '.join(MODES)}")
    compared: list[tuple[Revision, Policy]] = []
    if is_file(old) and is_file(new):
        compared = [_from_file(old), _from_file(new)]
    else:

        async def fetched(there: Cluster) -> int:
            for text in (old, new):
                compared.append(_from_file(text) if is_file(text) else await _from_cluster(there, text))
            return 0

        cluster.run(place.where, fetched)
    (before, _), (after, policy) = compared
    judged = Judged(before.pin, after.pin, replace(policy, mode=mode) if mode else policy, changes(before, after))
    _show(place.printer, judged)
    return judged.code


@dataclass(frozen=True)
class Policy:
    """What a contract says of its changes."""

    mode: str = "ForwardTransitive"
    widening: bool = False

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Policy:
        """That of a spec as written."""
        found = spec.get("compatibility")
        if not isinstance(found, dict):
            return cls()
        return cls(str(found.get("mode") or cls.mode), "Widening" in (found.get("allow") or ()))


@dataclass(frozen=True)
class Judged:
    """The changes under a policy. ``old`` and ``new``: NAME@DIGEST."""

    old: str
    new: str
    policy: Policy
    changes: tuple[Change, ...]

    def breaking(self, change: Change) -> bool:
        """Whether the policy forbids it."""
        from weir.contract.compare import is_widening

        if self.policy.widening and is_widening(change):
            return False
        wanted = {"Forward": {"consumers"}, "Backward": {"producers"}, "Full": {"consumers", "producers"}}
        guarded = wanted.get(self.policy.mode.removesuffix("Transitive"), set())
        return bool(guarded & set(_BREAKS.get(change.direction, ())))

    def undecided(self, change: Change) -> bool:
        """Whether people have to judge it."""
        return self.policy.mode != "None" and change.direction == "undetermined"

    @property
    def code(self) -> int:
        """Exit code."""
        if any(map(self.breaking, self.changes)):
            return REFUSED
        return WAITS if any(map(self.undecided, self.changes)) else 0

    @property
    def verdict(self) -> str:
        """One sentence."""
        if not self.changes:
            same = "They are the same revision." if self.old == self.new else "What they permit is the same."
            return f"No change. {same}"
        broken = [change for change in self.changes if self.breaking(change)]
        if broken:
            whom = sorted({whom for change in broken for whom in _BREAKS[change.direction]})
            count = f"{len(broken)} of {len(self.changes)} changes {'breaks' if len(broken) == 1 else 'break'}"
            count = "The change breaks" if len(self.changes) == 1 else count
            return f"{count} {' and '.join(whom)} (mode {self.policy.mode})."
        if self.code == WAITS:
            return (
                f"Nothing is known to break (mode {self.policy.mode}), but a change cannot be judged: people have to."
            )
        return f"Nothing breaks (mode {self.policy.mode})."

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "old": self.old,
            "new": self.new,
            "mode": self.policy.mode,
            "verdict": {0: "Compatible", REFUSED: "Breaking", WAITS: "Undetermined"}[self.code],
            "message": self.verdict,
            "changes": [
                {
                    "rule": change.rule,
                    "path": change.path,
                    "direction": change.direction,
                    "old": change.old,
                    "new": change.new,
                    "message": change.message,
                    "breaks": list(_BREAKS.get(change.direction, ())),
                    "breaking": self.breaking(change),
                }
                for change in self.changes
            ],
        }


def is_file(text: str) -> bool:
    """Whether it names a file rather than a contract of the cluster."""
    return text == "-" or "/" in text or text.endswith((".yaml", ".yml", ".json")) or Path(text).is_file()


def _from_file(text: str) -> tuple[Revision, Policy]:
    from weir.cli.contract_file import read

    found = read(text)
    return found.revision(), Policy.of(found.spec)


async def _from_cluster(there: Cluster, text: str) -> tuple[Revision, Policy]:
    from weir.cli.contract_cluster import revision

    found, spec = await revision(there, text)
    return found, Policy.of(spec)


def _show(printer: Printer, judged: Judged) -> None:
    if not printer.text:
        printer.data(judged.to_dict())
        return
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[Any] = [Text(judged.verdict, style="bold")]
    if judged.changes:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for column in ("BREAKS", "DIRECTION", "PATH", "RULE", "OLD", "NEW"):
            table.add_column(column, overflow="fold")
        for change in judged.changes:
            whom = ", ".join(_BREAKS.get(change.direction, ())) or "-"
            mark = whom if judged.breaking(change) else f"({whom})" if whom != "-" else whom
            cells = (mark, change.direction, change.path, change.rule, change.old or "-", change.new or "-")
            table.add_row(*cells, style="red" if judged.breaking(change) else None)
        parts += [Text(""), table]
        told = [f"Cannot be judged, so people have to: {c.message}" for c in judged.changes if judged.undecided(c)]
        if any(_BREAKS.get(c.direction) and not judged.breaking(c) for c in judged.changes):
            told.append("In brackets: whom it can break, which the mode (or `allow`) permits.")
        parts += [Text(""), *map(Text, told)] if told else []
    printer.show(Group(*parts))
