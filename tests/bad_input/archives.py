"""Archives that are damaged, or that would write outside of their target."""

import io
import stat
import tarfile
import zipfile

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


def holding(make, *names):
    """A maker of an archive with files of these names."""
    return lambda path: make(path, dict.fromkeys(names, b"x"))


def zip_with_link(path):
    with zipfile.ZipFile(path, "w") as out:
        info = zipfile.ZipInfo("set/link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        out.writestr(info, "/etc/passwd")


def member(name, kind, target=""):
    """A maker of an archive with a member that is no file."""
    return lambda path: make_tar(path, {name: b""}, kind=kind, target=target)


def same_name_twice(path):
    with tarfile.open(path, "w") as out:
        for _ in range(2):
            out.addfile(tarfile.TarInfo("set/a.png"))


ARCHIVES = {
    "not an archive": (not_an_archive, "not an archive; download it again"),
    "an html page": (an_html_page, "not an archive"),
    "empty file": (empty_file, "not an archive"),
    "empty zip": (empty_zip, "is empty"),
    "cut zip": (cut_zip, "Cannot unpack"),
    "cut tar": (cut_tar, "Cannot unpack"),
    "cut plain tar": (cut_plain_tar, "Cannot unpack"),
    "flipped zip": (flipped_zip, "Cannot unpack"),
    "with password": (with_password, "protected by a password"),
    "climbing zip": (holding(make_zip, "../outside.txt"), "outside the target"),
    "climbing tar": (holding(make_tar, "set/../../outside.txt"), "outside the target"),
    "climbing with backslash": (holding(make_zip, "..\\outside.txt"), "outside the target"),
    "absolute zip": (holding(make_zip, "/tmp/outside.txt"), "outside the target"),
    "absolute tar": (holding(make_tar, "/tmp/outside.txt"), "outside the target"),
    "with a drive": (holding(make_zip, "C:/outside.txt"), "outside the target"),
    "nameless file": (holding(make_tar, "."), "outside the target"),
    "zip with link": (zip_with_link, "a link or device"),
    "tar with symlink": (member("set/link", tarfile.SYMTYPE, "/etc/passwd"), "a link or device"),
    "tar with hardlink": (member("set/link", tarfile.LNKTYPE, "set/readme.txt"), "a link or device"),
    "tar with device": (member("set/null", tarfile.CHRTYPE), "a link or device"),
    "tar with pipe": (member("set/pipe", tarfile.FIFOTYPE), "a link or device"),
    "same name twice": (same_name_twice, "same name twice"),
    "file and folder of one name": (holding(make_tar, "set", "set/a.png"), "same name twice"),
}
