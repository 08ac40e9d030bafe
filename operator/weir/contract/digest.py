"""The digest of a contract: of what it says, not of how it is written."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import rfc8785

from weir.api.datacontract import Semantics
from weir.contract.loading import nested_too_deeply

_EXACT = (1 << 53) - 1
"""Largest integer that RFC 8785 writes with all its digits."""
_INT64 = 1 << 63


def contract_digest(odcs: Mapping[str, Any], semantics: Sequence[Semantics] = ()) -> str:
    """``sha256:…`` of the canonical JSON (RFC 8785) of the document and of what Weir adds to its meaning.

    The order of fields and the notation of numbers (1, 1.0, 1e0) make no difference. Integers beyond 53 bits, for which
    the RFC asks the application, are written as ``{"integer": "DIGITS"}``, so that no two of them look the same.

    Raises:
        ValueError: the document holds what JSON does not have, such as NaN, or is nested too deeply.
    """
    if nested_too_deeply(odcs):
        raise ValueError("nested too deeply")
    content: dict[str, Any] = {"odcs": _exact(odcs)}
    if semantics:
        content["semantics"] = [_exact(entry.to_dict()) for entry in semantics]
    return f"sha256:{hashlib.sha256(rfc8785.dumps(content)).hexdigest()}"


def _exact(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _exact(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_exact(child) for child in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"JSON has no number {value}")
        if abs(value) <= _EXACT or abs(value) >= _INT64:
            return value
        value = int(value)
    if -_EXACT <= value <= _EXACT:
        return value
    if not -_INT64 <= value < _INT64:
        # The API server keeps no more of such a number.
        try:
            return float(value)
        except OverflowError:
            raise ValueError("a number is larger than any number of JSON") from None
    return {"integer": str(value)}
