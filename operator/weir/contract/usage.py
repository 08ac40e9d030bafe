"""What a version sees of a contract: the properties that it uses, in the environment in which it serves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from weir.contract.compare import COLUMN, FRESHNESS, REQUIRED, RETENTION, TABLE, changes
from weir.contract.finding import Change
from weir.contract.model import Document
from weir.contract.revision import Bound, Contract, Revision

SERVING, TRAINING = "serving", "training"
"""Names of the environments whose ``exclude`` counts here."""

Contracts = Mapping[str, Contract]


def sources(version: Bound) -> tuple[str, ...]:
    """Names of the contracts that feed the version."""
    return version.served_from or tuple(dict.fromkeys(revision.name for revision in version.trained_on))


def is_input(contract: Contract | None) -> bool:
    """Whether the contract describes more than labels and predictions, which no version reads while it serves."""
    return contract is None or not set(contract.spec.roles) <= {"Label", "Prediction"}


def described(document: Document) -> frozenset[str]:
    """Paths of all tables and columns."""
    return frozenset((*(table.name for table in document.tables), *(path for path, _ in document.paths())))


def served(version: Bound, trained: Revision, contracts: Contracts) -> Iterator[tuple[Revision, list[Change]]]:
    """The revisions that feed what the trained one describes, each with the changes that the version sees.

    A table comes from the contract of the same name where that feeds the version, else from the first that has it. One
    that no contract has is missing from the contract of the same name, or from the first where all of them are known.
    """
    named = sorted(sources(version), key=lambda name: (name != trained.name, name))
    current = [c.current for name in named if (c := contracts.get(name)) is not None and c.current is not None]
    whole = len(current) == len(named) or any(revision.name == trained.name for revision in current)
    feeds: dict[str, list[str]] = {}
    for table in trained.document.tables:
        source = next((r.name for r in current if r.document.table(table.name) is not None), None)
        if source is None and current and whole:
            source = current[0].name
        if source is not None:
            feeds.setdefault(source, []).append(table.name)
    for revision in current:
        tables = feeds.get(revision.name)
        if tables:
            found = seen(version, trained, revision, contracts)
            yield revision, [change for change in found if any(within(change.path, table) for table in tables)]


def seen(version: Bound, trained: Revision, served_from: Revision, contracts: Contracts) -> list[Change]:
    """The changes from the trained to the served revision that touch what the version reads while it serves."""
    uses = Paths(version.uses)
    gone = _excluded(contracts.get(served_from.name), SERVING)
    labels = (gone | _excluded(contracts.get(trained.name), SERVING)) - {path for path in gone if uses.touch(path)}
    ignored = Paths(labels | _excluded(contracts.get(trained.name), TRAINING))
    tables = Paths(table.name for table in trained.document.tables)
    found = [
        change
        for change in changes(trained, served_from)
        if not ignored.hold(change.path) and (not version.uses or uses.touch(_about(change, tables)))
    ]
    known = {change.path for change in found}
    for path in sorted((gone - known) & described(trained.document)):
        if not ignored.hold(path):
            absent = f"{path}: absent in the environment {SERVING}"
            found.append(Change(COLUMN, path, "loosens", "present", "", absent))
    return found


def imputed(version: Bound, trained: Revision, change: Change) -> bool:
    """Whether the version has a default for all that the change takes away, or lets be null."""
    if change.rule not in (TABLE, COLUMN, REQUIRED) or change.direction != "loosens" or not version.imputed:
        return False
    uses, defaults = Paths(version.uses), Paths(version.imputed)
    taken = [path for path, _ in trained.document.paths() if within(path, change.path)]
    used = [path for path in taken if not version.uses or uses.touch(path)] or [change.path]
    # A column with members stands for them: it is enough to have a default for each.
    leaves = [path for path in used if not any(within(other, path) for other in used if other != path)]
    return all(defaults.hold(path) for path in leaves)


def within(path: str, outer: str) -> bool:
    """Whether a path is another one, or something inside of it."""
    return path == outer or path.startswith((f"{outer}.", f"{outer}["))


class Paths:
    """A set of paths that knows what is inside of them and around them."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = frozenset(paths)
        self._around = frozenset(outer for path in self._paths for outer in _around(path))

    def hold(self, path: str) -> bool:
        """Whether the path is one of them, or inside of one."""
        return self.holder(path) is not None

    def holder(self, path: str) -> str | None:
        """The innermost one that is the path, or around it."""
        return next((outer for outer in _around(path) if outer in self._paths), None)

    def touch(self, path: str) -> bool:
        """Whether the path is one of them, inside of one or around one."""
        return path in self._around or self.hold(path)


def _around(path: str) -> Iterator[str]:
    """The path itself and all that it may be inside of; names may have dots themselves."""
    yield path
    for at in range(len(path) - 1, 0, -1):
        if path[at] in ".[":
            yield path[:at]


def _about(change: Change, tables: Paths) -> str:
    """What a change is about: the age of one column says how old all columns of its table are."""
    aged = tables.holder(change.path) if change.rule in (FRESHNESS, RETENTION) else None
    return aged or change.path


def _excluded(contract: Contract | None, environment: str) -> frozenset[str]:
    environments = contract.spec.environments or () if contract is not None else ()
    return frozenset(path for e in environments if e.name == environment for path in e.exclude or ())
