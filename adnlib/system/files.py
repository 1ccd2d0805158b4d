"""Files that are either whole or absent: every write goes to a temporary neighbour and is renamed at the end."""

import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from adnlib.errors import AdnError, is_disk_full

ABANDONED_S = 24 * 3600.0  # a scratch folder this old is of a process that was killed


def sha256(path: Path) -> str:
    """The file's sha256 in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A temporary folder inside `parent` (so that a rename out of it stays on one disk), removed whatever happens.

    What killed processes left there goes after a day. A full disk raises AdnError with the folder's name; so does a
    parent that cannot be written.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _sweep(parent)
        folder = Path(tempfile.mkdtemp(prefix=".tmp-", dir=parent))
    except OSError as error:
        raise AdnError(
            f"Cannot write to {parent} ({error.strerror}): name another folder or free some room."
        ) from error
    try:
        yield folder
    except OSError as error:
        if not is_disk_full(error):
            raise
        free = shutil.disk_usage(parent).free / 2**20
        raise AdnError(
            f"The disk is full while writing to {parent} ({free:.0f} MiB left): free some room and run it again; "
            "nothing half-written was kept."
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: Path) -> None:
    for scratch in parent.glob(".tmp-*"):
        with suppress(FileNotFoundError):  # another process was quicker
            if time.time() - scratch.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Yields an empty folder that becomes `target` when the block ends well; an older `target` is then replaced.

    After an exception (also Ctrl-C) `target` is what it was before.
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
    """Writes `content` to `path` by way of a temporary file, so that no reader ever sees half of it."""
    with scratch_folder(path.parent) as scratch:
        (scratch / path.name).write_bytes(content)
        (scratch / path.name).replace(path)
