"""What a model says of its own inputs and outputs, beside what its contracts declare.

Two sources: the metadata of a model server (Open Inference Protocol v2, ``GET /v2/models/NAME``) and the signature in
an ``MLmodel`` file (MLflow), which :func:`mlmodel_signature` brings into the shape of the former. A column is a tensor
of its own name; or all columns, numbers each, are the last dimension of a single tensor. A contract that leaves open
what the model fixes is told as a warning, since nothing is wrong yet.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from weir.contract.finding import Finding
from weir.contract.model import Column, Table
from weir.contract.revision import Revision

Side = Literal["inputs", "outputs"]

_INTEGERS = {
    **{f"INT{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": (0, 2**bits - 1) for bits in (8, 16, 32, 64)},
}
_REALS = frozenset({"FP16", "FP32", "FP64", "BF16"})
_TEXTS = frozenset({"BYTES", "STRING"})
_NUMBERS = frozenset({*_INTEGERS, *_REALS})

# Which datatypes may stand for a column of a logical type: what a model takes may be wider than the contract, what it
# answers must not be. A type that is not named here says nothing.
_IN: Mapping[str, frozenset[str]] = {
    "string": _TEXTS,
    "date": _TEXTS | {"DATETIME"},
    "timestamp": _TEXTS | {"DATETIME"},
    "time": _TEXTS | {"DATETIME"},
    "number": _REALS,
    "integer": _NUMBERS,
    "boolean": frozenset({"BOOL"}),
    "object": _TEXTS | {"OBJECT"},
    "map": _TEXTS | {"OBJECT"},
    "vector": _NUMBERS | {"BOOL"},
}
_OUT = {**_IN, "number": _NUMBERS, "integer": frozenset(_INTEGERS)}

_ELEMENTS = {
    "bfloat16": "BF16",
    "binary": "BOOL",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "int8": "INT8",
    "uint8": "UINT8",
}
_COLUMN_TYPES = {
    "boolean": "BOOL",
    "integer": "INT32",
    "long": "INT64",
    "float": "FP32",
    "double": "FP64",
    "string": "BYTES",
    "binary": "BYTES",
    "datetime": "DATETIME",
    "object": "OBJECT",
    "map": "OBJECT",
}
_NUMPY = {"bool": "BOOL", "float16": "FP16", "float32": "FP32", "float64": "FP64", "str": "BYTES", "object": "BYTES"}


class SignatureError(ValueError):
    """An MLmodel file says nothing that can be compared; the message tells the way out."""


@dataclass(frozen=True)
class _Tensor:
    """One input or output. ``values``: how many numbers a row has, None where the model leaves it open.

    ``required``: whether a request must have it, None where the model does not say.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    required: bool | None = None

    @property
    def values(self) -> int | None:
        sizes = self.shape[1:] if len(self.shape) > 1 else ()
        total = 1
        for size in sizes:
            if size < 0:
                return None
            total *= size
        return total

    @property
    def last(self) -> int | None:
        """Size of the last dimension; None where it is open."""
        return self.shape[-1] if self.shape and self.shape[-1] >= 0 else None

    def __str__(self) -> str:
        shape = f" {list(self.shape)}" if self.shape else ""
        return f"{self.datatype or 'any type'}{shape}"


@dataclass(frozen=True)
class _Asked:
    """What one contract is compared with."""

    revision: Revision
    side: Side

    def finding(self, change: str, path: str, message: str, *, open_question: bool = False) -> Finding:
        """``open_question``: the contract leaves something open, so it only warns."""
        return Finding(
            contract=self.revision.name,
            rule="Metadata",
            judgement="Unknown" if open_question else "Fail",
            effect="Warn" if open_question else "BlockPromotion",
            message=f"contract {self.revision.name}, {path}: {message}",
            change=change,
            path=path,
        )


def metadata_findings(
    metadata: Mapping[str, Any], request: Revision | None, response: Revision | None
) -> tuple[Finding, ...]:
    """Where the model and the declared requests and answers do not fit; empty where they do.

    Args:
        metadata: ``inputs`` and ``outputs`` with name, datatype and shape (-1: any size; the first is the batch).
        request: what clients send; None where nothing is declared.
        response: what clients get.

    Every finding has the rule ``Metadata``, the path of the column, and a message that says what both sides say and
    the way out. A column that is declared but not read by the model is fine, as is an output that is not declared.
    """
    found: list[Finding] = []
    if request is not None:
        found += _compared(metadata, _Asked(request, "inputs"))
    if response is not None:
        found += _compared(metadata, _Asked(response, "outputs"))
    return tuple(found)


def _compared(metadata: Mapping[str, Any], asked: _Asked) -> Iterator[Finding]:
    tensors = _tensors(metadata.get(asked.side))
    columns = {f"{table.name}.{c.name}": c for table in asked.revision.document.tables for c in table.columns}
    if not columns:
        return
    if not tensors:
        where = asked.revision.document.tables[0].name
        message = (
            f"the model's metadata names no {asked.side}, so they cannot be compared; let the server publish them "
            "(GET /v2/models/NAME), or compare the MLmodel file with `kubectl weir contract check --mlmodel`"
        )
        yield asked.finding("metadataMissing", where, message, open_question=True)
        return
    stacked = _stacked(asked.revision.document.tables, tensors)
    if stacked is not None:
        yield from _matrix(asked, *stacked)
        return
    matched: set[str] = set()
    for tensor in tensors:
        path = _column_of(columns, tensor, len(tensors))
        if path is not None:
            matched.add(path)
            yield from _one(asked, path, columns[path], tensor)
        elif asked.side == "inputs" and tensor.required is not False:
            yield _undeclared(asked, columns, tensor)
    if asked.side == "outputs":
        yield from _unanswered(asked, columns, tensors, matched)


def _undeclared(asked: _Asked, columns: Mapping[str, Column], tensor: _Tensor) -> Finding:
    path = f"{asked.revision.document.tables[0].name}.{tensor.name or '(unnamed)'}"
    message = (
        f"the model needs the input {tensor.name or '(unnamed)'!r} ({tensor}), which the contract does not declare "
        f"(it has {_some(columns)}); add the property to the contract, or release a model that does not need it"
    )
    return asked.finding("metadataPropertyMissing", path, message)


def _unanswered(
    asked: _Asked, columns: Mapping[str, Column], tensors: Sequence[_Tensor], matched: set[str]
) -> Iterator[Finding]:
    for path, column in columns.items():
        if path not in matched and (column.required or column.primary_key):
            answers = ", ".join(repr(t.name or "(unnamed)") for t in tensors[:5])
            message = (
                f"the contract promises it in every answer, but the model answers {answers}; release a model that "
                "answers it, or make the property not required in a new version of the contract"
            )
            yield asked.finding("metadataPropertyMissing", path, message)


def _column_of(columns: Mapping[str, Column], tensor: _Tensor, tensors: int) -> str | None:
    """Path of the column that a tensor is; a single tensor without a name is the only column."""
    if not tensor.name and tensors == len(columns) == 1:
        return next(iter(columns))
    return next((p for p, c in columns.items() if tensor.name and tensor.name in (c.name, c.physical)), None)


def _stacked(tables: Sequence[Table], tensors: Sequence[_Tensor]) -> tuple[Table, _Tensor] | None:
    """The table whose columns are the last dimension of the only tensor."""
    if len(tensors) != 1 or len(tensors[0].shape) != 2:
        return None
    tensor = tensors[0]
    for table in tables:
        flat = all(c.logical_type in ("number", "integer", "boolean", None) for c in table.columns)
        named = tensor.name in ("", table.name, table.physical) or len(table.columns) > 1
        if flat and named and all(tensor.name not in (c.name, c.physical) for c in table.columns):
            return table, tensor
    return None


def _matrix(asked: _Asked, table: Table, tensor: _Tensor) -> Iterator[Finding]:
    count, size = len(table.columns), tensor.last
    if size is not None and size != count:
        way_out = "declare the properties in the model's order, or release a model made for this contract"
        message = f"it has {count} properties, but a row of the model's {asked.side} has {size} values; {way_out}"
        yield asked.finding("metadataShapeChanged", table.name, message)
    for column in table.columns:
        yield from _typed(asked, f"{table.name}.{column.name}", column, tensor)


def _one(asked: _Asked, path: str, column: Column, tensor: _Tensor) -> Iterator[Finding]:
    element = column
    if column.logical_type == "array":
        if column.items is not None:
            element = column.items
        yield from _long(asked, path, column, tensor)
    elif column.logical_type == "vector":
        yield from _vector(asked, path, column, tensor)
    elif column.logical_type is not None and tensor.values not in (1, None):
        message = (
            f"the contract says one {column.logical_type} a row, the model {tensor.values} values ({tensor}); "
            "declare an array, or release a model that takes one value"
        )
        yield asked.finding("metadataShapeChanged", path, message)
    yield from _typed(asked, path, element, tensor)
    if asked.side == "inputs" and tensor.required and not (column.required or column.primary_key):
        message = (
            "the model needs it in every request, the contract does not require it; make the property required, or "
            "release a model that has a default for it"
        )
        yield asked.finding("metadataRequired", path, message)


def _typed(asked: _Asked, path: str, column: Column, tensor: _Tensor) -> Iterator[Finding]:
    fitting = (_IN if asked.side == "inputs" else _OUT).get(column.logical_type or "")
    if fitting is None or not tensor.datatype:
        return
    if tensor.datatype not in fitting:
        verb = "takes" if asked.side == "inputs" else "answers"
        message = (
            f"the contract says {column.logical_type}, the model {verb} {tensor.datatype}; change the property's "
            f"logicalType in a new version of the contract, or release a model that {verb} "
            f"{' or '.join(sorted(fitting))}"
        )
        yield asked.finding("metadataTypeChanged", path, message)
    elif asked.side == "inputs" and column.logical_type == "integer":
        yield from _beyond(asked, path, column, tensor)


def _beyond(asked: _Asked, path: str, column: Column, tensor: _Tensor) -> Iterator[Finding]:
    """Declared limits that the model's integer type cannot hold."""
    low, high = _INTEGERS.get(tensor.datatype, (None, None))
    if low is None or high is None:
        return
    for limit in (column.minimum, column.maximum):
        if isinstance(limit, Decimal) and not low <= limit <= high:
            message = (
                f"the contract permits {limit}, but the model takes {tensor.datatype}, which is {low} to {high}; "
                "narrow the property's limits, or release a model with a wider type"
            )
            yield asked.finding("metadataRangeChanged", path, message)


def _long(asked: _Asked, path: str, column: Column, tensor: _Tensor) -> Iterator[Finding]:
    size = tensor.values if len(tensor.shape) != 1 else tensor.last
    if size is None or len(tensor.shape) == 0:
        return
    low, high = column.min_items, column.max_items
    if low is None and high is None:
        message = (
            f"a row of the model has exactly {size} values, the contract does not say how many; add minItems and "
            f"maxItems {size} in a new version of the contract"
        )
        yield asked.finding("metadataShapeOpen", path, message, open_question=True)
    elif (low, high) != (size, size):
        permitted = f"{low if low is not None else 0} to {high if high is not None else 'any number of'} items"
        message = (
            f"the contract says {permitted}, a row of the model has exactly {size} values; say minItems and maxItems "
            f"{size} in a new version of the contract, or release a model made for it"
        )
        yield asked.finding("metadataShapeChanged", path, message)


def _vector(asked: _Asked, path: str, column: Column, tensor: _Tensor) -> Iterator[Finding]:
    size = tensor.last
    if size is not None and column.dimensions is not None and size != column.dimensions:
        message = (
            f"the contract says a vector of {column.dimensions} dimensions, the model {size}: embeddings of two models "
            "never mix; release a model made for this contract, or change `dimensions` in a new version of it"
        )
        yield asked.finding("metadataShapeChanged", path, message)
    wanted = _ELEMENTS.get(column.element_type)
    if wanted is not None and tensor.datatype and tensor.datatype != wanted:
        message = (
            f"the contract says elements of {column.element_type}, the model has {tensor.datatype}; change "
            "`elementType` in a new version of the contract, or release a model made for it"
        )
        yield asked.finding("metadataTypeChanged", path, message)


def _tensors(entries: Any) -> tuple[_Tensor, ...]:
    """What is readable of a list of tensors: a server's answer may hold anything."""
    found = []
    for entry in entries if isinstance(entries, list | tuple) else ():
        if isinstance(entry, Mapping):
            shape = entry.get("shape")
            sizes = tuple(s for s in shape if isinstance(s, int)) if isinstance(shape, list | tuple) else ()
            required = entry.get("required")
            found.append(
                _Tensor(
                    name=str(entry.get("name") or ""),
                    datatype=str(entry.get("datatype") or "").upper().removeprefix("TYPE_"),
                    shape=sizes,
                    required=required if isinstance(required, bool) else None,
                )
            )
    return tuple(found)


def _some(names: Mapping[str, Any]) -> str:
    shown = [name.partition(".")[2] for name in list(names)[:6]]
    return ", ".join(shown) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def mlmodel_signature(mlmodel: Mapping[str, Any]) -> dict[str, Any]:
    """The signature of an ``MLmodel`` file in the shape of Open Inference metadata.

    Args:
        mlmodel: the file's content, read as YAML.

    Returns:
        ``name``, ``platform``, ``inputs`` and ``outputs``; an input says ``required`` where the signature does.

    Raises:
        SignatureError: there is no signature, or it is not readable.
    """
    signature = mlmodel.get("signature")
    if not isinstance(signature, Mapping):
        raise SignatureError("the MLmodel file has no signature; log the model with one (mlflow: infer_signature)")
    return {
        "name": str(mlmodel.get("model_uuid") or mlmodel.get("model_id") or ""),
        "platform": "mlflow",
        "inputs": _entries(signature, "inputs"),
        "outputs": _entries(signature, "outputs"),
    }


def _entries(signature: Mapping[str, Any], side: Side) -> list[dict[str, Any]]:
    written = signature.get(side)
    try:
        entries = json.loads(written) if isinstance(written, str) else written
    except ValueError as error:
        raise SignatureError(f"signature.{side} of the MLmodel file is no JSON: {error}") from None
    if entries is None:
        return []
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise SignatureError(f"signature.{side} of the MLmodel file is no list of columns or tensors")
    return [_entry(entry) for entry in entries]


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    tensor = entry.get("tensor-spec")
    if isinstance(tensor, Mapping):
        return {
            "name": str(entry.get("name") or ""),
            "datatype": _numpy(str(tensor.get("dtype") or "")),
            "shape": list(tensor.get("shape") or ()),
        }
    kind, shape = entry, [-1]
    while kind.get("type") == "array" and isinstance(kind.get("items"), Mapping):
        kind, shape = kind["items"], [*shape, -1]
    found: dict[str, Any] = {
        "name": str(entry.get("name") or ""),
        "datatype": _COLUMN_TYPES.get(str(kind.get("type") or ""), ""),
        "shape": shape,
    }
    required = entry.get("required", not entry["optional"] if isinstance(entry.get("optional"), bool) else None)
    return found if required is None else {**found, "required": bool(required)}


def _numpy(dtype: str) -> str:
    if dtype.startswith(("int", "uint")):
        return dtype.upper()
    if dtype.startswith("datetime64"):
        return "DATETIME"
    return _NUMPY.get(dtype.rstrip("0123456789") if dtype.startswith("str") else dtype, "")
