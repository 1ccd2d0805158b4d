"""Results that are slow to make and never change, kept on disk by what they were made from.

A file is written whole or not at all, under a name that is the digest of everything that went into it: two processes
may make the same one at once, what a killed one leaves goes after a day, and nobody can read a wrong one. The oldest go
when the cache grows beyond its limit.
"""

import hashlib
import io
import os
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from adnlib.errors import AdnError
from adnlib.system.files import scratch_folder, write_whole
from adnlib.system.folders import home

try:
    LIMIT_GB = float(os.environ.get("ADN_CACHE_GB", 10))  # 0 switches the cache off
except ValueError as error:
    raise AdnError(f"ADN_CACHE_GB={os.environ['ADN_CACHE_GB']} is no number: give gigabytes, as 10.") from error


def digest(*parts: object) -> str:
    """A name for what the parts are: texts and numbers by their repr, bytes as they are, tensors by their content."""
    sum_ = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, Tensor):
            sum_.update(repr((part.dtype, tuple(part.shape))).encode())
            part = (
                part.detach().cpu().contiguous().flatten().view(torch.uint8).numpy() if part.ndim else repr(part.item())
            )
        sum_.update(part if isinstance(part, (bytes, np.ndarray)) else repr(part).encode())
        sum_.update(b"\0")
    return sum_.hexdigest()


def file_digest(path: Path) -> str:
    """A name for a file's content; a file that has not changed since is not read again."""
    stat = path.stat()
    return _file_digest(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=200_000)
def _file_digest(path: Path, *_) -> str:
    return digest(path.read_bytes())


def module_digest(module: nn.Module) -> str:
    """A name for what a module computes: its structure and all its tensors."""
    return digest(repr(module), *(part for item in module.state_dict().items() for part in item))


def load(name: str) -> np.ndarray | None:
    """The array kept under `name`, or None; a damaged file counts as none."""
    path = _path(name)
    if not LIMIT_GB:
        return None
    try:
        values = np.load(path, allow_pickle=False)
        os.utime(path)  # what is used stays longest
        return values
    except (OSError, ValueError, EOFError):
        return None


def keep(name: str, values: np.ndarray) -> None:
    """Keeps an array under `name`, then makes room where the cache is over its limit."""
    if values.nbytes > LIMIT_GB * 1e9:
        return
    content = io.BytesIO()
    np.save(content, values, allow_pickle=False)
    write_whole(_path(name), content.getvalue())
    _make_room(LIMIT_GB * 1e9)


def mapped(name: str, shape: tuple[int, ...], fill: Callable[[np.ndarray], None]) -> np.ndarray:
    """A uint8 array of `shape` in a file, read from there as it is needed; `fill` writes it where it is not kept yet.

    It is kept even where it is larger than the cache: there is no room for it in memory.
    """
    path = _path(name)
    with suppress(OSError, ValueError, EOFError):  # not there, or damaged
        return np.load(path, mmap_mode="c")
    with scratch_folder(path.parent) as scratch:
        values = np.lib.format.open_memmap(scratch / path.name, "w+", np.uint8, shape)
        _reserve(scratch / path.name)
        fill(values)
        values.flush()
        (scratch / path.name).replace(path)
    _make_room(max(LIMIT_GB * 1e9, path.stat().st_size))
    return np.load(path, mmap_mode="c")


def _reserve(path: Path) -> None:
    """Takes the room of a file with holes: else a full disk kills the process that writes there through a map."""
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _path(name: str) -> Path:
    return home() / "features" / f"{name}.npy"


def _make_room(limit: float) -> None:
    files = []
    for path in (home() / "features").glob("*.npy"):
        try:
            stat = path.stat()
            files.append((stat.st_mtime_ns, stat.st_size, path))
        except FileNotFoundError:  # another process made room at the same time
            continue
    size = sum(file[1] for file in files)
    for _, bytes_, path in sorted(files):
        if size <= limit:
            return
        path.unlink(missing_ok=True)
        size -= bytes_
