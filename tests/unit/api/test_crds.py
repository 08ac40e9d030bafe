"""The command that writes crds/ and docs/reference/."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from weir.api.crds import HEADER, main
from weir.api.kinds import KINDS

ROOT = Path(__file__).parents[3]


def _run(folder: Path, *arguments: str) -> int:
    return main([*arguments, "--crds", str(folder / "crds"), "--docs", str(folder / "docs")])


def test_given_the_checkout_when_checked_then_nothing_is_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)

    assert main(["--check"]) == 0


def test_given_an_empty_folder_when_written_then_there_is_one_crd_and_one_page_a_kind(tmp_path: Path) -> None:
    assert _run(tmp_path) == 0

    crds = sorted((tmp_path / "crds").iterdir())
    assert [yaml.safe_load(p.read_text())["metadata"]["name"] for p in crds] == sorted(k.crd_name for k in KINDS)
    assert all(p.read_text().startswith(HEADER) for p in crds)
    pages = {p.name for p in (tmp_path / "docs").iterdir()}
    assert pages == {"README.md", *(f"{kind.singular}.md" for kind in KINDS)}
    assert _run(tmp_path, "--check") == 0


def test_given_stale_and_missing_files_when_checked_then_they_are_named_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _run(tmp_path)
    edited, missing = tmp_path / "crds" / "weir.dev_rollouts.yaml", tmp_path / "docs" / "rollout.md"
    edited.write_text(edited.read_text() + "# edited\n")
    missing.unlink()

    assert _run(tmp_path, "--check") == 1

    errors = capsys.readouterr().err
    assert str(edited) in errors
    assert str(missing) in errors
    assert len(errors.splitlines()) == 2
    assert not missing.exists()


def test_given_a_kind_that_is_gone_when_written_then_its_file_goes_but_other_peoples_files_stay(tmp_path: Path) -> None:
    _run(tmp_path)
    gone, foreign = tmp_path / "crds" / "weir.dev_goners.yaml", tmp_path / "crds" / "kustomization.yaml"
    gone.write_text(HEADER)
    foreign.write_text("resources: []\n")

    assert _run(tmp_path, "--check") == 1
    assert _run(tmp_path) == 0

    assert not gone.exists()
    assert foreign.exists()


def test_given_the_reference_when_read_then_links_lead_to_headings(tmp_path: Path) -> None:
    _run(tmp_path)

    for page in (tmp_path / "docs").glob("*.md"):
        text = page.read_text()
        headings = {
            "".join(c for c in line.lstrip("# ").lower() if c.isalnum() or c in "-_")
            for line in text.splitlines()
            if line.startswith("#")
        }
        links = {part.split(")")[0] for part in text.split("](#")[1:]}
        assert links <= headings, page.name


def test_given_the_reference_when_read_then_a_field_shows_type_default_rules_and_description(tmp_path: Path) -> None:
    _run(tmp_path)

    text = (tmp_path / "docs" / "rollout.md").read_text()

    duration = "must be a positive duration of at most '8760h' (a year), such as '30s', '5m' or '1h30m'"
    assert f'| `bake` | string | `"1m"` | at most 32 characters; {duration} | bake: time at 100 percent' in text
    assert "- set exactly one of `canary` and `blueGreen`" in text
    assert "one of `Hold`, `Rollback`" in text
