from pathlib import Path

import pytest

from weir.controller import settings
from weir.controller.settings import Settings


def test_given_nothing_set_then_the_defaults_work_outside_a_cluster(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(settings, "_NAMESPACE_FILE", tmp_path / "absent")

    found = Settings.from_environment({})

    assert (found.port, found.namespaces, found.lease_namespace, found.log_level) == (8080, (), "default", "INFO")
    assert found.identity


def test_given_a_pod_then_its_namespace_and_name_are_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own = tmp_path / "namespace"
    own.write_text("from-file\n")
    monkeypatch.setattr(settings, "_NAMESPACE_FILE", own)

    assert Settings.from_environment({}).lease_namespace == "from-file"
    assert Settings.from_environment({"POD_NAMESPACE": "pod"}).lease_namespace == "pod"
    both = Settings.from_environment({"POD_NAMESPACE": "pod", "WEIR_LEASE_NAMESPACE": "set", "POD_NAME": "weir-0"})
    assert (both.lease_namespace, both.identity) == ("set", "weir-0")


def test_given_several_namespaces_then_they_are_taken_once_each_whatever_the_spaces() -> None:
    assert Settings.from_environment({"WEIR_NAMESPACES": " b, a,,b "}).namespaces == ("a", "b")


@pytest.mark.parametrize("port", ["", "http", "-1", "65536", "8080.5", "²"])
def test_given_a_port_that_is_none_then_the_variable_is_named(port: str) -> None:
    with pytest.raises(ValueError, match="WEIR_HTTP_PORT"):
        Settings.from_environment({"WEIR_HTTP_PORT": port})


@pytest.mark.parametrize(
    ("given", "kept"), [(None, 7 * 86400.0), ("", 7 * 86400.0), ("90m", 5400.0), ("0s", 0.0)], ids=str
)
def test_given_a_time_to_keep_finished_requests_then_it_is_read(given: str | None, kept: float) -> None:
    environ = {} if given is None else {"WEIR_ACTION_REQUESTS_KEEP_FOR": given}
    assert Settings.from_environment(environ).keep_requests == kept


def test_given_a_time_that_is_none_then_the_variable_is_named() -> None:
    with pytest.raises(ValueError, match="WEIR_ACTION_REQUESTS_KEEP_FOR.*a week"):
        Settings.from_environment({"WEIR_ACTION_REQUESTS_KEEP_FOR": "a week"})


def test_given_settings_of_contract_checks_then_they_are_read() -> None:
    environ = {
        "WEIR_CHECK_IMAGE": "registry.example/checks:1",
        "WEIR_CHECK_ROLE": "other-weir-check",
        "WEIR_CHECKS_AT_ONCE": "7",
        "WEIR_CONTRACT_CHECKS_KEEP": "9",
        "WEIR_CONTRACT_SOURCES": "https://git.example/data, oci://registry.example",
    }
    found = Settings.from_environment(environ)
    assert (found.check_image, found.check_role) == ("registry.example/checks:1", "other-weir-check")
    assert (found.checks_at_once, found.keep_checks) == (7, 9)
    assert found.contract_sources == ("https://git.example/data", "oci://registry.example")
    assert Settings.from_environment({}).contract_sources == ()


@pytest.mark.parametrize("given", ["0", "many", "-1", "1001", "²"])
def test_given_a_number_of_checks_that_is_none_then_the_variable_is_named(given: str) -> None:
    with pytest.raises(ValueError, match="WEIR_CHECKS_AT_ONCE"):
        Settings.from_environment({"WEIR_CHECKS_AT_ONCE": given})


def test_given_settings_of_agents_then_they_are_read() -> None:
    found = Settings.from_environment({"WEIR_GUARDRAILS": "/etc/x.yaml", "WEIR_TEMPLATE_KINDS": "a.b, jobs.batch"})
    assert (found.guardrails, found.template_kinds) == (Path("/etc/x.yaml"), ("a.b", "jobs.batch"))
    assert (Settings.from_environment({}).guardrails, Settings.from_environment({}).template_kinds) == (
        None,
        ("jobs.batch",),
    )
    assert Settings.from_environment({"WEIR_TEMPLATE_KINDS": ""}).template_kinds == ()


@pytest.mark.parametrize(("given", "required"), [({}, False), ("", False), ("false", False), ("true", True)], ids=str)
def test_given_outer_bounds_that_are_required_or_not_then_it_is_read(given: str, required: bool) -> None:
    environ = {"WEIR_REQUIRE_CLUSTER_POLICY": given} if isinstance(given, str) else {}
    assert Settings.from_environment(environ).require_cluster_policy is required


def test_given_neither_true_nor_false_then_the_variable_is_named() -> None:
    with pytest.raises(ValueError, match="WEIR_REQUIRE_CLUSTER_POLICY.*yes"):
        Settings.from_environment({"WEIR_REQUIRE_CLUSTER_POLICY": "yes"})
