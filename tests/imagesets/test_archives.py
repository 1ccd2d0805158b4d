import errno
import tarfile

import pytest
from bad_input.archives import ARCHIVES, FILES, make_tar, make_zip

from adnlib import AdnError
from adnlib.imagesets import archives
from adnlib.imagesets.archives import unpack


@pytest.fixture
def target(tmp_path):
    folder = tmp_path / "inside" / "target"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    "name, mode",
    [
        ("a.zip", None),
        ("a.tar", "w"),
        ("a.tar.gz", "w:gz"),
        ("a.tar.bz2", "w:bz2"),
        ("a.tar.xz", "w:xz"),
        ("named.wrongly", "w:xz"),
    ],
)
def test_archives_are_recognised_by_content(tmp_path, target, name, mode):
    archive = make_tar(tmp_path / name, mode=mode) if mode else make_zip(tmp_path / name)
    unpack(archive, target)
    assert {str(p.relative_to(target)): p.read_bytes() for p in target.rglob("*") if p.is_file()} == FILES


def test_folders_in_an_archive_are_made(tmp_path, target):
    unpack(make_zip(tmp_path / "a.zip", {"set/empty/": b"", "set/a.txt": b"a"}), target)
    assert (target / "set" / "empty").is_dir()


def test_a_tar_of_the_folder_it_was_made_in(tmp_path, target):
    for name, content in FILES.items():
        (path := tmp_path / "here" / name).parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    with tarfile.open(tmp_path / "a.tar", "w") as out:
        out.add(tmp_path / "here", arcname=".")  # as `tar cf a.tar .` does: the first member is "."
    unpack(tmp_path / "a.tar", target)
    assert {str(p.relative_to(target)): p.read_bytes() for p in target.rglob("*") if p.is_file()} == FILES


@pytest.mark.parametrize("make, reason", ARCHIVES.values(), ids=ARCHIVES)
def test_bad_archives_are_refused_in_one_sentence(tmp_path, target, make, reason):
    make(archive := tmp_path / "archive")
    with pytest.raises(AdnError, match=reason) as caught:
        unpack(archive, target)
    assert str(archive) in str(caught.value) and "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {"archive", "inside"}  # nothing beside the target
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_an_archive_is_not_blamed_for_what_the_system_refuses(tmp_path, target, monkeypatch):
    archive = make_zip(tmp_path / "a.zip")

    def refused(*arguments):
        raise PermissionError(errno.EACCES, "Permission denied", str(archive))

    monkeypatch.setattr(archives, "open", refused, raising=False)
    with pytest.raises(PermissionError):
        unpack(archive, target)


def test_no_file_at_all(tmp_path, target):
    with pytest.raises(AdnError, match="There is no file .*nowhere.zip"):
        unpack(tmp_path / "nowhere.zip", target)


def test_limits_on_count_and_size(tmp_path, target, monkeypatch):
    archive = make_zip(tmp_path / "a.zip")
    monkeypatch.setattr(archives, "MAX_BYTES", 4000)
    with pytest.raises(AdnError, match="unpacks to more than"):
        unpack(archive, target)
    monkeypatch.setattr(archives, "MAX_FILES", 1)
    monkeypatch.setattr(archives, "MAX_BYTES", 10**9)
    (tmp_path / "other").mkdir()
    with pytest.raises(AdnError, match="holds more than 1 files"):
        unpack(archive, tmp_path / "other")


def test_a_bomb_that_lies_about_its_size_is_stopped_while_it_unpacks(tmp_path, target, monkeypatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 10**6)
    monkeypatch.setattr(archives, "BLOCK", 10**5)
    archive = make_zip(tmp_path / "a.zip", {"zeros.png": bytes(10**8)})
    with pytest.raises(AdnError, match="unpacks to more than"):
        unpack(archive, target)
    assert (target / "zeros.png").stat().st_size <= 10**6
