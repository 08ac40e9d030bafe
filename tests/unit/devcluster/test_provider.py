"""Which kind of cluster is used, and what a machine lacks for it."""

from pathlib import Path

import pytest

from devcluster.errors import ClusterError
from devcluster.namespace import make_cgroups, remove_cgroups
from devcluster.paths import Cache
from devcluster.progress import Progress
from devcluster.provider import ProviderName, choose, remember, remembered
from devcluster.system import NODE_PROGRAMS, missing_packages


@pytest.mark.parametrize(
    ("wanted", "docker", "expected"),
    [
        (ProviderName.AUTO, True, ProviderName.KIND),
        (ProviderName.AUTO, False, ProviderName.EMBEDDED),
        (ProviderName.EMBEDDED, True, ProviderName.EMBEDDED),
        (ProviderName.KIND, False, ProviderName.KIND),
        (ProviderName.EXISTING, True, ProviderName.EXISTING),
    ],
)
def test_given_a_wish_when_chosen_then_docker_decides_only_for_auto(
    wanted: ProviderName, docker: bool, expected: ProviderName
) -> None:
    assert choose(wanted, lambda: docker) is expected


def test_given_a_cluster_that_was_made_when_asked_later_then_its_provider_is_remembered(tmp_path: Path) -> None:
    paths = Cache(tmp_path).cluster("weir")
    assert remembered(paths) is None

    remember(paths, ProviderName.KIND)

    assert remembered(paths) is ProviderName.KIND


def test_given_a_damaged_record_when_read_then_the_error_says_what_to_remove(tmp_path: Path) -> None:
    paths = Cache(tmp_path).cluster("weir")
    paths.root.mkdir(parents=True)
    (paths / "provider").write_text("nonsense")

    with pytest.raises(ClusterError, match=f"Remove {paths.root}"):
        remembered(paths)


def test_given_a_bare_machine_when_checked_then_each_missing_package_is_named_once() -> None:
    there = {"openssl", "unshare", "nsenter", "mount", "ip"}

    missing = missing_packages(NODE_PROGRAMS, lambda name: f"/bin/{name}" if name in there else None)

    assert missing == ("containerd", "containernetworking-plugins", "iptables", "nftables", "runc")


def test_given_a_complete_machine_when_checked_then_nothing_is_missing() -> None:
    assert missing_packages(NODE_PROGRAMS, lambda name: f"/bin/{name}") == ()


def test_given_cgroup_hierarchies_of_version_1_when_made_and_removed_then_cpusets_work_and_nothing_is_left(
    tmp_path: Path,
) -> None:
    for hierarchy in ("cpu", "cpuset"):
        (tmp_path / hierarchy).mkdir()
    (tmp_path / "cpuset" / "cpuset.cpus").write_text("0-1\n")

    make_cgroups("weir-x", tmp_path)
    (tmp_path / "cpu" / "weir-x" / "kubepods" / "pod1").mkdir(parents=True)
    assert (tmp_path / "cpuset" / "weir-x").is_dir()
    remove_cgroups("weir-x", tmp_path)
    remove_cgroups("weir-x", tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["cpu", "cpuset"]
    assert not (tmp_path / "cpu" / "weir-x").exists()


def test_given_the_one_hierarchy_of_version_2_when_made_then_the_cgroup_is_at_its_top(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    (tmp_path / "system.slice").mkdir()

    make_cgroups("weir-x", tmp_path)

    assert (tmp_path / "weir-x").is_dir()
    assert not (tmp_path / "system.slice" / "weir-x").exists()


def test_given_a_step_when_reported_then_the_line_starts_with_the_seconds_that_passed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    times = iter([100.0, 112.34])
    progress = Progress(clock=lambda: next(times))

    progress.step("node ready")

    assert capsys.readouterr().err == "[  12.3 s] node ready\n"
