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
    "climbing zip": (climbing_zip, "outside the target"),
    "climbing tar": (climbing_tar, "outside the target"),
    "climbing with backslash": (climbing_with_backslash, "outside the target"),
    "absolute zip": (absolute_zip, "outside the target"),
    "absolute tar": (absolute_tar, "outside the target"),
    "with a drive": (with_a_drive, "outside the target"),
    "nameless file": (nameless_file, "outside the target"),
    "zip with link": (zip_with_link, "a link or device"),
    "tar with symlink": (tar_with_symlink, "a link or device"),
    "tar with hardlink": (tar_with_hardlink, "a link or device"),
    "tar with device": (tar_with_device, "a link or device"),
    "tar with pipe": (tar_with_pipe, "a link or device"),
    "same name twice": (same_name_twice, "same name twice"),
    "file and folder of one name": (file_and_folder_of_one_name, "same name twice"),
}
