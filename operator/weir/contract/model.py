"""The parts of an Open Data Contract Standard document that Weir reads, as frozen values.

Names are those of the standard (v3.2). What is not here (prices, teams, support, …) is kept in the object but says
nothing about which rows are permitted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

LogicalType = Literal[
    "string", "date", "timestamp", "time", "number", "integer", "object", "array", "boolean", "map", "vector"
]
Scalar = str | int | Decimal | bool


@dataclass(frozen=True)
class Comparison:
    """One operator of a quality rule, such as ``mustBeLessThan`` 5; ``mustBeBetween`` has two values, both excluded."""

    operator: str
    values: tuple[Decimal, ...]


@dataclass(frozen=True)
class Quality:
    """A quality rule of a table or a column.

    ``kind``: library, sql, text or custom. ``unit``: rows or percent (of library metrics). ``severity``: as written;
    ``info``, ``warning``, ``low``, ``minor`` and ``trivial`` make a failure a warning. ``engine`` and
    ``implementation`` belong to custom rules, ``query`` to sql rules, ``metric`` and ``arguments`` to library rules.
    """

    kind: Literal["library", "sql", "text", "custom"]
    name: str = ""
    metric: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    query: str = ""
    comparisons: tuple[Comparison, ...] = ()
    unit: Literal["rows", "percent"] = "rows"
    dimension: str = ""
    severity: str = ""
    engine: str = ""
    implementation: Any = None
    description: str = field(default="", compare=False)
    """Words for people."""


@dataclass(frozen=True)
class Column:
    """One property. Absent limits are None; ``options`` holds what of ``logicalTypeOptions`` has no field of its own.

    ``minimum`` and ``maximum`` are numbers, or ISO dates and times as strings. ``enum``: permitted values, empty for
    all. ``items`` describes the elements of an array, ``properties`` the members of an object.
    """

    name: str
    physical_name: str = ""
    logical_type: LogicalType | None = None
    physical_type: str = ""
    required: bool = False
    unique: bool = False
    primary_key: bool = False
    primary_key_position: int = -1
    classification: str = ""
    minimum: Decimal | str | None = None
    exclusive_minimum: Decimal | str | None = None
    maximum: Decimal | str | None = None
    exclusive_maximum: Decimal | str | None = None
    multiple_of: Decimal | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    format: str | None = None
    min_items: int | None = None
    max_items: int | None = None
    unique_items: bool = False
    enum: tuple[Scalar, ...] = ()
    dimensions: int | None = None
    element_type: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    quality: tuple[Quality, ...] = ()
    items: Column | None = None
    properties: tuple[Column, ...] = ()

    @property
    def physical(self) -> str:
        """Name of the column in the data."""
        return self.physical_name or self.name


@dataclass(frozen=True)
class Table:
    """One object of the schema: a table, view, topic or file."""

    name: str
    physical_name: str = ""
    physical_type: str = ""
    columns: tuple[Column, ...] = ()
    quality: tuple[Quality, ...] = ()

    @property
    def physical(self) -> str:
        """Name of the table or file in the data."""
        return self.physical_name or self.name

    def column(self, name: str) -> Column | None:
        """The top-level column of that name, None where there is none."""
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True)
class Sla:
    """One service-level property, such as latency of 4 hours measured on an element (OBJECT.PROPERTY)."""

    property: str
    value: Any = None
    unit: str = ""
    element: str = ""


@dataclass(frozen=True)
class OdcsServer:
    """A server of the document: its name, type (local, s3, postgres, …) and the other fields as they are."""

    name: str
    type: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Document:
    """A data contract as far as it says which data is permitted and where it is."""

    id: str
    version: str
    standard: str
    name: str = ""
    status: str = ""
    tables: tuple[Table, ...] = ()
    servers: tuple[OdcsServer, ...] = ()
    slas: tuple[Sla, ...] = ()

    def table(self, name: str) -> Table | None:
        """The table of that name, None where there is none."""
        return next((table for table in self.tables if table.name == name), None)

    def column(self, path: str) -> Column | None:
        """The column at ``TABLE.COLUMN`` (nested: ``TABLE.COLUMN.MEMBER``), None where there is none."""
        return dict(self.paths()).get(path)

    def paths(self) -> Iterator[tuple[str, Column]]:
        """Every column with its path, members of objects and elements of arrays of objects included."""

        def walk(prefix: str, columns: tuple[Column, ...]) -> Iterator[tuple[str, Column]]:
            for column in columns:
                path = f"{prefix}.{column.name}"
                yield path, column
                yield from walk(path, column.properties)
                if column.items is not None:
                    yield from walk(path, column.items.properties)

        for table in self.tables:
            yield from walk(table.name, table.columns)
