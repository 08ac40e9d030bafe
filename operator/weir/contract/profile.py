"""Profiles: what the distributions of a table looked like, small enough to be kept in an object.

JSON, at most 100 KB: ``{"version": 1, "contract": "sha256:…", "tables": {TABLE: {"rows": N, "columns": {COLUMN:
{"nulls": N, "distinct": N, "edges": ["0.5", …], "counts": [N, …], "top": [["value", N], …], "other": N}}}},
"dropped": ["…", …]}``. Parts that are empty are left out.

A numeric column has ``edges`` (rising, K-1 of them) and K ``counts``: up to the first edge (inclusive), between, above
the last, as a Prometheus histogram with ``le`` = edge counts them. Dates and timestamps are numbers of seconds since
1970. Others have ``top`` values and the count of all ``other``. Nulls are a bin of their own; NaN is a null.

Nothing but edges and top values comes from the rows themselves. Edges are quantiles: the least or greatest value is one
only where many rows share it. A column with a classification has no top values (only nulls and all ``other``), and its
edges are rounded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import pairwise
from math import isfinite
from typing import Any

import rfc8785

from weir.api.contractcheck import PROFILE_BYTES

VERSION = 1
NULL = "null"
OTHER = "other"
MAX_BINS = 200
"""Most bins of a number, besides the null bin."""

_NAMED = 5
"""Columns that a note names; the others are counted."""


class ProfileError(ValueError):
    """The text is not a profile; the message says where and why."""


@dataclass(frozen=True)
class BinCounts:
    """Rows in each bin of a reference column, in its order; the last bin is null."""

    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        """All rows."""
        return sum(self.counts)

    def __add__(self, other: BinCounts) -> BinCounts:
        """Rows of both; ValueError for other bins."""
        return BinCounts(tuple(a + b for a, b in zip(self.counts, other.counts, strict=True)))


@dataclass(frozen=True)
class ColumnProfile:
    """Rows of one column by bin. ``counts`` is empty for what is no number; ``distinct`` is None where not counted."""

    nulls: int = 0
    distinct: int | None = None
    edges: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    top: tuple[tuple[str, int], ...] = ()
    other: int = 0

    def __post_init__(self) -> None:
        if min((self.nulls, self.other, self.distinct or 0, *self.counts, *(n for _, n in self.top))) < 0:
            raise ProfileError("a count is negative")
        if bool(self.counts) != (len(self.counts) == len(self.edges) + 1):
            raise ProfileError(f"{len(self.edges)} edges need {len(self.edges) + 1} counts, not {len(self.counts)}")
        if self.counts and (self.top or self.other):
            raise ProfileError("a column has either bins or top values")
        bounds = self.bounds
        if not all(map(isfinite, bounds)) or any(a >= b for a, b in pairwise(bounds)):
            raise ProfileError("edges must be finite and rise")
        if len({value for value, _ in self.top}) < len(self.top):
            raise ProfileError("a top value is there twice")

    @property
    def numeric(self) -> bool:
        """Whether it has bins of numbers."""
        return bool(self.counts)

    @property
    def bounds(self) -> tuple[float, ...]:
        """The edges as numbers."""
        try:
            return tuple(float(edge) for edge in self.edges)
        except ValueError as error:
            raise ProfileError(f"an edge is no number: {error}") from None

    @property
    def bins(self) -> tuple[str, ...]:
        """What each bin holds, for people; null last."""
        if not self.numeric:
            return (*(f"'{value}'" for value, _ in self.top), OTHER, NULL)
        if not self.edges:
            return ("any number", NULL)
        shown = [f"{bound:.6g}" for bound in self.bounds]
        return (f"≤ {shown[0]}", *(f"{a}–{b}" for a, b in pairwise(shown)), f"> {shown[-1]}", NULL)

    @property
    def rows(self) -> BinCounts:
        """Rows of each bin, null last."""
        return BinCounts((*(self.counts or (*(n for _, n in self.top), self.other)), self.nulls))

    def binned_as(self, reference: ColumnProfile) -> BinCounts | None:
        """Rows in the bins of the reference; None where that cannot be told (other edges, or a number became text)."""
        if self.numeric != reference.numeric:
            return None
        if reference.numeric:
            return self._into(reference)
        known = dict(self.top)
        if self.other and any(value not in known for value, _ in reference.top):
            return None
        found = [known.pop(value, 0) for value, _ in reference.top]
        return BinCounts((*found, sum(known.values()) + self.other, self.nulls))

    def _into(self, reference: ColumnProfile) -> BinCounts | None:
        bounds, kept = self.bounds, reference.bounds
        if not set(kept) <= set(bounds):
            return None
        found, current = [], 0
        for bound, count in zip((*bounds, None), self.counts, strict=True):
            current += count
            if bound is None or bound in kept:
                found.append(current)
                current = 0
        return BinCounts((*found, self.nulls))

    def to_dict(self) -> dict[str, Any]:
        """As JSON; a column of numbers has ``counts`` even when all are zero."""
        found: dict[str, Any] = {"nulls": self.nulls}
        if self.distinct is not None:
            found["distinct"] = self.distinct
        if self.numeric:
            return found | {"edges": list(self.edges), "counts": list(self.counts)}
        return found | {"top": [[value, count] for value, count in self.top], "other": self.other}


@dataclass(frozen=True)
class TableProfile:
    """Rows of a table and the profiles of its columns, by the name of the property."""

    rows: int
    columns: Mapping[str, ColumnProfile] = field(default_factory=dict)


@dataclass(frozen=True)
class Profile:
    """Profiles of tables by name. ``contract``: digest of the revision whose data it is, empty where unknown.

    ``dropped`` says what was left out to fit.
    """

    tables: Mapping[str, TableProfile] = field(default_factory=dict)
    contract: str = ""
    dropped: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(table.rows for table in self.tables.values())

    @property
    def digest(self) -> str:
        """``sha256:…`` of the canonical JSON."""
        return "sha256:" + sha256(self._canonical()).hexdigest()

    def column(self, path: str) -> ColumnProfile | None:
        """The profile at ``TABLE.COLUMN``; None where there is none."""
        for name, table in self.tables.items():
            if path.startswith(name + ".") and (found := table.columns.get(path[len(name) + 1 :])) is not None:
                return found
        return None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        tables = {
            name: {"rows": table.rows, "columns": {column: p.to_dict() for column, p in table.columns.items()}}
            for name, table in self.tables.items()
        }
        more: dict[str, Any] = {"dropped": list(self.dropped)} if self.dropped else {}
        if self.contract:
            more["contract"] = self.contract
        return {"version": VERSION, "tables": tables, **more}

    def to_json(self, limit: int = PROFILE_BYTES) -> str:
        """Canonical JSON (RFC 8785) of at most ``limit`` bytes.

        To fit, top values go first, then every second edge, then columns; ``dropped`` says so.
        """
        return self.fitted(limit)._canonical().decode()

    def fitted(self, limit: int = PROFILE_BYTES) -> Profile:
        """The profile, with as much left out as is needed for its JSON to fit ``limit`` bytes."""
        found = self
        for narrow in (_fewer_top_values, _fewer_bins, _fewer_columns):
            while len(found._canonical()) > limit and (smaller := narrow(found)) is not None:
                found = smaller
        return found

    @classmethod
    def from_json(cls, text: str | bytes) -> Profile:
        """The profile in a text.

        Raises:
            ProfileError: it is none.
        """
        try:
            return cls.from_dict(json.loads(text))
        except ValueError as error:
            if isinstance(error, ProfileError):
                raise
            raise ProfileError(f"not JSON: {error}") from None

    @classmethod
    def from_dict(cls, data: Any) -> Profile:
        """The profile in parsed JSON; raises as ``from_json``."""
        if not isinstance(data, Mapping) or data.get("version") != VERSION:
            raise ProfileError(f"not a profile of version {VERSION}")
        try:
            tables = {str(name): _table(str(name), table) for name, table in data["tables"].items()}
            return cls(tables, str(data.get("contract", "")), tuple(str(note) for note in data.get("dropped", ())))
        except (AttributeError, KeyError, TypeError) as error:
            raise ProfileError(f"not a profile: {error!r} is missing or of another kind") from None

    def _canonical(self) -> bytes:
        return rfc8785.dumps(self.to_dict())


def _table(name: str, data: Mapping[str, Any]) -> TableProfile:
    return TableProfile(_count(data["rows"]), {str(c): _column(f"{name}.{c}", d) for c, d in data["columns"].items()})


def _column(path: str, data: Mapping[str, Any]) -> ColumnProfile:
    try:
        return ColumnProfile(
            nulls=_count(data.get("nulls", 0)),
            distinct=_count(data["distinct"]) if "distinct" in data else None,
            edges=tuple(str(edge) for edge in data.get("edges", ())),
            counts=tuple(_count(count) for count in data.get("counts", ())),
            top=tuple((str(value), _count(count)) for value, count in data.get("top", ())),
            other=_count(data.get("other", 0)),
        )
    except ValueError as error:
        raise ProfileError(f"{path}: {error}") from None


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ProfileError(f"{value!r} is no count")
    return value


# --- Making it fit ---------------------------------------------------------------------------------------------------


def _fewer_top_values(profile: Profile) -> Profile | None:
    most = max((len(c.top) for t in profile.tables.values() for c in t.columns.values()), default=0)
    if not most:
        return None
    keep = most // 2

    def narrow(column: ColumnProfile) -> ColumnProfile:
        cut = column.top[keep:]
        return replace(column, top=column.top[:keep], other=column.other + sum(n for _, n in cut)) if cut else column

    return _narrowed(profile, narrow, "top values", f"top values beyond the first {keep} of each column")


def _fewer_bins(profile: Profile) -> Profile | None:
    most = max((len(c.edges) for t in profile.tables.values() for c in t.columns.values()), default=0)
    if most < 2:
        return None

    def narrow(column: ColumnProfile) -> ColumnProfile:
        if 2 * len(column.edges) <= most:
            return column
        halved = replace(column, edges=column.edges[1::2], counts=(0,) * (len(column.edges) // 2 + 1))
        merged = column.binned_as(halved)
        assert merged is not None
        return replace(halved, counts=merged.counts[:-1])

    return _narrowed(profile, narrow, "bins", f"bins: at most {most // 2 + 1} of each number are left")


def _fewer_columns(profile: Profile) -> Profile | None:
    paths = [(name, column) for name, table in profile.tables.items() for column in table.columns]
    if not paths:
        return None
    earlier = [note for note in profile.dropped if note.startswith("columns: ")]
    gone = paths[-max(1, len(paths) // 8) :]
    named = [f"{name}.{column}" for name, column in gone] + [p for note in earlier for p in _paths(note)]
    count = len(gone) + sum(_number(note) for note in earlier)
    note = f"columns: {count}, such as {', '.join(named[:_NAMED])}"
    tables = {
        name: replace(table, columns={c: p for c, p in table.columns.items() if (name, c) not in gone})
        for name, table in profile.tables.items()
    }
    return replace(profile, tables=tables, dropped=_noted(profile.dropped, "columns", note))


def _paths(note: str) -> Sequence[str]:
    return note.split(", such as ", 1)[-1].split(", ")


def _number(note: str) -> int:
    return int(note.removeprefix("columns: ").split(",", 1)[0])


def _narrowed(profile: Profile, narrow: Callable[[ColumnProfile], ColumnProfile], what: str, note: str) -> Profile:
    tables = {
        name: replace(table, columns={column: narrow(p) for column, p in table.columns.items()})
        for name, table in profile.tables.items()
    }
    return replace(profile, tables=tables, dropped=_noted(profile.dropped, what, note))


def _noted(dropped: Sequence[str], what: str, note: str) -> tuple[str, ...]:
    """A later note about the same thing replaces the earlier one."""
    return (*(old for old in dropped if not old.startswith(what)), note)
