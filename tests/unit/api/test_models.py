"""Models and the wire: what is read is what was written, and what Weir writes passes its own rules."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.api.objects import GOOD, TIME
from weir.api.base import ApiModel, Number, Ratio, Time, seconds
from weir.api.kinds import KINDS
from weir.api.schema import structural_schema

KIND = {kind.name: kind for kind in KINDS}


class Scalars(ApiModel):
    """One field of each scalar that is not written as it is held."""

    number: Number = Decimal(0)
    ratio: Ratio = Decimal(0)
    at: Time = 0.0


def _pattern(field: str) -> str:
    rule: str = structural_schema(Scalars, "Thing")["properties"][field]["x-kubernetes-validations"][0]["rule"]
    return rule.removeprefix("self.matches('").removesuffix("')")


def _without_defaults(written: Any, read: Any) -> Any:
    """``read`` cut down to what was written."""
    if isinstance(written, dict) and isinstance(read, dict):
        return {key: _without_defaults(value, read.get(key)) for key, value in written.items()}
    if isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        return [_without_defaults(w, r) for w, r in zip(written, read, strict=True)]
    return read


@pytest.mark.parametrize(("kind", "spec"), [pytest.param(k, s, id=f"{k}: {i}") for k, i, s in GOOD])
def test_given_a_good_spec_when_read_and_written_then_no_field_is_lost(kind: str, spec: dict[str, Any]) -> None:
    model = KIND[kind].spec.model_validate(spec)

    written = model.to_dict()

    assert KIND[kind].spec.model_validate(written) == model
    no_nulls = {**spec, "odcs": None} if "odcs" in spec else spec
    expected = {key: value for key, value in no_nulls.items() if value is not None}
    assert _without_defaults(expected, written) == expected


@given(
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30).filter(
        lambda value: len(value.as_tuple().digits) <= 28
    )
)
def test_given_any_number_that_python_computes_when_written_then_it_passes_the_rule(value: Decimal) -> None:
    text = Scalars(number=value).to_dict()["number"]

    assert re.fullmatch(_pattern("number"), text)
    assert len(text) <= 64
    assert Decimal(text) == value


@given(st.decimals(min_value=0, max_value=1, places=12))
def test_given_any_ratio_when_written_then_it_passes_the_rule(value: Decimal) -> None:
    text = Scalars(ratio=value).to_dict()["ratio"]

    assert re.fullmatch(_pattern("ratio"), text)
    assert Decimal(text) == value


def test_given_a_time_when_read_and_written_then_it_is_the_same() -> None:
    assert Scalars.model_validate({"at": TIME}).to_dict()["at"] == TIME


@pytest.mark.parametrize(("text", "length"), [("90s", 90), ("1h30m", 5400), ("250ms", 0.25), ("0s", 0)])
def test_given_a_duration_then_its_seconds_are_right(text: str, length: float) -> None:
    assert seconds(text) == length


@pytest.mark.parametrize("text", ["", "5", "1d", "-1s", "1s ", "1.5h"])
def test_given_no_duration_then_it_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        seconds(text)
