"""Which programs are built, when, and how."""

import json
from pathlib import Path

import pytest

from devcluster import tools
from devcluster.errors import ClusterError
from devcluster.paths import GO_MODULE, Cache
from devcluster.progress import Progress
from devcluster.tools import COREDNS, ETCD, HELM, TOOLS, GoTools, build_key, linker_flags, module_version

GO_MOD = """\
module example.com/cluster

require (
	github.com/prometheus/prometheus v0.315.0
	helm.sh/helm/v4 v4.3.1
	k8s.io/kubernetes v1.36.3 // indirect
)
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    directory = tmp_path / "module"
    directory.mkdir()
    (directory / "go.mod").write_text(GO_MOD)
    (directory / "go.sum").write_text("")
    return directory


def test_given_the_shipped_modules_when_the_tools_are_listed_then_each_is_a_tool_of_its_go_mod() -> None:
    declared = (GO_MODULE / "go.mod").read_text().split("\ntool (\n")[1].split(")")[0].split()

    assert sorted(tool.package for tool in TOOLS if tool is not COREDNS) == sorted(declared)
    assert (COREDNS.module / "main.go").is_file()


@pytest.mark.parametrize(("tool", "name"), [(ETCD, "server"), (HELM, "helm"), (COREDNS, "coredns")])
def test_given_a_package_when_built_then_the_name_that_go_gives_it_is_known(tool: tools.Tool, name: str) -> None:
    assert tool.built_name == name


def test_given_a_go_mod_when_linked_then_programs_are_told_the_versions_in_it() -> None:
    flags = linker_flags(GO_MOD)

    assert "-X k8s.io/component-base/version.gitVersion=v1.36.3" in flags
    assert "-X helm.sh/helm/v4/internal/version.version=v4.3.1" in flags
    assert "-X github.com/prometheus/common/version.Version=3.15.0" in flags


def test_given_a_go_mod_without_a_module_when_its_version_is_asked_for_then_the_error_names_it() -> None:
    with pytest.raises(ClusterError, match=r"k8s\.io/kube "):
        module_version(GO_MOD.replace("k8s.io/kubernetes", "k8s.io/kuber"), "k8s.io/kube ")


@pytest.mark.parametrize("file", ["go.mod", "go.sum", "main.go"])
def test_given_a_built_module_when_any_of_its_files_changes_then_so_does_the_key(module: Path, file: str) -> None:
    before = build_key(module, "x86_64")
    assert build_key(module, "x86_64") == before

    with (module / file).open("a") as changed:
        changed.write("// changed\n")

    assert build_key(module, "x86_64") != before


def test_given_a_built_module_when_the_machine_is_another_then_so_is_the_key(module: Path) -> None:
    assert build_key(module, "x86_64") != build_key(module, "aarch64")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26)),
        ("go version go1.27rc1 linux/arm64", (1, 27)),
        ("go version devel", (0, 0)),
    ],
)
def test_given_the_output_of_go_version_when_parsed_then_the_release_is_known(
    text: str, expected: tuple[int, int]
) -> None:
    assert tools.parse_go_version(text) == expected


class RecordingTools(GoTools):
    """Makes empty programs in place of building them."""

    def __init__(self, cache: Cache) -> None:
        super().__init__(cache, Progress(quiet=True))
        self.builds: list[list[str]] = []
        self._target = cache.bin

    def _build(self, module: Path, tools: object) -> None:
        assert isinstance(tools, list)
        self.builds.append([tool.name for tool in tools])
        for tool in tools:
            (self._target / tool.name).touch()


def test_given_nothing_built_when_ensured_twice_then_each_module_is_built_once(tmp_path: Path) -> None:
    built = RecordingTools(Cache(tmp_path))

    built.ensure([ETCD, HELM, COREDNS])
    built.ensure([ETCD, HELM, COREDNS])

    assert built.builds == [["etcd", "helm"], ["coredns"]]


def test_given_a_program_that_was_removed_when_ensured_then_it_alone_is_built_again(tmp_path: Path) -> None:
    built = RecordingTools(Cache(tmp_path))
    built.ensure([ETCD, HELM])
    (tmp_path / "bin" / "helm").unlink()

    built.ensure([ETCD, HELM])

    assert built.builds[1:] == [["helm"]]


def test_given_programs_of_another_go_mod_when_ensured_then_they_are_built_again(tmp_path: Path) -> None:
    built = RecordingTools(Cache(tmp_path))
    built.ensure([ETCD, HELM])
    (tmp_path / "bin" / ".built.json").write_text(json.dumps({"etcd": "old", "helm": "old"}))

    built.ensure([ETCD, HELM])

    assert built.builds[1:] == [["etcd", "helm"]]
