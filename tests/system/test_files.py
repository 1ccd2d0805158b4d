import os
import time
from pathlib import Path

import pytest
from conftest import full_disk

from adnlib import AdnError
from adnlib.system.files import scratch_folder, sha256, whole_folder, write_whole


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


def test_whole_folder_keeps_the_old_one_when_stopped_between_two_renames(tmp_path, monkeypatch):
    target, real = tmp_path / "run", Path.rename

    def rename(self, to):
        if self.name == "new":
            raise KeyboardInterrupt
        return real(self, to)

    target.mkdir()
    (target / "a").write_text("first")
    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(KeyboardInterrupt), whole_folder(target):
        pass
    assert (target / "a").read_text() == "first"


def test_what_killed_processes_left_goes_after_a_day(tmp_path):
    for name, age in (("old", 2), ("young", 0.5)):
        folder = tmp_path / f".tmp-{name}"
        folder.mkdir()
        then = time.time() - age * 24 * 3600
        os.utime(folder, (then, then))
    write_whole(tmp_path / "file", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".tmp-young", "file"]


def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "weights"
    write_whole(path, b"old")
    with (
        pytest.raises(AdnError, match=f"The disk is full while writing to {tmp_path} .* free some space"),
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
