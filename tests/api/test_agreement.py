"""What the API server admits, the models can read: no stored object may surprise the operator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kubernetes.client import ApiException

from tests.api.cases import DELETE, edited
from tests.api.conftest import KIND, Objects, Refused
from tests.api.objects import DIGEST, GOOD
from weir.api.base import format_time, seconds
from weir.api.crds import object_schema
from weir.api.schema import Schema

pytestmark = pytest.mark.api

WRITTEN_BY_USERS = [entry for entry in GOOD if not KIND[entry[0]].written_by_weir]

TEXTS = st.one_of(
    st.text(max_size=8),
    st.from_regex(r"\A[0-9]{1,9}(ms|s|m|h)([0-9]{1,3}s)?\Z"),
    st.from_regex(r"\A-?[0-9]{0,5}([.][0-9]{0,5})?([eE]-?[0-9]{0,3})?\Z"),
    st.sampled_from(
        ["NaN", "Infinity", "-0", "0s", "1.0", DIGEST, "https://a", "oci://b", "Approve", "Custom", "Pause"]
    ),
    st.from_regex(r"\A[0-9]{4}-0[1-9]-[0-2][0-9]T2[0-3]:[0-5][0-9]:[0-6][0-9]([.][0-9]{1,9})?(Z|z|[+-]0[0-9]:30)\Z"),
)
VALUES = st.one_of(
    st.just(DELETE), TEXTS, st.integers(-2, 2**63 - 1), st.integers(-2, 101), st.booleans(), st.just([]), st.just({})
)


def _paths(value: Any, prefix: str = "") -> Iterator[str]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        if not (isinstance(key, str) and "." in key):
            yield f"{prefix}{key}"
            yield from _paths(child, f"{prefix}{key}.")


def _at(spec: Any, path: str) -> Any:
    for key in path.split("."):
        spec = spec[int(key) if isinstance(spec, list) else key]
    return spec


def _durations(schema: Schema, value: Any) -> Iterator[str]:
    """Every stored duration, as its rule tells it from other strings."""
    if "properties" in schema and isinstance(value, dict):
        for name, child in schema["properties"].items():
            if name in value:
                yield from _durations(child, value[name])
    elif "items" in schema and isinstance(value, list):
        for entry in value:
            yield from _durations(schema["items"], entry)
    elif any("duration(self)" in rule["rule"] for rule in schema.get("x-kubernetes-validations", ())):
        yield value


@settings(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_given_any_spec_that_the_server_admits_then_the_models_read_it(objects: Objects, data: st.DataObject) -> None:
    name, _, spec = data.draw(st.sampled_from(WRITTEN_BY_USERS))
    kind = KIND[name]
    path = data.draw(st.sampled_from(sorted(_paths(spec))))
    value = data.draw(TEXTS if isinstance(_at(spec, path), str) and data.draw(st.booleans()) else VALUES)
    if value is DELETE and path.rsplit(".", 1)[-1].isdigit():
        return
    try:
        stored = objects.create(kind, edited(spec, {path: value}), dry_run=True)["spec"]
    except Refused:
        return
    except ApiException as malformed:
        if malformed.status != 400:
            raise
        return

    model = kind.spec.model_validate(stored)

    assert kind.spec.model_validate(model.to_dict()) == model
    for duration in _durations(object_schema(kind)["properties"]["spec"], stored):
        format_time(2e9 + seconds(duration))
