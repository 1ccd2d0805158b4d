"""Atomic writes: a file or folder is written under a temporary name beside its target and renamed at the end.

The temporary files of a process are in a scratch folder, which it keeps locked. An unlocked scratch folder belongs to a
killed process, however recent it is; `recover` removes it and finishes the replacement that it was used for.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import filelock

from adnlib.errors import AdnError, is_disk_full
from adnlib.system.folders import home

SCRATCH = ".tmp-"  # the names of scratch folders begin with this


def sha256(path: Path) -> str:
    """The file's sha256 in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def machine_lock(path: Path) -> filelock.FileLock:
    """A lock for a file that several processes on this machine read and rewrite; nothing is written beside the file."""
    folder = home() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return filelock.FileLock(folder / hashlib.sha256(str(path).encode()).hexdigest())


def seal(path: Path) -> None:
    """Appends the sha256 of the file's content to the file, for `is_intact`."""
    digest = bytes.fromhex(sha256(path))
    with open(path, "ab") as file:
        file.write(digest)


def is_intact(path: Path) -> bool:
    """Whether a file exists, was sealed and has not changed since."""
    hasher = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            left = path.stat().st_size - hasher.digest_size
            while left > 0 and (block := file.read(min(left, 2**20))):
                hasher.update(block)
                left -= len(block)
            return file.read() == hasher.digest()
    except OSError:
        return False


def file_sha256(path: Path) -> str:
    """`sha256` of an image file; within a process, an unchanged file is read only once."""
    try:
        stat = path.stat()
        return _file_sha256(path, stat.st_mtime_ns, stat.st_size)
    except OSError as error:
        raise AdnError(f"Cannot read {path} ({error.strerror}): restore it or change its permissions.") from error


@lru_cache(maxsize=200_000)
def _file_sha256(path: Path, *_) -> str:
    return sha256(path)


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A temporary folder inside `parent`, on the same disk for renames, that is always removed at the end.

    Leftovers of killed processes are removed first. A full disk raises AdnError with the folder's name, and so does a
    parent that cannot be written to.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        recover(parent)
        folder, lock = _locked_folder(parent)
    except OSError as error:
        raise AdnError(
            f"Cannot write to {parent} ({error.strerror}): choose another folder or free some space."
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
        _remove(folder)
        lock.release()


def _locked_folder(parent: Path) -> tuple[Path, filelock.FileLock]:
    """A new scratch folder and the lock that this process holds in it."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=parent))
        lock = filelock.FileLock(folder / "lock")
        try:
            lock.acquire(timeout=0)
        except (filelock.Timeout, FileNotFoundError):  # another process took the new folder for an abandoned one
            continue
        if lock.lock_file and Path(lock.lock_file).exists():
            return folder, lock
        lock.release()


def _remove(folder: Path) -> None:
    """Removes a scratch folder, its lock last: if the process is killed meanwhile, `recover` finds it unlocked."""
    with suppress(OSError):
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != "lock":
                path.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def recover(parent: Path) -> None:
    """Removes the scratch folders of killed processes. If a folder is missing because a process was killed while it
    replaced the folder, the complete new version is put in place."""
    for scratch in parent.glob(f"{SCRATCH}*"):
        with suppress(OSError):
            scratch.rmdir()  # killed before it could take the lock
        if not (scratch / "lock").exists():
            continue
        with suppress(filelock.Timeout, OSError), filelock.FileLock(scratch / "lock", timeout=0):
            if (scratch / "target").exists():
                target = parent / Path((scratch / "target").read_text(encoding="utf-8")).name  # never in another folder
                for version in (scratch / "new", scratch / "old"):
                    if version.exists() and not target.exists():
                        version.rename(target)
            _remove(scratch)


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """An empty folder that becomes `target`, replacing an older one, when the block succeeds.

    After an exception, including Ctrl-C, `target` is unchanged. If the process is killed between the two renames,
    `recover` finishes the replacement.
    """
    with scratch_folder(target.parent) as scratch:
        new = scratch / "new"
        new.mkdir()
        yield new
        if target.exists():
            (scratch / "target").write_text(target.name, encoding="utf-8")
            target.rename(scratch / "old")
        try:
            new.rename(target)
        except BaseException:
            if (scratch / "old").exists() and not target.exists():
                (scratch / "old").rename(target)
            raise


def write_whole(path: Path, content: bytes) -> None:
    """Writes `content` to `path` atomically: a reader never sees an incomplete file."""
    with scratch_folder(path.parent) as scratch:
        (scratch / path.name).write_bytes(content)
        (scratch / path.name).replace(path)
