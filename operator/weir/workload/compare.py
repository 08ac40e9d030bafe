"""Whether a live object already says what we want it to say, so that a converged object costs no write."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

_QUANTITY = re.compile(r"([+-]?[0-9]+(?:\.[0-9]*)?)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
_FACTOR = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", 1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", 1)},
}
_QUANTITY_FIELDS = frozenset({"limits", "requests"})
_EMPTY: tuple[Any, ...] = (None, "", [], {})
# At the top of an object: objects of a list do not carry them, and a comparison is always of one kind.
_IDENTITY = frozenset({"apiVersion", "kind"})
# Lists that the API server merges by a key may hold more than we stated, in any order.
_KEYS: Mapping[str, str] = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "ports": "name",
    "ownerReferences": "uid",
}


def covers(live: Any, wanted: Any, field: str = "") -> bool:
    """Whether ``live`` holds everything that ``wanted`` states; what the API server or others added does not count."""
    if wanted in _EMPTY:
        return live in _EMPTY or isinstance(live, Mapping)
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(
            _same_quantity(live.get(name), value)
            if field in _QUANTITY_FIELDS and not isinstance(value, Mapping)
            else covers(live.get(name), value, name)
            for name, value in wanted.items()
            if name not in _IDENTITY or field
        )
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return isinstance(live, Sequence) and not isinstance(live, str) and _covers_list(live, wanted, field)
    return bool(live == wanted)


def _covers_list(live: Sequence[Any], wanted: Sequence[Any], field: str) -> bool:
    key = _KEYS.get(field)
    if key is not None and all(isinstance(item, Mapping) and key in item for item in wanted):
        found = {item.get(key): item for item in live if isinstance(item, Mapping)}
        return all(item[key] in found and covers(found[item[key]], item) for item in wanted)
    return len(live) == len(wanted) and all(covers(a, b) for a, b in zip(live, wanted, strict=True))


def _same_quantity(live: Any, wanted: Any) -> bool:
    if live == wanted:
        return True
    left, right = quantity(live), quantity(wanted)
    return left is not None and left == right


def quantity(value: Any) -> Decimal | None:
    """A Kubernetes quantity such as ``512Mi`` as a number; None for what is none."""
    match = _QUANTITY.fullmatch(str(value))
    return Decimal(match[1]) * _FACTOR[match[2] or ""] if match else None
