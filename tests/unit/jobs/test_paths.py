import os

import pytest

from weir.jobs.outcome import Undecidable
from weir.jobs.paths import files, identity


@pytest.fixture
def root(lab):
    lab.parquet({"x": [1]}, name="orders.parquet")
    lab.parquet({"x": [1]}, name="2026/a.parquet")
    lab.parquet({"x": [1]}, name="2026/_temporary/b.parquet")
    lab.parquet({"x": [1]}, name="secret.parquet", server="other")
    return lab.folder()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("orders.parquet", ["orders.parquet"]),
        ("./orders.parquet", ["orders.parquet"]),
        ("{model}.parquet", ["orders.parquet"]),
        ("*.parquet", ["orders.parquet"]),
        ("2026", ["2026/a.parquet"]),
        ("**/a.parquet", ["2026/a.parquet"]),
        ("", ["orders.parquet"]),
        ("2026/../orders.parquet", ["orders.parquet"]),
    ],
)
def test_given_a_path_below_the_folder_when_looked_up_then_its_files_are_found(root, path, expected):
    assert files(root, path, "orders", "parquet", single=True) == [root / name for name in expected]


def test_given_an_absolute_path_below_the_folder_when_looked_up_then_it_is_found(root):
    assert files(root, str(root / "*.parquet"), "orders", "parquet", single=True) == [root / "orders.parquet"]


@pytest.mark.parametrize(
    "path",
    [
        "../other/secret.parquet",
        "2026/../../other/secret.parquet",
        "../other/*.parquet",
        "*/../../other/*.parquet",
        "/etc/passwd",
        "/etc/*",
        "/proc/self/environ",
        "file:///etc/passwd",
        "http://169.254.169.254/latest",
        "s3://bucket/x.parquet",
        "https://example.com/*.parquet",
        "orders.parquet\0.csv",
        "missing.parquet",
        "missing/*.parquet",
    ],
)
def test_given_a_path_out_of_the_folder_or_an_address_when_looked_up_then_refused(root, path):
    with pytest.raises(Undecidable):
        files(root, path, "orders", "parquet", single=True)


@pytest.mark.parametrize("path", ["link.parquet", "*.parquet", "folder/secret.parquet", "folder", "folder/*", "nested"])
def test_given_symbolic_links_out_of_the_folder_when_looked_up_then_refused(lab, root, path):
    os.symlink(lab.folder("other") / "secret.parquet", root / "link.parquet")
    os.symlink(lab.folder("other"), root / "folder")
    (root / "nested").mkdir()
    os.symlink(lab.folder("other") / "secret.parquet", root / "nested" / "x.parquet")
    with pytest.raises(Undecidable, match="out of the folder"):
        files(root, path, "orders", "parquet", single=True)


def test_given_a_hostile_table_name_when_it_fills_the_path_then_refused(root):
    with pytest.raises(Undecidable):
        files(root, "{model}.parquet", "../other/secret", "parquet", single=True)


def test_given_a_whole_check_of_a_path_outside_when_run_then_unknown_and_the_message_names_no_file(
    lab, prop, root, found
):
    status = lab.check([prop("x", "integer")], servers={"lake": {"path": "../other/secret.parquet"}})
    assert status.verdict == "Unknown"
    assert "out of the folder of the server" in found(status, "table").message


def test_given_a_file_changes_when_identified_then_the_identity_changes(lab, root):
    before = identity([root / "orders.parquet"])
    assert identity([root / "orders.parquet"]) == before
    lab.parquet({"x": [1, 2]}, name="orders.parquet")
    assert identity([root / "orders.parquet"]) != before
