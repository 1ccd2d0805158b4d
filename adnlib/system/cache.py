"""The disk cache for results that are slow to compute, stored under a digest of their inputs.

Files are written atomically, and the name of a file is the digest of everything that its content depends on. Several
processes can therefore write the same file at the same time, and none can read a wrong one. Each file ends with the
digest of its own content: a file that was damaged on the disk is not believed, but computed again. When the cache
exceeds its limit, the least recently used files are removed.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from adnlib.errors import AdnError
from adnlib.system.files import is_intact, scratch_folder, seal
from adnlib.system.folders import home

try:
    LIMIT_GB = float(os.environ.get("ADN_CACHE_GB", 10))  # 0 disables the cache
except ValueError as error:
    raise AdnError(f"ADN_CACHE_GB={os.environ['ADN_CACHE_GB']} is not a number: give gigabytes, such as 10.") from error


def digest(*parts: object) -> str:
    """A digest of the parts: strings and numbers by their repr, bytes directly, tensors by their content."""
    hasher = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, Tensor):
            hasher.update(repr((part.dtype, tuple(part.shape))).encode())
            part = part.detach().cpu().contiguous()
            part = part.flatten().view(torch.uint8).numpy().data if part.ndim else repr(part.item())
        hasher.update(part if isinstance(part, (bytes, memoryview)) else repr(part).encode())
        hasher.update(b"\0")
    return hasher.hexdigest()


def module_digest(module: nn.Module) -> str:
    """A digest of what a module computes: its structure and all its tensors."""
    return digest(repr(module), *(part for item in module.state_dict().items() for part in item))


def load(name: str) -> np.ndarray | None:
    """The array stored under `name`, or None if it is missing or damaged."""
    path = _path(name)
    if not LIMIT_GB or not is_intact(path):
        return None
    try:
        values = np.load(path, allow_pickle=False)
        os.utime(path)  # marks the file as recently used
        return values
    except (OSError, ValueError, EOFError):
        return None


def keep(name: str, values: np.ndarray) -> None:
    """Stores an array under `name`, then removes old files if the cache exceeds its limit."""
    if values.nbytes > LIMIT_GB * 1e9:
        return
    path = _path(name)
    with scratch_folder(path.parent) as scratch:
        np.save(scratch / path.name, values, allow_pickle=False)
        seal(scratch / path.name)
        (scratch / path.name).replace(path)
    _make_room(LIMIT_GB * 1e9)


def mapped(name: str, shape: tuple[int, ...], fill: Callable[[np.ndarray], None]) -> np.ndarray:
    """A memory-mapped uint8 array of `shape`; `fill` writes its values if it is not stored yet.

    It is stored even if it exceeds the limit of the cache, because it does not fit into memory.
    """
    path = _path(name)
    if not is_intact(path):
        with scratch_folder(path.parent) as scratch:
            new = scratch / path.name
            values = np.lib.format.open_memmap(new, "w+", np.uint8, shape)
            _reserve(new)
            fill(values)
            values.flush()
            seal(new)
            new.replace(path)
        _make_room(max(LIMIT_GB * 1e9, path.stat().st_size))
    return np.load(path, mmap_mode="c")


def _reserve(path: Path) -> None:
    """Allocates the disk space of a sparse file: otherwise a full disk kills a process that writes to the map."""
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
        except FileNotFoundError:  # removed by another process
            continue
    size = sum(file[1] for file in files)
    for _, bytes_, path in sorted(files):
        if size <= limit:
            return
        path.unlink(missing_ok=True)
        size -= bytes_
