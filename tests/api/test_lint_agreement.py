"""What the API server refuses, lint calls an error, and nothing else: on hundreds of objects that nobody thought of."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kubernetes.client import ApiException
from yaml.reader import Reader

from tests.api.cases import DELETE, edited
from tests.api.conftest import KIND, Objects, Refused
from tests.api.objects import GOOD
from tests.api.test_agreement import TEXTS, VALUES, _at, _paths
from weir.lint import Severity, Source, lint

pytestmark = pytest.mark.api

STRICTER = (
    "startedAt",  # without a rule the API server takes a list where a time should be
    "finishedAt",
    "decisions.0.at",
)

OF_THE_OPERATOR = {"odcs", "contract", "policy"}
"""The API server takes any document, and a policy that contradicts itself; it is the operator that refuses them."""


@settings(
    max_examples=400, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_given_any_spec_when_linted_then_lint_and_the_api_server_say_the_same(
    objects: Objects, data: st.DataObject
) -> None:
    name, _, spec = data.draw(st.sampled_from(GOOD))
    path = data.draw(st.sampled_from(sorted(_paths(spec))))
    value = data.draw(TEXTS if isinstance(_at(spec, path), str) and data.draw(st.booleans()) else VALUES)
    if path.startswith(STRICTER) or (value is DELETE and path.rsplit(".", 1)[-1].isdigit()):
        return
    if Reader.NON_PRINTABLE.search(json.dumps(value, ensure_ascii=False, default=str)):
        return  # no YAML, for kubectl as for lint; the client here sends JSON
    changed = edited(spec, {path: value})
    try:
        objects.create(KIND[name], changed, dry_run=True)
        answer = None
    except Refused as refused:
        answer = str(refused.causes)
    except ApiException as malformed:
        if malformed.status != 400:
            raise
        answer = str(malformed.body)

    manifest = objects.manifest(KIND[name], changed)
    findings = lint([Source("f.yaml", json.dumps(manifest, ensure_ascii=False))]).findings

    refused = [finding for finding in findings if finding.severity is Severity.ERROR]
    errors = [finding.text for finding in refused if finding.code not in OF_THE_OPERATOR]
    assert bool(errors) == (answer is not None), (path, value, answer, errors)
