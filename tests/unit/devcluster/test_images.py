"""Images: what decides whether one is built again, and what is in a small one."""

import json
import tarfile
from pathlib import Path

import pytest

from devcluster.addons import PUBLIC_IMAGES, manifests
from devcluster.archive import SmallImage, write
from devcluster.context import context_files, ignore_file, is_ignored, parse_ignore
from devcluster.images import Build, archive_name, pip_arguments


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.py").write_text("print(1)\n")
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    return tmp_path


def build_of(context: Path, **arguments: str) -> Build:
    return Build(context / "Dockerfile", context, "localhost/x:1", arguments)


def test_given_an_unchanged_context_when_digested_again_then_the_digest_is_the_same(context: Path) -> None:
    assert build_of(context).digest("base") == build_of(context).digest("base")


def test_given_a_built_image_when_any_input_changes_then_the_digest_changes(context: Path) -> None:
    digests = [
        build_of(context).digest("base"),
        build_of(context).digest("other"),
        build_of(context, A="1").digest("base"),
    ]
    (context / "src" / "main.py").write_text("print(2)\n")
    digests.append(build_of(context).digest("base"))
    (context / "src" / "main.py").chmod(0o755)
    digests.append(build_of(context).digest("base"))
    (context / "src" / "main.py").rename(context / "src" / "other.py")
    digests.append(build_of(context).digest("base"))

    assert len(set(digests)) == len(digests)


def test_given_an_ignored_file_when_it_changes_then_the_digest_stays(context: Path) -> None:
    (context / ".dockerignore").write_text("*.log\n")
    before = build_of(context).digest("base")

    (context / "build.log").write_text("noise")
    (context / ".git").mkdir()
    (context / ".git" / "HEAD").write_text("noise")

    assert build_of(context).digest("base") == before


@pytest.mark.parametrize(
    ("rules", "name", "ignored"),
    [
        ("*.pyc", "a.pyc", True),
        ("*.pyc", "sub/a.pyc", False),
        ("**/*.pyc", "sub/deep/a.pyc", True),
        ("**/*.pyc", "a.pyc", True),
        ("docs/", "docs/a/b.md", True),
        ("docs", "docsy/a", False),
        ("# docs\n\n", "docs/a", False),
        ("*\n!operator", "operator/weir/x.py", False),
        ("*\n!operator", "tests/x.py", True),
        ("*\n!operator\n**/__pycache__", "operator/weir/__pycache__/x.pyc", True),
        ("a?c", "abc", True),
        ("/rooted", "rooted", True),
    ],
)
def test_given_ignore_rules_when_a_name_is_tested_then_the_last_match_decides(
    rules: str, name: str, ignored: bool
) -> None:
    assert is_ignored(name, parse_ignore(rules)) is ignored


def test_given_an_exception_below_an_ignored_directory_when_listed_then_the_file_is_there(context: Path) -> None:
    (context / ".dockerignore").write_text("*\n!src/main.py\n")

    assert [name for name, _ in context_files(context, context / "Dockerfile")] == ["src/main.py"]


def test_given_an_ignore_file_of_the_dockerfile_then_it_counts_instead_of_the_contexts(context: Path) -> None:
    (context / ".dockerignore").write_text("*\n")
    (context / "Dockerfile.check").write_text("FROM scratch\n")
    own = context / "Dockerfile.check.dockerignore"
    own.write_text("*\n!src\n")

    assert ignore_file(context, context / "Dockerfile") == context / ".dockerignore"
    assert ignore_file(context, context / "Dockerfile.check") == own
    assert [name for name, _ in context_files(context, context / "Dockerfile.check")] == ["src/main.py"]


def test_given_a_link_to_a_directory_when_listed_then_it_is_not_followed(context: Path) -> None:
    (context / "loop").symlink_to(context)

    names = [name for name, _ in context_files(context, context / "Dockerfile")]

    assert names == ["Dockerfile", "loop", "src/main.py"]


def test_given_pip_settings_when_an_image_is_built_then_only_the_set_ones_are_passed() -> None:
    environment = {"PIP_INDEX_URL": "https://mirror.test/simple", "PIP_FIND_LINKS": "", "HOME": "/home/me"}

    assert pip_arguments(environment) == {"PIP_INDEX_URL": "https://mirror.test/simple"}


def test_given_a_tag_when_stored_then_its_file_name_has_no_separator() -> None:
    assert archive_name("localhost/a/b:1.2", "abc") == "localhost_a_b_1.2@abc.tar"


def test_given_a_program_when_written_as_an_image_then_the_archive_holds_it_executable(tmp_path: Path) -> None:
    program = tmp_path / "tool"
    program.write_bytes(b"\x7fELF")
    program.chmod(0o755)
    image = SmallImage("localhost/tool:1", ["/bin/tool"], {"bin/tool": program})

    write(image, tmp_path / "out" / "tool.tar")

    with tarfile.open(tmp_path / "out" / "tool.tar") as archive:

        def read(name: str) -> bytes:
            member = archive.extractfile(name)
            assert member is not None
            return member.read()

        (entry,) = json.loads(read("index.json"))["manifests"]
        manifest = json.loads(read(f"blobs/sha256/{entry['digest'].removeprefix('sha256:')}"))
        config = json.loads(read(f"blobs/sha256/{manifest['config']['digest'].removeprefix('sha256:')}"))
        layer_name = f"blobs/sha256/{manifest['layers'][0]['digest'].removeprefix('sha256:')}"
        layer = archive.extractfile(layer_name)
        with tarfile.open(fileobj=layer) as files:
            modes = {member.name: member.mode for member in files}
    assert entry["annotations"]["io.containerd.image.name"] == "localhost/tool:1"
    assert config["config"]["Entrypoint"] == ["/bin/tool"]
    assert config["config"]["User"] == "65532:65532"
    assert modes == {"bin/tool": 0o755, "tmp": 0o1777}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["tool.tar"]


def test_given_a_program_that_was_rebuilt_when_digested_then_its_image_is_another(tmp_path: Path) -> None:
    program = tmp_path / "tool"
    program.write_bytes(b"one")
    image = SmallImage("localhost/tool:1", ["/tool"], {"tool": program})
    before = image.digest()

    program.write_bytes(b"other")

    assert image.digest() != before


def test_given_kind_when_the_manifests_are_made_then_no_image_of_the_embedded_cluster_is_left() -> None:
    text = manifests(["traefik", "prometheus"], PUBLIC_IMAGES)

    assert "localhost/" not in text
    assert all(f"image: {image}\n" in text for image in PUBLIC_IMAGES.values())
