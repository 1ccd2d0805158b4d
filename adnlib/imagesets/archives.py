"""Safe unpacking of untrusted archives: nothing outside the target, no links, and limits on files and bytes."""

import errno
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from tqdm import tqdm

from adnlib.errors import AdnError

MAX_FILES = 200_000
MAX_BYTES = 100 * 2**30  # unpacked; MVTec AD has 5 GB
BLOCK = 2**20

BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
    NotImplementedError,
    UnicodeError,
)


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks a zip or tar archive (plain, gz, bz2, xz) into the existing empty `folder`, with a progress bar.

    AdnError: names outside `folder`, links and devices, duplicate names, passwords, more than MAX_FILES files or
    MAX_BYTES bytes, damaged or truncated archives. `folder` may then contain some of the files, so pass a scratch
    folder.
    """
    files = written = 0
    try:
        with open(archive, "rb") as raw:
            bar: Any = tqdm.wrapattr(
                raw, "read", total=archive.stat().st_size, desc=f"unpacking {archive.name}", leave=False
            )
            with bar as source:
                for name, content in _members(source, archive):
                    if content is None and not PurePosixPath(name).parts:
                        continue  # "." itself, the first entry after `tar cf x.tar .`
                    target = folder / _inside(name, archive)
                    if content is None:  # a folder
                        target.mkdir(parents=True, exist_ok=True)
                        continue
                    if (files := files + 1) > MAX_FILES:
                        raise AdnError(f"{archive} holds more than {MAX_FILES} files: it is not a data set.")
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with open(target, "xb") as out:
                        while block := content.read(BLOCK):
                            if (written := written + len(block)) > MAX_BYTES:
                                raise AdnError(f"{archive} unpacks to more than {MAX_BYTES / 1e9:.0f} GB: refused.")
                            out.write(block)
    except FileNotFoundError as error:
        raise AdnError(f"There is no file {archive}: check the path.") from error
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise AdnError(f"{archive} holds the same name twice ({Path(error.filename).name}): refused.") from error
    except BROKEN as error:
        raise _damaged(archive, error) from error
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # a system error, such as a full disk: the archive may be intact
            raise
        raise _damaged(archive, error) from error
    if not files:
        raise AdnError(f"{archive} is empty: download it again.")


def _damaged(archive: Path, error: Exception) -> AdnError:
    reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(":")
    reason = "it is protected by a password" if "password" in reason else reason
    return AdnError(
        f"Cannot unpack {archive} ({reason}): it is damaged, incomplete or not an archive; download it again."
    )


def _inside(name: str, archive: Path) -> Path:
    """`name` as a relative path inside the target folder; AdnError if it leads outside."""
    path = PurePosixPath(name.replace("\\", "/"))
    if not path.parts or path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or "\0" in name:
        raise AdnError(f"{archive} holds {name!r}, which would be written outside the target folder: refused.")
    return Path(*path.parts)


def _members(source: IO[bytes], archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    """(name, content) of every member in the archive's order; the content of a folder is None."""
    link_message = "{} holds {!r}, which is a link or device, not a file: refused."
    if zipfile.is_zipfile(source):
        source.seek(0)
        with zipfile.ZipFile(source) as members:
            for member in members.infolist():
                if stat.S_ISLNK(member.external_attr >> 16):
                    raise AdnError(link_message.format(archive, member.filename))
                if member.is_dir():
                    yield member.filename, None
                else:
                    with members.open(member) as content:
                        yield member.filename, content
        return
    source.seek(0)
    with tarfile.open(fileobj=source) as members:
        for member in members:
            if not (member.isreg() or member.isdir()):
                raise AdnError(link_message.format(archive, member.name))
            yield member.name, members.extractfile(member) if member.isreg() else None
