import errno
import io
import stat
import tarfile
import zipfile

import pytest

from adnlib import AdnError
from adnlib.imagesets import archives
from adnlib.imagesets.archives import unpack

FILES = {"set/bottle/train/good/000.png": b"image" * 1000, "set/readme.txt": b"hello"}


def make_zip(path, files=FILES, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as out:
        for name, content in files.items():
            out.writestr(name, content)
    return path


def make_tar(path, files=FILES, mode="w:xz", kind=None, target=""):
    with tarfile.open(path, mode) as out:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            if kind is not None:
                member.type, member.linkname, member.size = kind, target, 0
            out.addfile(member, io.BytesIO(content))
    return path


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


def not_an_archive(path):
    path.write_text("hello")


def an_html_page(path):
    path.write_text("<!DOCTYPE html><title>Quota exceeded</title>")


def empty_file(path):
    path.write_bytes(b"")


def empty_zip(path):
    make_zip(path, {})


def cut_zip(path):
    make_zip(path)
    path.write_bytes(path.read_bytes()[:-60])


def cut_tar(path):
    make_tar(path)
    path.write_bytes(path.read_bytes()[:-60])


def cut_plain_tar(path):
    make_tar(path, mode="w")
    path.write_bytes(path.read_bytes()[:3000])


def flipped_zip(path):
    make_zip(path)
    content = bytearray(path.read_bytes())
    content[70] ^= 255
    path.write_bytes(content)


def with_password(path):
    make_zip(path)
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := content.find(signature, at + 1)) >= 0:
            content[at + offset] |= 1  # "encrypted"
    path.write_bytes(content)


def climbing_zip(path):
    make_zip(path, {"../outside.txt": b"x"})


def climbing_tar(path):
    make_tar(path, {"set/../../outside.txt": b"x"})


def climbing_with_backslash(path):
    make_zip(path, {"..\\outside.txt": b"x"})


def absolute_zip(path):
    make_zip(path, {"/tmp/outside.txt": b"x"})


def absolute_tar(path):
    make_tar(path, {"/tmp/outside.txt": b"x"})


def with_a_drive(path):
    make_zip(path, {"C:/outside.txt": b"x"})


def nameless_file(path):
    make_tar(path, {".": b"x"})


def zip_with_link(path):
    with zipfile.ZipFile(path, "w") as out:
        info = zipfile.ZipInfo("set/link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        out.writestr(info, "/etc/passwd")


def tar_with_symlink(path):
    make_tar(path, {"set/link": b""}, kind=tarfile.SYMTYPE, target="/etc/passwd")


def tar_with_hardlink(path):
    make_tar(path, {"set/link": b""}, kind=tarfile.LNKTYPE, target="set/readme.txt")


def tar_with_device(path):
    make_tar(path, {"set/null": b""}, kind=tarfile.CHRTYPE)


def tar_with_pipe(path):
    make_tar(path, {"set/pipe": b""}, kind=tarfile.FIFOTYPE)


def same_name_twice(path):
    with tarfile.open(path, "w") as out:
        for _ in range(2):
            out.addfile(tarfile.TarInfo("set/a.png"))


def file_and_folder_of_one_name(path):
    make_tar(path, {"set": b"x", "set/a.png": b"x"})


@pytest.mark.parametrize(
    "make, reason",
    [
        (not_an_archive, "not an archive; download it again"),
        (an_html_page, "not an archive"),
        (empty_file, "not an archive"),
        (empty_zip, "is empty"),
        (cut_zip, "Cannot unpack"),
        (cut_tar, "Cannot unpack"),
        (cut_plain_tar, "Cannot unpack"),
        (flipped_zip, "Cannot unpack"),
        (with_password, "protected by a password"),
        (climbing_zip, "outside the target"),
        (climbing_tar, "outside the target"),
        (climbing_with_backslash, "outside the target"),
        (absolute_zip, "outside the target"),
        (absolute_tar, "outside the target"),
        (with_a_drive, "outside the target"),
        (nameless_file, "outside the target"),
        (zip_with_link, "a link or device"),
        (tar_with_symlink, "a link or device"),
        (tar_with_hardlink, "a link or device"),
        (tar_with_device, "a link or device"),
        (tar_with_pipe, "a link or device"),
        (same_name_twice, "same name twice"),
        (file_and_folder_of_one_name, "same name twice"),
    ],
)
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
