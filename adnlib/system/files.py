"""Atomic writes: a file or folder is written under a temporary name beside its target and renamed at the end."""

import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from adnlib.errors import AdnError, is_disk_full

ABANDONED_S = 24 * 3600.0  # a scratch folder this old belongs to a killed process


def sha256(path: Path) -> str:
    """The file's sha256 in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A temporary folder inside `parent`, on the same disk for renames, that is always removed at the end.

    Leftovers of killed processes are removed after a day. A full disk raises AdnError with the folder's name, and so
    does a parent that cannot be written to.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _sweep(parent)
        folder = Path(tempfile.mkdtemp(prefix=".tmp-", dir=parent))
    except OSError as error:
        raise AdnError(
            f"Cannot write to {parent} ({error.strerror}): name another folder or free some space."
        ) from error
    try:
        yield folder
    except OSError as error:
        if not is_disk_full(error):
            raise
        free = shutil.disk_usage(parent).free / 2**20
        raise AdnError(
            f"The disk is full while writing to {parent} ({free:.0f} MiB left): free some space and run it again; "
            "no incomplete file was left."
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: Path) -> None:
    for scratch in parent.glob(".tmp-*"):
        with suppress(FileNotFoundError):  # removed by another process
            if time.time() - scratch.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """An empty folder that becomes `target`, replacing an older one, when the block succeeds.

    After an exception, including Ctrl-C, `target` is unchanged.
    """
    with scratch_folder(target.parent) as scratch:
        new = scratch / "new"
        new.mkdir()
        yield new
        old = scratch / "old"
        if target.exists():
            target.rename(old)
        try:
            new.rename(target)
        except BaseException:
            if old.exists() and not target.exists():
                old.rename(target)
            raise


def write_whole(path: Path, content: bytes) -> None:
    """Writes `content` to `path` atomically: a reader never sees an incomplete file."""
    with scratch_folder(path.parent) as scratch:
        (scratch / path.name).write_bytes(content)
        (scratch / path.name).replace(path)
