"""Lint against the table of bad objects that a real API server refuses: the same field, the same words."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.api.cases import RULES, Bad
from tests.api.objects import GOOD
from weir.api import API_VERSION
from weir.lint import Finding, Severity, Source, lint

NAMES_NO_FIELD = {"": "metadata.name"}
"""The API server names no field for rules of a whole object, which look at its name only."""

CREATED = [bad for bad in RULES if not bad.update]
CHANGED = [bad for bad in RULES if bad.update]
"""Rules about changes compare with what is stored, and nothing is stored here: the object by itself is good."""


ONE_NAME = {"AgentPolicy": "agents", "ClusterAgentPolicy": "agents"}
"""Kinds that have only one name."""


def errors_of(kind: str, spec: dict[str, Any], name: str | None = None) -> list[Finding]:
    named = {"name": name or ONE_NAME.get(kind, "digits")}
    manifest = {"apiVersion": API_VERSION, "kind": kind, "metadata": named, "spec": spec}
    findings = lint([Source("f.yaml", yaml.safe_dump(manifest))]).findings
    return [finding for finding in findings if finding.severity is Severity.ERROR]


@pytest.mark.parametrize("bad", [pytest.param(case, id=case.id) for case in CREATED])
def test_given_an_object_that_the_api_server_refuses_when_linted_then_field_and_message_are_the_same(bad: Bad) -> None:
    found = errors_of(bad.kind, bad.bad, bad.name)

    message = bad.message.removeprefix(f"{bad.at} in body ")  # the schema's own messages repeat the field
    assert (NAMES_NO_FIELD.get(bad.at, bad.at), message) in [(f.path, f.message) for f in found]


@pytest.mark.parametrize("bad", [pytest.param(case, id=case.id) for case in CHANGED])
def test_given_an_object_that_is_only_bad_as_a_change_when_linted_then_it_is_good(bad: Bad) -> None:
    assert not errors_of(bad.kind, bad.bad, bad.name)


@pytest.mark.parametrize(("kind", "spec"), [pytest.param(k, s, id=f"{k}: {i}") for k, i, s in GOOD])
def test_given_an_object_that_the_api_server_takes_when_linted_then_there_are_no_errors(
    kind: str, spec: dict[str, Any]
) -> None:
    assert not errors_of(kind, spec)


def test_given_the_table_then_both_sorts_are_there() -> None:
    assert len(CREATED) > 100
    assert len(CHANGED) > 20
