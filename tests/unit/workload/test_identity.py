import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.workload.builders import model_version, rollout_spec, version_spec
from weir.api.modelversion import version_digest
from weir.workload.identity import derived_name, label_value, pool_name, revision, target

DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
names = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,250}[a-z0-9])?", fullmatch=True)
NOW = 1_800_000_000.0


@given(names, st.text(max_size=80))
def test_given_any_rollout_name_when_a_pool_is_named_then_it_is_a_service_name_and_a_label(
    name: str, made: str
) -> None:
    assert DNS_LABEL.fullmatch(pool_name(name, made))
    assert re.search(r"-[0-9a-f]{8}$", pool_name(name, made))


@given(names, st.sampled_from(["", "stable", "candidate", "preview"]))
def test_given_any_rollout_name_when_a_name_is_derived_then_it_is_a_service_name(name: str, suffix: str) -> None:
    assert DNS_LABEL.fullmatch(derived_name(name, suffix))
    assert derived_name(name, suffix).endswith(suffix)


@given(st.text(min_size=1, max_size=300))
def test_given_any_text_when_made_a_label_then_it_is_valid_and_valid_ones_stay(text: str) -> None:
    value = label_value(text)
    assert LABEL_VALUE.fullmatch(value)
    if LABEL_VALUE.fullmatch(text):
        assert value == text


@given(st.lists(names, min_size=2, max_size=2, unique=True))
def test_given_two_rollouts_when_names_are_derived_then_they_differ(pair: list[str]) -> None:
    assert derived_name(pair[0], "stable") != derived_name(pair[1], "stable")
    assert pool_name(pair[0], "r") != pool_name(pair[1], "r")


def test_given_a_plain_name_when_derived_then_it_reads_plainly() -> None:
    assert derived_name("digits", "stable") == "digits-stable"
    assert pool_name("digits", "sha256:1").startswith("digits-")


def test_given_a_changed_template_when_revised_then_the_revision_differs() -> None:
    assert revision("d", {"spec": {"a": 1}}) != revision("d", {"spec": {"a": 2}})
    assert revision("d", None) == revision("d", {})
    assert revision("d", {"a": 1, "b": 2}) == revision("d", {"b": 2, "a": 1})


def test_given_a_version_when_targeted_then_digest_revision_and_pool_follow_from_it() -> None:
    found, problem = target("digits", rollout_spec(), model_version(), NOW)
    assert problem is None
    assert found is not None
    digest = version_digest(version_spec())
    assert (found.version, found.label, found.digest) == ("digits-v1", "1.0", digest)
    assert found.revision == revision(digest, None)
    assert found.pool == pool_name("digits", found.revision)


def test_given_a_user_run_service_when_targeted_then_the_pool_is_that_service() -> None:
    version = {"metadata": {}, "spec": {"model": "m", "version": "1", "runtime": {"serviceRef": {"name": "mine"}}}}
    found, problem = target("digits", rollout_spec(), version, NOW)
    assert problem is None
    assert found is not None
    assert found.pool == "mine"
    again, shared = target("digits", rollout_spec(), version, NOW, {"mine": "another revision"})
    assert again is None
    assert shared is not None
    assert (shared.reason, shared.terminal) == ("ServiceShared", True)


@pytest.mark.parametrize(
    ("version", "reason", "terminal"),
    [
        (None, "ModelVersionNotFound", False),
        ({"metadata": {"deletionTimestamp": "x"}, "spec": {}}, "ModelVersionDeleting", False),
        ({"metadata": {}, "spec": {"model": "m"}}, "ModelVersionInvalid", True),
        (
            model_version(support={"retiredAfter": "2026-01-01T00:00:00Z", "replacedBy": "v2"}),
            "ModelVersionRetired",
            True,
        ),
    ],
)
def test_given_a_bad_version_when_targeted_then_the_problem_says_why(version, reason, terminal) -> None:
    found, problem = target("digits", rollout_spec(), version, NOW)
    assert found is None
    assert problem is not None
    assert (problem.reason, problem.terminal) == (reason, terminal)


def test_given_a_version_that_retires_later_when_targeted_then_it_may_still_be_released() -> None:
    version = model_version(support={"retiredAfter": "2099-01-01T00:00:00Z"})
    assert target("digits", rollout_spec(), version, NOW)[1] is None
