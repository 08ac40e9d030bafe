"""`weir contract diff`: what a change of a contract breaks, and for whom."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
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
_WHO = {
    "consumers": "Consumers read the data: they may now meet values that the old contract did not permit.",
    "producers": "Producers write the data: they may go on writing values that the new contract does not permit.",
}
_WAYS_OUT = {
    "consumers": "keep what the old contract promised, or move the consumers first (a model version that is trained on "
    "the new contract)",
    "producers": "let the producers keep the new contract before you apply it, or keep what the old one permitted",
}
_ACCEPT = "To accept it: a waiver (spec.compatibility.waivers), or another mode (spec.compatibility.mode, --mode)."
_DIRECTIONS = {"untested": "no effect on data"}
"""What people read instead of a direction."""
_NUMBERS = re.compile(r"v?(\d+(?:\.\d+)*)")


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
    name: Annotated[
        str,
        typer.Option(metavar="CONTRACT", help="Name of the DataContract, if a file holds several.", show_default=False),
    ] = "",
) -> int:
    """Compare two revisions of a contract: every change, and whom it breaks.

    A file may hold a DataContract or the document alone. Exit codes: 0 nothing breaks under the mode, 1 something does,
    2 a contract cannot be read, 4 a change cannot be judged, so people have to.
    """
    from weir.cli import cluster
    from weir.contract.compare import changes

    mode = _mode(mode)
    compared: list[tuple[Revision, Policy]] = []
    if is_file(old) and is_file(new):
        compared = [_from_file(old, name), _from_file(new, name)]
    else:

        async def fetched(there: Cluster) -> int:
            for text in (old, new):
                compared.append(_from_file(text, name) if is_file(text) else await _from_cluster(there, text))
            return 0

        try:
            cluster.run(place.where, fetched)
        except CliError as error:
            raise CliError(f"{error}{_why_cluster(old, new)}", error.code) from None
    (before, _), (after, policy) = compared
    policy = replace(policy, mode=mode) if mode else policy
    judged = Judged(before.pin, after.pin, policy, changes(before, after), version_warning(before, after))
    _show(place.printer, judged)
    return judged.code


def _mode(written: str) -> str:
    """The mode in its own spelling, empty where none was given."""
    found = next((mode for mode in MODES if mode.lower() == written.lower()), "")
    if written and not found:
        raise CliError(f"--mode {written} is none of {', '.join(MODES)}")
    return found


def version_warning(old: Revision, new: Revision) -> str:
    """What is wrong with the new version number; empty where it was raised, or nothing was changed."""
    before, after = old.document.version, new.document.version
    if old.name != new.name or old.digest == new.digest:
        return ""
    if before == after:
        return (
            f"The version is still {after}, but the content is another: raise it. The cluster refuses new content "
            "under a version that it has accepted (VersionReused)."
        )
    first, last = _NUMBERS.fullmatch(before), _NUMBERS.fullmatch(after)
    if first is None or last is None or _order(last[1]) > _order(first[1]):
        return ""
    return f"The version goes down from {before} to {after}: give the new contract a higher one."


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


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
    """The changes under a policy. ``old`` and ``new``: NAME@DIGEST. ``warning``: of the version number, else empty."""

    old: str
    new: str
    policy: Policy
    changes: tuple[Change, ...]
    warning: str = ""

    def breaking(self, change: Change) -> bool:
        """Whether the policy forbids it."""
        from weir.contract.compare import is_widening

        if self.policy.widening and is_widening(change):
            return False
        return bool(self._guarded(change))

    def _guarded(self, change: Change) -> set[str]:
        """Whom it breaks of those that the mode guards."""
        wanted = {"Forward": {"consumers"}, "Backward": {"producers"}, "Full": {"consumers", "producers"}}
        return wanted.get(self.policy.mode.removesuffix("Transitive"), set()) & set(_BREAKS.get(change.direction, ()))

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
            return f"{self._counted(broken)} (mode {self.policy.mode})."
        if self.code == WAITS:
            return (
                f"Nothing is known to break (mode {self.policy.mode}), but a change cannot be judged: people have to."
            )
        if permitted := [change for change in self.changes if _BREAKS.get(change.direction)]:
            allowed = " with `allow: [Widening]`" if any(map(self._guarded, permitted)) else ""
            return f"{self._counted(permitted)}, which the mode {self.policy.mode}{allowed} permits."
        return f"Nothing breaks (mode {self.policy.mode})."

    def _counted(self, breaking: Sequence[Change]) -> str:
        whom = " and ".join(whom_broken(breaking))
        if len(self.changes) == 1:
            return f"The change breaks {whom}"
        return f"{len(breaking)} of {len(self.changes)} changes {'breaks' if len(breaking) == 1 else 'break'} {whom}"

    @property
    def advice(self) -> list[str]:
        """Who is meant, and the way out."""
        broken = [change for change in self.changes if self.breaking(change)]
        whom = whom_broken(self.changes)
        told = [_WHO[one] for one in whom]
        if broken:
            told += [f"Way out: {_WAYS_OUT[one]}." for one in whom_broken(broken)]
        elif "producers" in whom and self.code != WAITS:
            told.append("Tell the producers before you apply it: data that they write may fail the next check.")
        if self.code:
            told.append(_ACCEPT)
        return told

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "old": self.old,
            "new": self.new,
            "mode": self.policy.mode,
            "verdict": {0: "Compatible", REFUSED: "Breaking", WAITS: "Undetermined"}[self.code],
            "message": self.verdict,
            "warnings": [self.warning] if self.warning else [],
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


def whom_broken(changes: Iterable[Change]) -> list[str]:
    """Whom the changes can break, in the order of the alphabet."""
    return sorted({whom for change in changes for whom in _BREAKS.get(change.direction, ())})


def is_file(text: str) -> bool:
    """Whether it names a file rather than a contract of the cluster."""
    return text == "-" or "/" in text or text.endswith((".yaml", ".yml", ".json")) or Path(text).is_file()


def _why_cluster(*texts: str) -> str:
    """Why the cluster was asked, for who meant a file; goes behind an error."""
    names = [text for text in texts if not is_file(text) and "@" not in text]
    told = [f"{name} is a folder here" if Path(name).is_dir() else f"there is no file {name} here" for name in names]
    return f" ({' and '.join(told)}, so the cluster was asked; for a file, give its name)" if told else ""


def _from_file(text: str, name: str) -> tuple[Revision, Policy]:
    from weir.cli.contract_file import read

    found = read(text, name)
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
    if judged.warning:
        parts.append(Text(judged.warning, style="yellow"))
    if judged.changes:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for column in ("BREAKS", "DIRECTION", "PATH", "RULE", "OLD", "NEW"):
            table.add_column(column, overflow="fold")
        for change in judged.changes:
            whom = ", ".join(_BREAKS.get(change.direction, ())) or "-"
            mark = whom if judged.breaking(change) else f"({whom})" if whom != "-" else whom
            direction = _DIRECTIONS.get(change.direction, change.direction)
            cells = (mark, direction, change.path, change.rule, change.old or "-", change.new or "-")
            table.add_row(*cells, style="red" if judged.breaking(change) else None)
        parts += [Text(""), table]
        told = [f"Cannot be judged, so people have to: {c.message}" for c in judged.changes if judged.undecided(c)]
        if any(_BREAKS.get(c.direction) and not judged.breaking(c) for c in judged.changes):
            told.append("In brackets: whom it can break, which the mode (or `allow`) permits.")
        told += judged.advice
        parts += [Text(""), *map(Text, told)] if told else []
    printer.show(Group(*parts))
