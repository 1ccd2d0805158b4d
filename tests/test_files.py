import os

import pytest
from conftest import full_disk

from adnlib import AdnError
from adnlib.files import scratch_folder, sha256, whole_folder, write_whole


def test_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_whole_folder_replaces_only_when_it_went_well(tmp_path):
    target = tmp_path / "run"
    with whole_folder(target) as new:
        (new / "a").write_text("first")
    with pytest.raises(KeyboardInterrupt), whole_folder(target) as new:
        (new / "a").write_text("second")
        raise KeyboardInterrupt
    assert (target / "a").read_text() == "first"
    with whole_folder(target) as new:
        (new / "b").write_text("third")
    assert [path.name for path in target.iterdir()] == ["b"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]  # no scratch folder is left


def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "weights"
    write_whole(path, b"old")
    with (
        pytest.raises(AdnError, match=f"The disk is full while writing to {tmp_path} .* free some room"),
        full_disk(1000),
    ):
        write_whole(path, b"new" * 1000)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_other_errors_are_not_called_a_full_disk(tmp_path):
    with pytest.raises(IsADirectoryError), scratch_folder(tmp_path) as scratch:
        scratch.read_bytes()


def test_a_parent_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(AdnError, match="Cannot write to .*name another folder"),
        scratch_folder(tmp_path / "file" / "x"),
    ):
        pass


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() == 0,
    reason="the superuser may write anywhere, and Windows keeps its rights elsewhere",
)
def test_a_parent_that_may_not_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(AdnError, match="Cannot write to"), scratch_folder(tmp_path):
        pass
