import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import full_disk

from adnlib import AdnError
from adnlib.system.files import recover, scratch_folder, sha256, whole_folder, write_whole


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


LIVE = "import sys, time; from adnlib.system.files import scratch_folder; from pathlib import Path\n"
LIVE += "with scratch_folder(Path(sys.argv[1])) as scratch: print(scratch, flush=True); time.sleep(60)"


def test_only_scratch_folders_of_dead_processes_are_removed_whatever_the_clocks_say(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", LIVE, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    live = Path(process.stdout.readline().strip())
    os.utime(live, (0, 0))
    (tmp_path / ".tmp-just-made").mkdir()  # killed before it could take the lock
    write_whole(tmp_path / "file", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == [live.name, "file"]
    process.kill()
    process.wait()
    recover(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


REPLACE = """import os, sys; from pathlib import Path; from adnlib.system.files import whole_folder
real, steps = Path.rename, int(sys.argv[2])
def rename(self, to):
    global steps
    if not steps: os.kill(os.getpid(), 9)
    steps -= 1
    return real(self, to)
Path.rename = rename
with whole_folder(Path(sys.argv[1])) as new: (new / "a").write_text("second")
"""


@pytest.mark.parametrize("renames, content", [(0, "first"), (1, "second")])
def test_a_kill_while_a_folder_is_replaced_loses_nothing(tmp_path, renames, content):
    with whole_folder(tmp_path / "run") as new:
        (new / "a").write_text("first")
    assert subprocess.run([sys.executable, "-c", REPLACE, str(tmp_path / "run"), str(renames)]).returncode == -9
    recover(tmp_path)
    assert (tmp_path / "run" / "a").read_text() == content
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


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
        pytest.raises(AdnError, match="Cannot write to .*choose another folder"),
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


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_a_disk_that_takes_no_file(tmp_path, monkeypatch, code):
    def refuse(*_, **__):
        raise OSError(code, os.strerror(code), str(tmp_path))

    monkeypatch.setattr("adnlib.system.files.tempfile.mkdtemp", refuse)
    message = f"Cannot write to {tmp_path} .{os.strerror(code)}.: choose another folder or free some space"
    with pytest.raises(AdnError, match=message):
        write_whole(tmp_path / "weights", b"new")
    assert list(tmp_path.iterdir()) == []
