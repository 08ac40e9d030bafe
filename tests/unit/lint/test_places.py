"""Every finding stands at the line and column of what is to blame."""

from __future__ import annotations

import pytest

from weir.lint import Finding, Mark, Severity, Source, lint

HEAD = "apiVersion: weir.dev/v1alpha1\nkind: Rollout\nmetadata: {name: digits}\n"

GOOD = (
    HEAD
    + """spec:
  versionRef:
    name: digits-v1
  traffic:
    service: {}
  strategy:
    canary:
      steps:
        - weight: 10
        - {weight: 50}
  replicas: 9
  gates:
    - template: http-errors
      max: "0.05"
"""
)


def found(text: str) -> list[Finding]:
    return list(lint([Source("rollout.yaml", text)]).findings)


def test_given_a_good_rollout_then_nothing_is_found() -> None:
    assert found(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "code", "path", "said"),
    [
        ("replicas: 9", "replicas: 0", 14, 13, "value", "spec.replicas", "greater than or equal to 1 (it is 0)"),
        ("replicas: 9", "replicas: nine", 14, 13, "type", "spec.replicas", "must be of type integer, not string"),
        ("replicas: 9", "replicas: '9'", 14, 13, "type", "spec.replicas", "(write it without quotes)"),
        ("replicas: 9", "replicas:", 14, 3, "empty-field", "spec.replicas", "counts as absent"),
        ("replicas: 9", "replica: 9", 14, 3, "unknown-field", "spec.replica", "(did you mean `replicas`?)"),
        ("replicas: 9", "replicas: 9\n  bake: 5m", 15, 3, "unknown-field", "spec.bake", "`spec.strategy.canary`"),
        ("replicas: 9", "replicas: 9\n  riskBuget: 5", 15, 3, "unknown-field", "spec.riskBuget", "(`riskBudget` is a"),
        ("replicas: 9", "replicas: 9\n  Paused: true", 15, 3, "unknown-field", "spec.Paused", "`paused`"),
        ("- {weight: 50}", "- {weight: 200}", 13, 20, "value", "spec.strategy.canary.steps[1].weight", "to 100"),
        ("- {weight: 50}", "- {}", 13, 11, "required", "spec.strategy.canary.steps[1].weight", "Required value"),
        ("- {weight: 50}", "- {weight: 5}", 11, 7, "rule", "spec.strategy.canary.steps", "must rise"),
        ("name: digits-v1", "name: Digits", 6, 11, "rule", "spec.versionRef.name", "must be a Kubernetes object name"),
        ("service: {}", "service: {}\n    gateway: {}", 7, 3, "rule", "spec.traffic", "exactly one of"),
        ('max: "0.05"', "max: 0.05", 17, 12, "type", "spec.gates[0].max", "not number (write it in quotes)"),
        ('max: "0.05"', 'max: "5"', 17, 12, "rule", "spec.gates[0].max", "share of requests"),
        ('max: "0.05"', "max: '1'\n      query: up", 18, 14, "rule", "spec.gates[0].query", "threshold template"),
        ("http-errors", "http-error", 16, 17, "value", "spec.gates[0].template", "(did you mean http-errors?)"),
        ("http-errors", "custom", 16, 7, "rule", "spec.gates[0]", "`bad` and `total`"),
        ("{name: digits}", "{name: Digits}", 3, 18, "metadata", "metadata.name", "is no name for an object"),
        ("{name: digits}", "{name: 1-digits}", 3, 18, "rule", "metadata.name", "must start with a letter"),
        ("{name: digits}", "{labels: {a: b}}", 3, 1, "metadata", "metadata.name", "`name` or `generateName`"),
        (
            "{name: digits}",
            "{name: d, labels: {a: true}}",
            3,
            33,
            "type",
            "metadata.labels.a",
            "not boolean (write it in quotes)",
        ),
        ("kind: Rollout", "kind: Rolout", 2, 7, "kind", "kind", "(did you mean Rollout?)"),
        ("v1alpha1", "v1", 1, 13, "kind", "apiVersion", "(write weir.dev/v1alpha1)"),
        ("weir.dev/v1alpha1", "wier.dev/v1alpha1", 1, 13, "kind", "apiVersion", "(write weir.dev/v1alpha1)"),
    ],
)
def test_given_one_mistake_then_it_is_found_where_it_stands(
    old: str, new: str, line: int, column: int, code: str, path: str, said: str
) -> None:
    assert GOOD.count(old) == 1

    findings = found(GOOD.replace(old, new))

    first = next((f for f in findings if f.code == code and f.path == path), None)
    assert first is not None, findings
    assert (first.mark, said in first.text) == (Mark(line, column), True), first


@pytest.mark.parametrize(
    ("match", "path", "said"),
    [
        ("{path: /v2}", "[0].path", "must be of type object, not string"),
        ("{path: [a]}", "[0].path", "must be of type object, not array"),
        ("{pathPrefix: /v2}", "[0].pathPrefix", "unknown field `pathPrefix`"),
        ("{path: {type: Prefix, value: /}}", "[0].path.type", "(did you mean PathPrefix?)"),
        ("{headers: [{name: x}]}", "[0].headers[0].value", "Required value"),
        ("{method: get}", "[0].method", "Unsupported value"),
    ],
)
def test_given_a_match_that_no_route_can_hold_when_linted_then_it_is_told(match: str, path: str, said: str) -> None:
    gateway = f"gateway: {{parentRefs: [{{name: web}}], matches: [{match}]}}"

    (finding,) = found(GOOD.replace("service: {}", gateway))

    assert finding.path == f"spec.traffic.gateway.matches{path}"
    assert said in finding.text
    assert finding.severity is Severity.ERROR


def test_given_a_missing_spec_then_the_object_is_named() -> None:
    (finding,) = found(HEAD)
    assert finding.text == "Rollout/digits spec: Required value (set `spec`)"


def test_given_what_the_cluster_holds_when_linted_then_what_others_wrote_there_is_left_alone() -> None:
    stored = GOOD.replace("{name: digits}", "{name: digits, uid: 7, generation: 2, managedFields: [{manager: weir}]}")
    assert found(stored + "status: {phase: Stable, anything: [1, {a: b}]}\n") == []


def test_given_several_documents_and_a_list_then_each_object_has_its_own_lines() -> None:
    item = GOOD.replace("replicas: 9", "replicas: 0").replace("\n", "\n    ").rstrip()
    text = GOOD.replace("replicas: 9", "replicas: -1") + "---\n# nothing here\n---\nkind: List\nitems:\n  - " + item

    findings = found(text.replace("name: digits}", "name: other}", 1))

    assert [(f.subject, f.path, f.mark) for f in findings] == [
        ("Rollout/other", "spec.replicas", Mark(14, 13)),
        ("Rollout/digits", "spec.replicas", Mark(36, 17)),
    ]


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("a: [1, 2\nb: 3\n", 2, 2, "no YAML: while parsing a flow sequence"),
        ("a: 1\n b: 2\n", 2, 3, "no YAML: mapping values are not allowed in this context"),
        ("a: {{ .Values.x }}\n", 1, 5, "no YAML: a key must be a plain text"),
        ("a: !Ref b\n", 1, 4, "no YAML: the tag !Ref has no meaning in a manifest"),
        ("a: &a [*a]\n", 1, 4, "no YAML: contains itself by an alias"),
        ("a: 1\nb: \x07\n", 2, 4, "no YAML: character #x0007 is not allowed"),
        ("<<: 1\n", 1, 5, "no YAML: expected a mapping"),
        ("a: " + "[" * 200_000, 1, 103, "no YAML: nested too deeply"),
    ],
)
def test_given_text_that_is_no_manifest_when_linted_then_the_place_is_told(
    text: str, line: int, column: int, said: str
) -> None:
    (finding,) = found(text)
    assert (finding.mark, finding.severity) == (Mark(line, column), Severity.ERROR)
    assert finding.text.startswith(said), finding.text


def test_given_a_bomb_of_aliases_when_linted_then_it_is_refused_in_no_time() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{name}: &{name} [{', '.join([f'*{last}'] * 10)}]" for last, name in zip("abcdefgh", "bcdefghi")]  # noqa: B905

    (finding,) = found("\n".join(lines))

    assert "too large once its aliases are written out" in finding.message


def test_given_a_key_twice_when_linted_then_the_second_is_told() -> None:
    (finding,) = found(GOOD.replace("replicas: 9", "replicas: 9\n  replicas: 9"))
    assert (finding.code, finding.path, finding.mark) == ("duplicate-key", "spec.replicas", Mark(15, 3))
    assert "first in line 14" in finding.message


def test_given_an_anchor_and_a_merge_when_linted_then_the_value_is_judged_where_it_is_written() -> None:
    gates = """gates:
    - &errors
      template: http-errors
      max: "5"
    - <<: *errors
      name: other
      max: "0.5"
"""
    findings = found(GOOD[: GOOD.index("gates:")] + gates)
    assert [(f.path, f.mark) for f in findings] == [("spec.gates[0].max", Mark(18, 12))]


@pytest.mark.parametrize(
    ("written", "refused"),
    [
        ("replicas: 0x2", False),
        ("replicas: 010", False),
        ("replicas: 01747", False),
        ("replicas: 1747", True),
        ("replicas: 1e1", False),
        ("replicas: 2.0", False),
        ("replicas: 2.5", True),
        ("replicas: 1:30", True),
        ("paused: yes", False),
        ("paused: 'yes'", True),
        ("progressDeadline: 10", True),
        ("progressDeadline: !!str 10m", False),
        ("progressDeadline: ~", False),
        ("metrics: {names: {requests: 2026-01-01}}", False),
        ("metrics: {names: {requests: 1.5}}", True),
        ("metrics: {names: {requests: yes}}", True),
    ],
)
def test_given_a_scalar_when_linted_then_it_has_the_type_that_kubectl_gives_it(written: str, refused: bool) -> None:
    findings = found(GOOD.replace("replicas: 9", written))
    assert [f.code in {"type", "value"} for f in findings if f.severity is Severity.ERROR] == (
        [True] if refused else []
    )
