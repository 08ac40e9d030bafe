"""Whether what a DataContract says of its document is true of that document."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from difflib import get_close_matches
from itertools import product

from cronsim import CronSim, CronSimError

from weir.api.datacontract import DataContractSpec
from weir.contract.cel import RuleError
from weir.contract.document import Path
from weir.contract.enums import misfits
from weir.contract.metricrules import COLUMN_METRICS, TABLE_METRICS, compiled, is_number, metric_paths
from weir.contract.model import Column, Document

_NO_DISTRIBUTION = frozenset({"object", "array", "map", "vector"})
_NO_TIME = _NO_DISTRIBUTION | {"boolean"}
_ALIKE = 0.85
"""How much two names must resemble each other; all properties of an object begin alike."""
_SHOWN = 8
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
"""Texts of this form sort as the dates that they name."""
_ANY_TIME = datetime(2026, 1, 1, tzinfo=UTC)
"""Reading a cron line asks for a start; which one makes no difference to whether it can be read."""


@dataclass(frozen=True)
class Inconsistency:
    """A field of the object (``at``, from ``spec`` on) that contradicts the document or another field."""

    path: str
    at: Path
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" + (f" ({self.hint})" if self.hint else "")


def inconsistencies(spec: DataContractSpec, document: Document) -> tuple[str, ...]:
    """Why the object is not accepted although its document is: field, what is wrong, way out. Empty when consistent."""
    return tuple(str(found) for found in contradictions(spec, document))


def contradictions(spec: DataContractSpec, document: Document) -> Iterator[Inconsistency]:
    """The same for programs, in the order of the spec."""
    columns = dict(document.paths())
    yield from _twice(document)
    yield from (Inconsistency(*found) for found in misfits(document))
    yield from _properties(spec, columns)
    yield from _objects(spec, document)
    yield from _odcs_servers(spec, document)
    yield from _servers(spec)
    yield from _bounds(document)
    yield from _rules(spec, document)
    yield from _cron(spec)


def _twice(document: Document) -> Iterator[Inconsistency]:
    """Names that stand for two things: nobody could say which one a rule or a verdict is about."""
    named: list[tuple[str, Iterable[str]]] = [
        ("spec.odcs.schema", (table.name for table in document.tables)),
        ("spec.odcs.servers", (server.name for server in document.servers)),
    ]
    named += [
        (f"spec.odcs.schema[{table.name}].properties", (column.name for column in table.columns))
        for table in document.tables
    ]
    for path, names in named:
        for name, count in Counter(names).items():
            if count > 1:
                at: Path = ("spec", "odcs", "servers" if path.endswith("servers") else "schema")
                yield Inconsistency(path, at, f"the name {name!r} is there {count} times", "give each its own name")


def _properties(spec: DataContractSpec, columns: dict[str, Column]) -> Iterator[Inconsistency]:
    for path, at, name in _named_properties(spec):
        column = columns.get(name)
        if column is None:
            hint = _nearest(name, columns, "write OBJECT.PROPERTY as in the document")
            yield Inconsistency(path, at, f"the document describes no property {name!r}", hint)
        elif at[1] == "freshness" and column.logical_type in _NO_TIME:
            message = f"{name!r} is of the logical type {column.logical_type}, which has no time"
            yield Inconsistency(path, at, message, "name a property of type timestamp or date")
        elif at[1] in ("drift", "parity") and column.logical_type in _NO_DISTRIBUTION:
            message = f"{name!r} is of the logical type {column.logical_type}, which has no distribution"
            yield Inconsistency(path, at, message, "name a property that holds single values")


def _named_properties(spec: DataContractSpec) -> Iterator[tuple[str, Path, str]]:
    """Every property (OBJECT.PROPERTY) that the spec names: path for people, path for programs, name."""
    for number, environment in enumerate(spec.environments or ()):
        for place, name in enumerate(environment.exclude or ()):
            at: Path = ("spec", "environments", number, "exclude", place)
            yield f"spec.environments[{environment.name}].exclude", at, name
    if spec.freshness is not None:
        yield "spec.freshness.element", ("spec", "freshness", "element"), spec.freshness.element
    for number, drift in enumerate(spec.drift or ()):
        yield f"spec.drift[{drift.name}].property", ("spec", "drift", number, "property"), drift.property
    for number, bound in enumerate((spec.parity.profile or ()) if spec.parity is not None else ()):
        at = ("spec", "parity", "profile", number, "property")
        yield f"spec.parity.profile[{bound.property}].property", at, bound.property
    for number, entry in enumerate(spec.semantics or ()):
        for key, named in (
            ("property", entry.property),
            ("eventTime", entry.event_time),
            ("availableAt", entry.available_at),
        ):
            if named is not None:
                yield f"spec.semantics[{entry.property}].{key}", ("spec", "semantics", number, key), named


def _objects(spec: DataContractSpec, document: Document) -> Iterator[Inconsistency]:
    """Objects (tables), and properties that are named without their object."""
    named: list[tuple[str, Path, str, dict[str, list[str]]]] = []
    replay = spec.parity.row_replay if spec.parity is not None else None
    if replay is not None:
        keys = {"joinKey": list(replay.join_key), "properties": list(replay.properties or ())}
        named.append(("spec.parity.rowReplay", ("spec", "parity", "rowReplay"), replay.object, keys))
    for number, leakage in enumerate(spec.leakage or ()):
        at: Path = ("spec", "leakage", number)
        named.append((f"spec.leakage[{leakage.name}]", at, leakage.object, {"key": list(leakage.key or ())}))
    for path, at, name, fields in named:
        table = document.table(name)
        if table is None:
            hint = _nearest(name, [table.name for table in document.tables], "name an entry of the document's `schema`")
            yield Inconsistency(f"{path}.object", (*at, "object"), f"the document describes no object {name!r}", hint)
            continue
        known = [column.name for column in table.columns]
        for key, properties in fields.items():
            for place, wanted in enumerate(properties):
                if wanted not in known:
                    hint = _nearest(wanted, known, "name a property of it")
                    message = f"object {name!r} of the document has no property {wanted!r}"
                    yield Inconsistency(f"{path}.{key}", (*at, key, place), message, hint)


def _odcs_servers(spec: DataContractSpec, document: Document) -> Iterator[Inconsistency]:
    declared = [server.name for server in document.servers]
    for number, server in enumerate(spec.servers or ()):
        if server.odcs_server not in declared:
            path, at = f"spec.servers[{server.name}].odcsServer", ("spec", "servers", number, "odcsServer")
            hint = _nearest(server.odcs_server, declared, "name an entry of the document's `servers`")
            yield Inconsistency(path, at, f"the document has no server {server.odcs_server!r}", hint)


def _servers(spec: DataContractSpec) -> Iterator[Inconsistency]:
    """Names of servers that parts of the spec use."""
    declared = [server.name for server in spec.servers or ()]
    named: list[tuple[str, Path, str]] = []
    if spec.reference is not None and spec.reference.server is not None:
        named.append(("spec.reference.server", ("spec", "reference", "server"), spec.reference.server))
    if spec.parity is not None:
        named.append(("spec.parity.training", ("spec", "parity", "training"), spec.parity.training))
        named.append(("spec.parity.serving", ("spec", "parity", "serving"), spec.parity.serving))
    for number, leakage in enumerate(spec.leakage or ()):
        for key, name in (("training", leakage.training), ("other", leakage.other)):
            named.append((f"spec.leakage[{leakage.name}].{key}", ("spec", "leakage", number, key), name))
    for path, at, name in named:
        if name not in declared:
            yield Inconsistency(
                path, at, f"`spec.servers` has no server {name!r}", _nearest(name, declared, "add it there")
            )


def _bounds(document: Document) -> Iterator[Inconsistency]:
    """Limits that no value keeps."""
    for path, column in document.paths():
        at: Path = ("spec", "odcs", "schema", *_position(document, path))
        for (low, lower), (high, upper) in product(
            (("minimum", column.minimum), ("exclusiveMinimum", column.exclusive_minimum)),
            (("maximum", column.maximum), ("exclusiveMaximum", column.exclusive_maximum)),
        ):
            if _above(lower, upper, equal=low != "minimum" or high != "maximum"):
                yield _no_value(path, at, (low, lower), (high, upper))
        for low, least, high, most in (
            ("minLength", column.min_length, "maxLength", column.max_length),
            ("minItems", column.min_items, "maxItems", column.max_items),
        ):
            if least is not None and most is not None and least > most:
                yield _no_value(path, at, (low, least), (high, most))


def _above(lower: Decimal | str | None, upper: Decimal | str | None, *, equal: bool) -> bool:
    """Whether one is above the other, or with ``equal`` the same; texts only where both are dates of one form."""
    if isinstance(lower, Decimal) and isinstance(upper, Decimal):
        return lower > upper or (equal and lower == upper)
    if isinstance(lower, str) and isinstance(upper, str) and _DATE.fullmatch(lower) and _DATE.fullmatch(upper):
        return lower > upper or (equal and lower == upper)
    return False


def _no_value(path: str, at: Path, low: tuple[str, object], high: tuple[str, object]) -> Inconsistency:
    message = f"no value of {path} can keep {low[0]} {low[1]} and {high[0]} {high[1]}"
    return Inconsistency(f"spec.odcs.schema[{path}].{low[0]}", at, message, "correct one of the two")


def _position(document: Document, path: str) -> Path:
    """Where the table of that path, and its column at the top, are in the document."""
    for number, table in enumerate(document.tables):
        if path.startswith(f"{table.name}."):
            rest = path.removeprefix(f"{table.name}.")
            for place, column in enumerate(table.columns):
                if rest == column.name or rest.startswith(f"{column.name}."):
                    return (number, "properties", place)
    return ()


def _rules(spec: DataContractSpec, document: Document) -> Iterator[Inconsistency]:
    for number, rule in enumerate(spec.metric_rules or ()):
        at: Path = ("spec", "rules", number, "cel")
        path = f"spec.rules[{rule.name}].cel"
        try:
            compiled(rule.cel)
        except RuleError as error:
            yield Inconsistency(path, at, f"is no condition over `metrics`: {error}")
            continue
        if is_number(rule.cel):
            message = f"is no condition over `metrics`: {rule.cel} is a number"
            yield Inconsistency(path, at, message, f"compare it, as in {rule.cel} > 0")
            continue
        for names in dict.fromkeys(metric_paths(rule.cel)):
            wrong = _unmeasured(names, document)
            if wrong is not None:
                yield Inconsistency(path, at, *wrong)


def _unmeasured(names: tuple[str, ...], document: Document) -> tuple[str, str] | None:
    """Why no check measures ``metrics.OBJECT…``, and the way out; None where one may."""
    table = document.table(names[0])
    if table is None:
        tables = [table.name for table in document.tables]
        return f"the document describes no object {names[0]!r}", _near(names[0], tables, _listed(tables))
    if len(names) > 1 and names[1] not in (*TABLE_METRICS, *COLUMN_METRICS):
        known = (*TABLE_METRICS, *COLUMN_METRICS)
        return f"there is no metric {names[1]!r}", _near(names[1], known, f"metrics are {', '.join(known)}")
    if len(names) > 2 and names[1] in COLUMN_METRICS:
        inside = f"{table.name}."
        columns = [column.name for path, column in document.paths() if path.startswith(inside)]
        if names[2] not in columns:
            message = f"object {table.name!r} of the document has no property {names[2]!r}"
            return message, _near(names[2], columns, _listed(columns))
    return None


def _near(name: str, known: Iterable[str], otherwise: str) -> str:
    """Short names resemble each other less than paths do."""
    return _nearest(name, known, otherwise, cutoff=0.6)


def _listed(names: Sequence[str]) -> str:
    return f"there are {', '.join(names[:_SHOWN])}" if names else "describe it in the document"


def _cron(spec: DataContractSpec) -> Iterator[Inconsistency]:
    if spec.schedule.cron is None:
        return
    try:
        CronSim(spec.schedule.cron, _ANY_TIME)
    except CronSimError as error:
        message = f"{spec.schedule.cron!r} cannot be read: {error}"
        yield Inconsistency("spec.schedule.cron", ("spec", "schedule", "cron"), message, "write '0 * * * *' for hourly")


def _nearest(name: str, known: Iterable[str], otherwise: str, cutoff: float = _ALIKE) -> str:
    close = get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f"did you mean {close[0]}?" if close else otherwise
